"""Every control on a hardened host: break exactly this setting and see this control fail, mend it and see it pass.

In each case all controls of the same area are judged, so that the test also sees what else is touched; `also` names
what must be.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opsctl import config, content, lab
from opsctl.compliance import catalogue as catalogues
from opsctl.compliance import expectations
from opsctl.compliance.records import Record, of_inventory, record
from opsctl.config import Settings
from opsctl.model.finding import Assessment, CheckResult
from opsctl.rollout.records import gather
from opsctl.state.store import Store
from tests.integration import control_cases_services, control_cases_system, judged, offered
from tests.integration.control_case import DROP_IN, Case, RecordCase
from tests.integration.footprint import nothing_changes
from tests.integration.ground import Ground, ground
from tests.integration.judged import by_control, every, provision, shipped

pytestmark = pytest.mark.lab

HOST = "host-01"

CASES = (*control_cases_system.CASES, *control_cases_services.CASES)
NEEDS_A_VM = (*control_cases_system.NEEDS_A_VM, *control_cases_services.NEEDS_A_VM)
RECORD_CASES = control_cases_services.RECORD_CASES
EVERY = (*(case.control for case in (*CASES, *NEEDS_A_VM)), *(case.control for case in RECORD_CASES))
# Web servers and databases: test_web_and_database_controls.py.
ON_OTHER_HOSTS = frozenset(f"WEB-0{number}" for number in range(1, 5)) | {f"DB-0{number}" for number in range(1, 6)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("controls"), lab.generic(1)) as found:
        # As on a machine that boots by itself.
        found.inside(HOST, "mkdir -p /boot/grub; install -m 0644 /dev/null /boot/grub/grub.cfg")
        provision(found)
        found.inside(HOST, "DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-remove dist-upgrade opslab-library")
        # What the updates ask for; a reboot would end the shared connection of every test.
        found.inside(HOST, "rm -f /run/reboot-required*")
        yield found


def known(**broken: dict[str, object]) -> dict[str, Record]:
    """What the control side hands in: all well, but for what is broken."""
    now = datetime.now(UTC)
    fields = {case.name: case.mended(now) for case in RECORD_CASES} | broken
    return {name: record(f"a test: {name}", now, found) for name, found in fields.items()}


def judge(place: Ground, *controls: str, records: dict[str, Record] | None = None) -> Assessment:
    """All of the profile, or these controls, of the profile or not."""
    return judged.judge(place, *controls, profile=every() if controls else None, records=records or known())


def neighbours(control: str) -> list[str]:
    return [case.control for case in CASES if case.control[:3] == control[:3]]


def told(results: dict[str, CheckResult]) -> dict[str, str]:
    """What did not pass, but for what a container cannot hold and a check says so."""
    return judged.told(results, {case.control for case in NEEDS_A_VM})


def test_there_is_a_case_for_every_control_that_can_be_checked() -> None:
    built = {control.id for control in shipped()[0].controls if control.built}
    assert sorted(EVERY) == sorted(built - ON_OTHER_HOSTS)


@pytest.mark.parametrize("case", RECORD_CASES, ids=lambda case: case.control)
def test_what_the_control_side_knows_is_judged(place: Ground, case: RecordCase) -> None:
    broken = by_control(judge(place, case.control, records=known(**{case.name: case.broken(datetime.now(UTC))})))[
        case.control
    ]
    assert (broken.result, case.observed in broken.observed) == ("fail", True), broken
    (piece,) = broken.evidence
    assert (piece.command, piece.how) == (f"a test: {case.name}", "record")
    assert piece.sha256 == hashlib.sha256(piece.output.encode()).hexdigest()
    assert told(by_control(judge(place, case.control))) == {}


@pytest.fixture
def backups(place: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, Path]:
    """An empty repository of restic, with the reading of it that docs/reference/controls-evidence.md shows."""
    (deb,) = (file for file in offered.fetched(place.fleet.name, "restic") if file.name.startswith("restic_"))
    subprocess.run(["dpkg-deb", "--extract", deb, tmp_path / "restic"], check=True)
    monkeypatch.setenv("PATH", f"{tmp_path / 'restic/usr/bin'}:{os.environ['PATH']}")
    for name, value in (("REPOSITORY", tmp_path / "backups"), ("PASSWORD", "test"), ("CACHE_DIR", tmp_path / "cache")):
        monkeypatch.setenv(f"RESTIC_{name}", str(value))
    subprocess.run(["restic", "init", "--quiet"], check=True)
    page = (content.folder("roles").parent / "docs/reference/controls-evidence.md").read_text(encoding="utf-8")
    script = tmp_path / "last-backups"
    script.write_text(page.partition("```python\n")[2].partition("```")[0], encoding="utf-8")
    workspace = tmp_path / "workspace"
    workspace.mkdir(mode=0o700)
    command = json.dumps([sys.executable, str(script)])
    (workspace / config.FILE).write_text(f"version: 1\nworkspace: {{id: t}}\nbackup: {{command: {command}}}\n")
    return config.load(workspace, {}), tmp_path / "backups"


def test_a_real_backup_that_grew_old_fails_and_a_new_one_passes(
    place: Ground, backups: tuple[Settings, Path], tmp_path: Path
) -> None:
    settings, repository = backups
    host = place.host(HOST)

    def back_up(at: datetime) -> None:
        with subprocess.Popen(
            lab.enter(place.fleet.name, HOST, ["tar", "-c", "/etc/ssh"]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        ) as data:
            told = ["--host", host.key, "--time", f"{at.astimezone():%Y-%m-%d %H:%M:%S}"]
            subprocess.run(["restic", "backup", "--quiet", "--stdin", *told], stdin=data.stdout, check=True)

    def judged_now() -> CheckResult:
        with Store.open(tmp_path / "state") as store:
            found = gather([host], ["BAK-01"], settings, store, datetime.now(UTC))
        (result,) = judged.judge(place, "BAK-01", profile=every(), records=found[host.key]).results
        return result

    none = judged_now()
    assert (none.result, none.observed) == ("fail", "no last good backup is known")
    back_up(datetime.now(UTC) - timedelta(hours=30))
    old = judged_now()
    assert (old.result, "30.0 hours ago" in old.observed) == ("fail", True), old
    back_up(datetime.now(UTC))
    fresh = judged_now()
    assert (fresh.result, "0.0 hours ago" in fresh.observed) == ("pass", True), fresh
    repository.rename(repository.with_name("moved"))
    lost = judged_now()
    assert (lost.result, "it ended with 1" in lost.reason) == ("error", True), lost


@pytest.mark.parametrize(("days", "result"), [(400, "fail"), (20, "pass")])
def test_the_day_that_the_inventory_names_is_when_restoring_was_tried(place: Ground, days: int, result: str) -> None:
    day = datetime.now(UTC) - timedelta(days=days)
    tried = replace(place.host(HOST), custom=json.dumps({"restore_tested": f"{day:%Y-%m-%d}"}))
    there = replace(place, inventory=replace(place.inventory, hosts=(tried,)))
    assert by_control(judged.judge(there, "BAK-02", profile=every()))["BAK-02"].result == result


def test_what_nobody_handed_in_is_an_error_and_never_a_pass(place: Ground) -> None:
    lost = Record(source="the backup server", at=datetime.now(UTC), fault="no answer within 10 seconds")
    results = by_control(judge(place, "PAT-05", "BAK-01", records={"backup": lost}))
    assert {name: (result.result, result.reason) for name, result in results.items()} == {
        "PAT-05": ("error", "nobody handed in the record 'patched' of this host"),
        "BAK-01": ("error", "the backup server: no answer within 10 seconds"),
    }


def test_a_provisioned_host_passes_every_control(place: Ground) -> None:
    assert told(by_control(judge(place))) == {}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.control)
def test_control_fails_when_its_setting_is_broken_and_passes_when_it_is_mended(place: Ground, case: Case) -> None:
    place.inside(HOST, case.broken)
    try:
        broken = by_control(judge(place, *neighbours(case.control)))
    finally:
        place.inside(HOST, case.mended)
    found = broken[case.control]
    assert found.result == "fail", (found.result, found.reason, found.observed)
    assert case.observed in found.observed
    assert found.expected
    assert found.evidence
    assert set(told(broken)) == {case.control, *case.also}, told(broken)
    mended = by_control(judge(place, case.control, *case.also))
    assert told(mended) == {}


def test_an_account_that_a_match_block_treats_apart_is_seen(place: Ground) -> None:
    place.inside(HOST, f"umask 077; printf 'Match User root\\n PermitRootLogin yes\\nMatch all\\n' > {DROP_IN}")
    try:
        found = by_control(judge(place, "SSH-01"))["SSH-01"]
    finally:
        place.inside(HOST, f"rm {DROP_IN}")
    assert found.result == "fail"
    assert found.observed == "permitrootlogin yes (for root from 192.0.2.1)"


def test_the_verdicts_are_the_same_with_and_without_learned_commands(place: Ground) -> None:
    judge(place)  # What it asks for, the next one asks for in one batch.
    batched = judge(place)
    (place.settings.state / "cache" / f"comply-commands-{os.geteuid()}.json").unlink()
    alone = judge(place)
    assert {piece.how for result in batched.results for piece in result.evidence} == {"batch", "record"}
    assert "live" in {piece.how for result in alone.results for piece in result.evidence}
    assert [(r.control, r.result) for r in batched.results] == [(r.control, r.result) for r in alone.results]


def test_the_checks_say_the_same_under_plain_pytest_and_testinfra(place: Ground, tmp_path: Path) -> None:
    ours = judge(place)
    catalogue, profile = shipped()
    host = place.host(HOST)
    records = {host.key: {**of_inventory(host, datetime.now(UTC)), **known()}}
    expected = expectations.document([host], place.inventory, profile, catalogue, records)
    (tmp_path / "expectations.json").write_text(json.dumps(expected))
    checks = catalogues.folder()
    command = [
        *(
            sys.executable,
            "-m",
            "pytest",
            "-c",
            str(checks / "pytest.ini"),
            "-p",
            "no:cacheprovider",
            "-q",
            str(checks),
        ),
        *("--hosts", f"ssh://{place.host(HOST).key}", "--sudo", "--ssh-config", str(place.transport.config_file)),
        *("--opsctl-expectations", str(tmp_path / "expectations.json")),
        *("--opsctl-results", str(tmp_path / "results")),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stdout[-3000:]
    theirs = [json.loads(line) for line in (tmp_path / "results").read_text().splitlines()]
    judged = {result.control: result.result for result in ours.results}
    # Without --control it judges those outside the profile, too.
    assert {one["control"]: one["result"] for one in theirs if one["control"] in judged} == judged
    digests = {piece.command: piece.sha256 for result in ours.results for piece in result.evidence}
    for one in theirs:
        for piece in one["evidence"]:
            # Some commands print a clock or sizes that move; those of sshd, accounts and rules do not.
            if one["control"][:3] in ("SSH", "USR"):
                assert piece["sha256"] == digests[piece["command"]], piece["command"]


def test_a_run_of_every_control_changes_nothing_on_the_host(place: Ground) -> None:
    """Once learning, each command alone; once from the batch with a part asked for again."""
    judge(place, "USR-01")  # The connection is opened before the first look, and stays.
    learned = place.settings.state / "cache" / f"comply-commands-{os.geteuid()}.json"
    with nothing_changes(place, HOST):
        learned.unlink()
        alone = judge(place, *(control.id for control in every().controls))
        batched = judge(place, *(control.id for control in every().controls))
    assert "live" in {piece.how for result in alone.results for piece in result.evidence}
    assert "batch" in {piece.how for result in batched.results for piece in result.evidence}
    assert len(batched.results) == 129
    assert batched.repeats


def test_a_missing_list_is_an_error_and_never_a_pass(place: Ground) -> None:
    bare = replace(
        place.inventory,
        tenants=tuple(
            replace(
                tenant,
                accounts=None,
                ssh_groups=None,
                package_sources=None,
                management_networks=None,
                log_host="",
                time_servers=None,
                log_retention_days=None,
            )
            for tenant in place.inventory.tenants
        ),
    )
    results = by_control(judge(replace(place, inventory=bare)))
    wanting = {name for name, result in results.items() if result.result == "error"}
    assert wanting == {"SSH-12", "USR-18", "USR-21", "USR-22", "PAT-02", "FW-07", "LOG-04", "LOG-07"}
    assert all("the inventory gives no" in results[name].reason for name in wanting)
