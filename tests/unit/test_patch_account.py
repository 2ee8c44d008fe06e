"""The account of a year: coverage first, each update against the rule, reasons for what was late, fast and readable."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from opsctl import config, content
from opsctl.documents import Problems
from opsctl.inventory import document, emit, tenantfile
from opsctl.model.host import Host, Inventory, PatchPolicy, Quarantined, Tenant
from opsctl.patch import account as accounts
from opsctl.patch import punctual, sheets
from opsctl.patch.account import Account
from opsctl.patch.punctual import IN_TIME, LATE, NO_RULE, OVERDUE, WITHIN
from opsctl.report.words import LANGUAGES, words
from opsctl.rollout.journal import Journal
from opsctl.rollout.means import Means
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from opsctl.state.updates import Kept, Update, Updates

START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOSTILE = '"><script>alert(1)</script>{{ 7*7 }}'
POLICY = PatchPolicy(security_days=14, critical_days=3)
VOID = {"meta", "br"}


def host(name: str, **more: Any) -> Host:
    return Host(name=name, tenant="ange", address="192.0.2.1", role="web", platform="debian-12", **more)


def inventory(
    *hosts: Host, policy: PatchPolicy | None = POLICY, quarantined: tuple[Quarantined, ...] = ()
) -> Inventory:
    tenant = Tenant(name="ange", title="Ånge kommun", patch_policy=policy)
    return Inventory(tenants=(tenant,), hosts=hosts, quarantined=quarantined, digest="e" * 64)


def update(name: str, package: str, known: datetime, **more: Any) -> Update:
    return Update(
        host=f"ange.{name}", package=package, version="2", before="1", platform="debian-12 amd64", known=known,
        first_seen=more.pop("first_seen", known), **more,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "state") as opened:
        yield opened


def put(store: Store, *rows: Update) -> None:
    """Rows as readings and rollouts would have left them."""
    updates = Updates(store)
    for row in rows:
        updates.add(row)
        if row.installed is not None:
            updates.installed(row.host, {row.package: row.version}, row.installed, row.rollout)
        if row.gone is not None:
            updates.close(row, row.gone, row.became)


def means(store: Store, tmp_path: Path, stock: Inventory, now: datetime) -> Means:
    (tmp_path / "opsctl.yml").write_text("version: 1\n", encoding="utf-8")
    (tmp_path / "inventories" / "ange").mkdir(parents=True, exist_ok=True)
    return Means(
        inventory=stock, transport=cast(Any, SimpleNamespace()), store=store, ledger=Ledger(store),
        settings=config.load(tmp_path, {}), who="anna", clock=lambda: now,
    )  # fmt: skip


def account(store: Store, tmp_path: Path, stock: Inventory, *, now: datetime = END + 30 * DAY) -> Account:
    return accounts.account(means(store, tmp_path, stock, now), "ange", START, END)


def test_each_update_is_judged_against_the_rule_of_its_host(store: Store, tmp_path: Path) -> None:
    known = START + 100 * DAY
    put(
        store,
        update("a", "soon", known, installed=known + 13 * DAY, rollout="patch-1"),
        update("a", "late", known, installed=known + 15 * DAY, rollout="patch-1"),
        update("a", "never", known),
        update("a", "new", END - 2 * DAY),
        update("b", "soon", known, gone=known + 4 * DAY),
    )
    found = account(store, tmp_path, inventory(host("a"), host("b", criticality="critical")))
    assert {(one.host[5:], one.package): one.verdict for one in found.updates} == {
        ("a", "soon"): IN_TIME, ("a", "late"): LATE, ("a", "never"): OVERDUE, ("a", "new"): WITHIN,
        ("b", "soon"): LATE,
    }  # fmt: skip
    assert found.counts["total"] == {IN_TIME: 1, WITHIN: 1, LATE: 2, OVERDUE: 1, NO_RULE: 0, "all": 5}
    assert found.counts["critical"]["all"] + found.counts["others"]["all"] == 5
    assert [(one.host, one.overdue, len(one.updates)) for one in found.behind] == [("ange.a", 1, 2), ("ange.b", 0, 1)]
    assert found.behind[1].worst == pytest.approx(1)
    assert found.ended_by == {"rollout": 2, "reading": 1}


def test_time_runs_from_the_first_host_that_knew_but_not_before_a_host_was_read(store: Store, tmp_path: Path) -> None:
    known = START + 10 * DAY
    updates = Updates(store)
    updates.was_read("ange.slow", START, (), None)
    updates.was_read("ange.fresh", known + 30 * DAY, (), None)
    put(
        store, update("first", "x", known), update("slow", "x", known + 20 * DAY),
        update("fresh", "x", known + 31 * DAY), update("alone", "y", known + 20 * DAY),
    )  # fmt: skip
    found = account(store, tmp_path, inventory(*map(host, ("first", "slow", "fresh", "alone"))))
    assert {one.host[5:]: one.since for one in found.updates} == {
        "first": known, "slow": known, "fresh": known + 30 * DAY, "alone": known + 20 * DAY,
    }  # fmt: skip


def test_what_was_done_before_the_period_or_came_after_it_is_not_in_it(store: Store, tmp_path: Path) -> None:
    put(
        store,
        update("a", "before", START - 30 * DAY, gone=START - DAY),
        update("a", "across", START - 30 * DAY, gone=START + DAY),
        update("a", "after", END + DAY),
        update("a", "open", END - DAY, gone=END + 5 * DAY),
    )
    found = account(store, tmp_path, inventory(host("a")))
    assert {one.package: one.verdict for one in found.updates} == {"across": LATE, "open": WITHIN}


def test_every_host_stands_in_one_part_and_silence_is_never_a_pass(store: Store, tmp_path: Path) -> None:
    updates = Updates(store)
    updates.was_read("ange.good", END - DAY, (), None)
    updates.was_read("ange.old", END - 60 * DAY, (), None)
    updates.was_not_read("ange.old", END - 50 * DAY, f"unreachable: {HOSTILE}")
    updates.was_not_read("ange.dead", END - 50 * DAY, "unreachable: no route")
    stock = inventory(
        *map(host, ("good", "old", "dead")), host("win", status="planned"),
        quarantined=(Quarantined(tenant="ange", record="vm/7", reason="no name"),),
    )  # fmt: skip
    found = account(store, tmp_path, stock)
    assert found.parts == {"current": 1, "old": 1, "never": 1, "unmanaged": 1, "quarantined": 1}
    assert len(found.covered) == 5
    assert (found.outcome, found.incomplete) == ("incomplete", ("not_covered", "begins_late"))
    assert {one.host: one.reason for one in found.covered if one.part in ("old", "never")} == {
        "ange.old": f"unreachable: {HOSTILE}", "ange.dead": "unreachable: no route",
    }  # fmt: skip


def test_a_gap_over_the_end_of_the_period_counts_although_the_host_came_back_later(
    store: Store, tmp_path: Path
) -> None:
    updates = Updates(store)
    updates.was_read("ange.a", END - 40 * DAY, (), None)
    updates.was_read("ange.a", END + 10 * DAY, (), END - 40 * DAY)
    found = account(store, tmp_path, inventory(host("a")))
    [one] = found.covered
    assert (one.part, one.last, one.unread_days) == ("old", END - 40 * DAY, 40)


def test_the_reasons_of_what_was_late_are_those_that_were_given_meanwhile(store: Store, tmp_path: Path) -> None:
    known = START + 100 * DAY
    put(store, update("a", "x", known), update("b", "x", known, gone=known + 20 * DAY))
    updates = Updates(store)
    updates.was_read("ange.a", known, (), None)
    updates.was_not_read("ange.a", known + 30 * DAY, "unreachable: no route")
    updates.keep_waits(
        Kept(host=f"ange.{name}", day=f"{known + n * DAY:%Y-%m-%d}", kind=kind, said=said)
        for name, n, kind, said in (
            ("a", -5, "held", "before its time"), ("a", 3, "freeze", "freeze summer"),
            ("a", 4, "freeze", "freeze summer 2"),
            ("a", 4, "window", "outside its window"),
        )
    )  # fmt: skip
    found = {one.host: one.reasons for one in account(store, tmp_path, inventory(host("a"), host("b"))).behind}
    assert found["ange.a"] == (
        ("unread", (END - known - 30 * DAY).days, "unreachable: no route"),
        ("freeze", 2, "freeze summer 2"), ("window", 1, "outside its window"),
    )  # fmt: skip
    assert found["ange.b"] == (("unplanned", 20, ""),)


def test_without_a_rule_times_are_told_and_nothing_is_called_late(store: Store, tmp_path: Path) -> None:
    put(store, update("a", "x", START + DAY, gone=START + 90 * DAY))
    found = account(store, tmp_path, inventory(host("a"), policy=None))
    assert [one.verdict for one in found.updates] == [NO_RULE]
    assert found.behind == ()
    assert "no_policy" in found.incomplete
    assert found.spread is not None
    assert found.spread.longest == pytest.approx(89)
    assert "none is written down" in sheets.account_page(found, "en")


def test_hosts_that_nothing_was_installed_on_are_named_with_what_they_wanted(store: Store, tmp_path: Path) -> None:
    put(
        store,
        update("a", "x", START + DAY, installed=START + 2 * DAY, rollout="patch-1"),
        update("b", "x", START + DAY),
    )
    found = account(store, tmp_path, inventory(*map(host, ("a", "b", "c"))))
    assert found.never_patched == (("ange.b", 1), ("ange.c", 0))


def test_emergencies_stand_in_the_account_with_reason_and_ticket(store: Store, tmp_path: Path) -> None:
    ledger = Ledger(store)
    detail = {"plan": "patch-9", "emergency": f"CVE {HOSTILE}", "ticket": "INC1"}
    with ledger.act("patch plan", ["ange.a"], detail, "anna", lambda: START + DAY):
        pass
    with ledger.act("patch plan", ["sundsvall.a"], detail, "anna", lambda: START + DAY):
        pass
    found = account(store, tmp_path, inventory(host("a")))
    assert [(act.who, act.detail["ticket"]) for act in found.acts] == [("anna", "INC1")]
    assert found.ledger_head == str(ledger.head())


def test_freezes_of_the_period_are_told(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "inventories" / "ange"
    folder.mkdir(parents=True)
    (folder / "calendar.yml").write_text(
        "version: 1\nfreezes:\n  - {name: val, from: 2026-09-06, to: 2026-09-14, reason: riksdagsval}\n",
        encoding="utf-8",
    )
    found = account(store, tmp_path, inventory(host("a")))
    assert [(one.name, one.remark) for one in found.freezes if one.name == "val"] == [("val", "riksdagsval")]


class Page(HTMLParser):
    """What a browser would find; complains of tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(text: str, language: str) -> None:
    """One file that fetches nothing, runs nothing, and can be read by everybody."""
    page = Page(text)
    names = [tag for tag, _ in page.tags]
    assert not {"script", "img", "link", "iframe", "object"} & set(names)
    assert "<script" not in text
    assert page.tags[0] == ("html", {"lang": language})
    assert names.count("h1") == names.count("main") == names.count("title") == 1
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"] for tag, attrs in page.tags if tag == "a"} <= {f"#{one}" for one in ids}
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in page.tags if tag == "th")
    assert names.count("table") == names.count("caption")
    levels = [int(tag[1]) for tag in names if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_foreign_words_are_shown_and_do_nothing(store: Store, tmp_path: Path, language: str) -> None:
    put(store, update("a", "x", START + DAY))
    updates = Updates(store)
    updates.was_not_read("ange.a", START + 2 * DAY, HOSTILE)
    updates.keep_waits([Kept(host="ange.a", day="2026-01-09", kind="other", said=HOSTILE)])
    stock = inventory(host("a"))
    stock = replace(stock, tenants=(replace(stock.tenants[0], title=f"Ånge {HOSTILE}"),))
    text = sheets.account_page(account(store, tmp_path, stock), language)
    check_page(text, language)
    assert "{{ 7*7 }}" in text


def year(store: Store, hosts: int = 500, each: int = 120) -> Inventory:
    """A year of a tenant: most in time, some late, a few silent hosts."""
    updates, names = Updates(store), [f"h{n:03}" for n in range(hosts)]
    with store.transaction():
        for n, name in enumerate(names):
            for p in range(each):
                known = START + timedelta(days=3 * p, hours=n % 24)
                took = timedelta(days=(n + p) % 13) if (n * p) % 29 else timedelta(days=15 + p % 40)
                row = update(name, f"package-{p % 40}", known)
                row = replace(row, version=f"1.{p}")
                updates.add(row)
                if n % 50 != 7:
                    updates.close(row, known + took, "")
            for p in range(0, 360, 30):
                updates.was_read(f"ange.{name}", START + p * DAY, (), None)
        updates.keep_waits(
            Kept(host=f"ange.{name}", day=f"{START + d * DAY:%Y-%m-%d}", kind="freeze", said="freeze summer")
            for name in names for d in range(180, 210)
        )  # fmt: skip
    return inventory(*(host(name, criticality="critical" if n % 10 == 0 else "normal") for n, name in enumerate(names)))


def test_a_year_of_500_hosts_is_told_in_a_few_seconds_on_a_page_that_can_be_read(store: Store, tmp_path: Path) -> None:
    stock = year(store)
    began = time.process_time()
    found = account(store, tmp_path, stock)
    pages = {language: sheets.account_page(found, language) for language in LANGUAGES}
    told = json.loads(sheets.account_json(found))
    took = time.process_time() - began
    assert len(found.updates) == 60_000
    assert sum(row["all"] for _, row in found.months) == 60_000
    assert told["counts"]["total"]["all"] == len(told["updates"]) == 60_000
    for language, text in pages.items():
        check_page(text, language)
        assert len(text) < 5_000_000
    assert took < 15, f"{took:.1f} s of CPU"


def test_every_word_of_the_reports_is_used_and_there_in_each_language() -> None:
    folder = content.folder("templates")
    texts = "".join(path.read_text(encoding="utf-8") for path in folder.glob("patch.*.j2"))
    code = "".join(path.read_text(encoding="utf-8") for path in Path(sheets.__file__).parent.glob("*.py"))
    for language in LANGUAGES:
        spoken = vars(words(language, None, sheets.WORDS))
        families = ("kind_", "stage_", "status_", "answer_", "tried_")
        used = {key for key in spoken if re.search(rf"\bt\.{key}\b|\"{key}\"", texts + code)}
        spare = {key for key in spoken.keys() - used if not key.startswith(families)}
        assert spare == set()


def test_the_same_store_gives_the_same_bytes(store: Store, tmp_path: Path) -> None:
    put(store, update("a", "x", START + DAY))
    one, two = (account(store, tmp_path, inventory(host("a"))) for _ in range(2))
    assert sheets.account_json(one) == sheets.account_json(two)
    assert sheets.account_page(one, "sv") == sheets.account_page(two, "sv")


def test_every_kind_of_reason_has_its_words() -> None:
    from opsctl.patch import waits

    for language in LANGUAGES:
        spoken = vars(words(language, None, sheets.WORDS))
        assert {f"kind_{kind}" for kind in waits.KINDS} == {key for key in spoken if key.startswith("kind_")}


def test_spread_of_one_update_is_that_update() -> None:
    one = punctual.Judged(
        host="ange.a", package="x", version="1", since=START, ended=START + 2 * DAY, by="reading", rollout="", due=None,
        verdict=NO_RULE, days=2.0,
    )  # fmt: skip
    assert punctual.spread([one]) == punctual.Spread(count=1, median=2.0, ninety=2.0, longest=2.0)
    assert punctual.spread([replace(one, ended=None)]) is None


def test_rollouts_of_the_period_are_told_with_this_tenants_hosts_alone(store: Store, tmp_path: Path) -> None:
    assert Journal(store).begun_between("patch", START, END) == []
    assert account(store, tmp_path, inventory(host("a"))).rollouts == ()


@pytest.mark.parametrize("policy", [None, PatchPolicy(security_days=14), POLICY])
def test_the_rule_is_written_read_and_kept_with_plans_as_it_is(tmp_path: Path, policy: PatchPolicy | None) -> None:
    tenant = inventory(policy=policy).tenants[0]
    file = tmp_path / "ange" / "tenant.yml"
    file.parent.mkdir()
    file.write_text(emit.tenant_file(tenant), encoding="utf-8")
    problems = Problems()
    assert tenantfile.read_tenant(file, problems).tenant.patch_policy == policy
    assert problems.found == []
    encoded = json.loads(json.dumps(document.encode([tenant], []))) | {"quarantined": []}
    assert document.decode(encoded, "d").tenants[0].patch_policy == policy
