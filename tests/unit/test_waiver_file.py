"""waivers.yml: read with the line of every fault, written one entry at a time, signed by the approver alone."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.compliance import waiverfile, waivers
from opsctl.errors import ConfigError, Refused, UsageError
from opsctl.model.finding import Waiver
from opsctl.state import signing

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CONTROLS = frozenset({"SSH-01", "FW-06"})
GOOD = """\
version: 1
waivers:
  # agreed in the meeting of November
  - control: SSH-01
    hosts: ["web*", db1]
    reason: "the vendor's agent: until it is replaced"
    owner: anna
    approver: bo
    expires: 2027-02-01T00:00:00Z
  - {control: FW-06, hosts: [db1], reason: old, owner: bo, approver: anna, expires: 2026-12-01T00:00:00Z}
"""


@pytest.fixture(name="inventories")
def _inventories(tmp_path: Path) -> Path:
    (tmp_path / "inventories" / "ange").mkdir(parents=True)
    (tmp_path / "inventories" / "ange" / waiverfile.FILE).write_text(GOOD)
    return tmp_path / "inventories"


@pytest.fixture(scope="module", name="keys")
def _keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("anna", "bo", "cia"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    return folder


@pytest.fixture(name="operators")
def _operators(inventories: Path, keys: Path) -> signing.Operators:
    lines = [f"{name} {(keys / name).with_suffix('.pub').read_text()}" for name in ("anna", "bo", "cia")]
    (inventories / signing.FILE).write_text("".join(lines))
    return signing.load(inventories)


def read(inventories: Path, operators: signing.Operators | None = None, now: datetime = NOW) -> tuple[Waiver, ...]:
    known = operators or signing.Operators(path=inventories / signing.FILE)
    return waiverfile.load(inventories, ["ange", "sundsvall"], CONTROLS, known, now)


def test_entries_are_read_with_their_line_and_count_for_nothing_unsigned(inventories: Path) -> None:
    first, second = read(inventories)
    assert (first.control, first.hosts, first.where) == ("SSH-01", ("web*", "db1"), "ange/waivers.yml:4")
    assert first.reason == "the vendor's agent: until it is replaced"
    assert second.expires == datetime(2026, 12, 1, tzinfo=UTC)
    assert {one.flaw for one in (first, second)} == {"nobody has signed it"}
    assert waivers.state(first, NOW) is waivers.State.UNSIGNED


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("control: SSH-01", "control: SSH-1", 4, "'SSH-1' is not allowed"),
        ("control: SSH-01", "control: SSH-99", 4, "no control is called 'SSH-99'"),
        ("control: SSH-01\n    hosts", "hosts", 4, "control is missing"),
        ('hosts: ["web*", db1]\n    ', "", 4, "hosts is missing"),
        ('"web*"', '"ange.web1"', 5, "'ange.web1' is no host name or pattern"),
        ('reason: "the vendor\'s agent: until it is replaced"\n    ', "", 4, "reason is missing"),
        ("owner: anna", "ovner: anna", 7, "'ovner' is not known here"),
        ("owner: anna", "owner: bo@ange.example", 8, "bo owns it: somebody else must approve it"),
        ("approver: bo\n    ", "", 4, "approver is missing"),
        ("expires: 2027-02-01T00:00:00Z", "expires: 2027-02-01", 9, "'2027-02-01' is no moment"),
        ("expires: 2027-02-01T00:00:00Z", "expires: 2027-02-01T00:00:00+01:00", 9, "is no moment"),
        ("expires: 2027-02-01T00:00:00Z", "expires: 2027-02-30T00:00:00Z", 9, "is no moment"),
        ("\n    expires: 2027-02-01T00:00:00Z", "", 4, "expires is missing"),
        ("version: 1", "version: 2", 1, "version"),
        ("approver: bo", "approver: [bo]", 8, "approver is not a single value"),
        ("approver: bo", "approver: bo\n    signature: none", 9, "signature: 'none' is not allowed"),
        ("version: 1", "{", 1, "not YAML"),
    ],
)
def test_a_typo_is_told_with_its_line(inventories: Path, old: str, new: str, line: int, told: str) -> None:
    path = inventories / "ange" / waiverfile.FILE
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError) as refused:
        read(inventories)
    found = [(problem.where.rpartition(":")[2], problem.what) for problem in refused.value.problems]
    assert any(told in what and (where == str(line) or told == "not YAML") for where, what in found), found


def test_the_same_waiver_twice_is_a_fault(inventories: Path) -> None:
    path = inventories / "ange" / waiverfile.FILE
    again = GOOD.partition("November\n")[2].partition("  - {")[0]
    path.write_text(GOOD + again)
    with pytest.raises(ConfigError) as refused:
        read(inventories)
    assert "the same waiver stands at" in refused.value.problems[0].what


def test_what_the_approver_has_signed_counts_and_any_other_word_undoes_it(
    inventories: Path, operators: signing.Operators, keys: Path
) -> None:
    for waiver, person in zip(read(inventories, operators), ("bo", "anna"), strict=True):
        waiverfile.sign(inventories, waiver, signing.sign(waivers.message(waiver), keys / person))
    first, second = read(inventories, operators)
    assert (first.flaw, second.flaw) == ("", "")
    path = inventories / "ange" / waiverfile.FILE
    text = path.read_text()
    assert "# agreed in the meeting of November" in text, "the rest stays as people wrote it"
    path.write_text(text.replace('hosts: ["web*", db1]', 'hosts: [db1, "web*"]'))
    assert read(inventories, operators)[0].flaw == "", "the order of hosts means nothing"
    path.write_text(text.replace("2027-02-01", "2028-02-01"))
    assert "does not hold" in read(inventories, operators)[0].flaw
    (inventories / signing.FILE).write_text("")
    path.write_text(text)
    assert "is nobody's" in read(inventories, signing.load(inventories))[0].flaw
    waiverfile.sign(inventories, first, signing.sign(waivers.message(first), keys / "bo"))
    assert path.read_text().count("signature: ") == 2, "a new signature takes the place of the old one"


def test_nobody_but_the_named_approver_can_approve(inventories: Path, operators: signing.Operators, keys: Path) -> None:
    waiver = read(inventories, operators)[0]
    for person, told in (("cia", "cia signed it, and not bo"), ("anna", "anna signed it, and not bo")):
        with pytest.raises(Refused, match=told):
            waiverfile.judged(waiver, signing.sign(waivers.message(waiver), keys / person), operators, NOW)
    # Two names, and one key: in doubt they are one person.
    shared = (inventories / signing.FILE).read_text() + f"bosse {(keys / 'bo').with_suffix('.pub').read_text()}"
    (inventories / signing.FILE).write_text(shared)
    own = replace(waiver, owner="bosse")
    known, signed = signing.load(inventories), signing.sign(waivers.message(own), keys / "bo")
    with pytest.raises(Refused, match="owns it"):
        waiverfile.judged(own, signed, known, NOW)


def test_an_entry_is_added_to_what_is_there_and_to_nothing(inventories: Path) -> None:
    new = asked(hosts=("app?", "db[12]"), reason='a "quoted" word: # and \\ å')
    waiverfile.add(inventories, new)
    assert read(inventories)[2] == replace(new, where="ange/waivers.yml:11", flaw="nobody has signed it")
    path = inventories / "ange" / waiverfile.FILE
    for text in ("", "version: 1\n", "version: 1\nwaivers: []\n", "version: 1\nwaivers:", "# nothing yet\n"):
        path.write_text(text)
        waiverfile.add(inventories, new)
        assert [waivers.digest(one) for one in read(inventories)] == [waivers.digest(new)]
        assert path.read_text().startswith(text.partition("[]")[0].strip())
    laid_out = (
        "waivers: [{control: SSH-01, hosts: [a], reason: b, owner: c, approver: d, expires: 2027-01-01T00:00:00Z}]\n"
    )
    path.write_text(laid_out)
    with pytest.raises(Refused, match="as it is laid out"):
        waiverfile.add(inventories, new)
    assert path.read_text() == laid_out
    assert sorted(file.name for file in path.parent.iterdir()) == [waiverfile.FILE], "nothing is left behind"


def asked(**changes: object) -> Waiver:
    values: dict[str, object] = {
        "control": "SSH-01", "tenant": "ange", "hosts": ("web1",), "reason": "agreed", "owner": "anna",
        "approver": "bo", "expires": "2027-03-01",
    }  # fmt: skip
    return waiverfile.asked(**{**values, **changes})  # type: ignore[arg-type]  # the keywords of a test


@pytest.mark.parametrize(
    "changes",
    [{"control": "SSH-99"}, {"hosts": ("ange.web1",)}, {"hosts": ()}, {"reason": ""}, {"reason": "a\nb"},
     {"owner": "bo"}, {"owner": "an na"}, {"expires": "2026-11-22T12:00:00Z"}],
)  # fmt: skip
def test_a_waiver_that_could_not_be_read_back_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(Refused, match="cannot be written"):
        waiverfile.refuse_wrong(asked(**changes), CONTROLS, NOW)
    waiverfile.refuse_wrong(asked(), CONTROLS, NOW)
    with pytest.raises(UsageError):
        asked(expires="soon")


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=60))
def test_any_reason_on_one_line_is_read_back_or_refused(reason: str) -> None:
    waiver = asked(reason=reason)
    try:
        waiverfile.refuse_wrong(waiver, CONTROLS, NOW)
    except Refused:
        return
    import yaml

    (entry,) = yaml.safe_load("waivers:\n" + waiverfile.entry_text(waiver))["waivers"]
    assert entry["reason"].strip() == reason.strip()


@given(st.timedeltas(timedelta(days=-90), timedelta(days=90)))
def test_a_waiver_is_warned_of_for_thirty_days_and_over_at_its_end(ahead: timedelta) -> None:
    waiver = replace(asked(), expires=NOW + ahead)
    state = waivers.state(waiver, NOW)
    assert (state is waivers.State.EXPIRED) == (ahead <= timedelta(0))
    assert (state is waivers.State.EXPIRING) == (timedelta(0) < ahead <= timedelta(days=30))
    assert waivers.state(replace(waiver, flaw="x"), NOW) is not waivers.State.VALID
