"""A run end to end with hosts that are only played: the real checks' machinery, the real pytest process, no network."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from select import select
from typing import Any, cast
from xml.etree import ElementTree

import pytest

from opsctl import config, content
from opsctl.cli import findings
from opsctl.compliance import catalogue as catalogues
from opsctl.compliance import record
from opsctl.compliance.assess import Order, assess
from opsctl.compliance.batch import Answers
from opsctl.compliance.checks import _serve, judge, visible
from opsctl.compliance.learned import Learned
from opsctl.compliance.record import Audit
from opsctl.errors import OpsctlError, Unreachable
from opsctl.hostside import batch
from opsctl.model.finding import Assessment, CheckResult, Profile
from opsctl.model.host import Host, Inventory, Quarantined, Tenant
from opsctl.report import build, document, junit, oscal, pages, sheet
from opsctl.ssh.session import Transport
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HEAD = "import pytest\nfrom judging import not_applicable\nfrom reading import output\n\n\n"
Reply = Callable[[Host, str], dict[str, Any] | OpsctlError]


def printed(text: str | bytes, exit_code: int = 0, fault: str = "") -> dict[str, Any]:
    data = text if isinstance(text, bytes) else text.encode()
    return {
        "exit_code": exit_code,
        "stdout": base64.b64encode(data).decode(),
        "stderr": "",
        "fault": fault,
        "at": NOW.timestamp(),
    }


@dataclass
class PlayedTransport:
    """Answers for the hosts: `reply` gives what a command prints there, or why the host is gone."""

    reply: Reply
    asked: list[tuple[str, int]] = field(default_factory=list)

    def run(self, host: Host, script: str, arguments: Mapping[str, Any], *, timeout: float) -> object:
        self.asked.append((host.key, len(arguments["commands"])))
        found = [self.reply(host, command) for command in arguments["commands"] or [""]]
        for answer in found:
            if isinstance(answer, OpsctlError):
                raise answer
        return {"answers": found[: len(arguments["commands"])]}

    def run_all(
        self,
        hosts: Iterable[Host],
        script: str,
        arguments: Callable[[Host], Mapping[str, Any]],
        *,
        timeout: float,
        then: Callable[[Host, object], object] = lambda _host, answer: answer,
    ) -> dict[str, object | OpsctlError]:
        found: dict[str, object | OpsctlError] = {}
        for host in hosts:
            try:
                found[host.key] = then(host, self.run(host, script, arguments(host), timeout=timeout))
            except OpsctlError as error:
                found[host.key] = error
        return found


def host(name: str, **changes: Any) -> Host:
    values = {"name": name, "tenant": "ange", "address": "192.0.2.1", "role": "web", "platform": "debian-12"}
    return Host(**{**values, **changes})


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace with checks of its own: two controls, of which a test writes the functions."""
    (tmp_path / config.FILE).write_text("version: 1\nworkspace: {content: ./}\n")
    checks = tmp_path / catalogues.FOLDER
    checks.mkdir(parents=True)
    for name in ("conftest.py", "judging.py", "reading.py", "pytest.ini", "catalogue.yml"):
        shutil.copy(content.folder(catalogues.FOLDER) / name, checks)
    (checks / "profiles").mkdir()
    return tmp_path


def write(workspace: Path, **functions: str) -> None:
    """Check functions by control: SSH_01='verdict(...)'."""
    text = HEAD
    for control, body in functions.items():
        name = control.replace("_", "-")
        text += f'@pytest.mark.control("{name}")\n'
        text += f"def check_{control.lower()}(host, verdict, expectations):\n    {body}\n\n\n"
    (workspace / catalogues.FOLDER / "check_own.py").write_text(text)


def run(
    workspace: Path, hosts: Iterable[Host], reply: Reply, *, inventory: Inventory | None = None, **options: Any
) -> tuple[Assessment, PlayedTransport]:
    settings = config.load(workspace, {"OPSCTL_WORKSPACE_ID": "played"})
    catalogue = catalogues.load(workspace)
    chosen = tuple(control for control in catalogue.controls if control.built)
    transport = PlayedTransport(reply)
    known = inventory or Inventory(tenants=(Tenant(name="ange", title="Ånge kommun"),), hosts=tuple(hosts))
    ticks = iter(range(10_000))
    assessment = assess(
        Order(
            hosts=tuple(hosts),
            profile=Profile(name="own", title="Own", controls=chosen),
            catalogue=catalogue,
            operator="test",
            selection={},
        ),
        transport=cast(Transport, transport),
        inventory=known,
        settings=settings,
        now=lambda: NOW + timedelta(seconds=next(ticks)),
        **options,
    )
    return assessment, transport


def results(assessment: Assessment) -> dict[tuple[str, str], CheckResult]:
    return {(result.host.partition(".")[2], result.control): result for result in assessment.results}


def no_login(_: Host, __: str) -> dict[str, Any]:
    return printed("no\n")


LOOK = 'found = output(host, "look"); verdict(found == "no\\n", observed=found.strip(), expected="no")'


def test_results_carry_what_was_seen_what_should_be_and_the_evidence(workspace: Path) -> None:
    write(workspace, SSH_01=LOOK)
    assessment, _ = run(
        workspace, [host("web1"), host("web2")], lambda h, _: printed(f"{'no' if h.name == 'web1' else 'yes'}\n")
    )
    found = results(assessment)
    assert [found[name, "SSH-01"].result for name in ("web1", "web2")] == ["pass", "fail"]
    failed = found["web2", "SSH-01"]
    assert (failed.observed, failed.expected) == ("yes", "no")
    (piece,) = failed.evidence
    assert (piece.command, piece.exit_code, piece.output, piece.at) == ("look", 0, "yes\n", NOW)
    assert assessment.complete
    assert assessment.coverage.assessed == ("ange.web1", "ange.web2")


def test_commands_are_learned_and_then_sent_as_one_batch(workspace: Path) -> None:
    two = 'output(host, "one"); ' + LOOK
    write(workspace, SSH_01=two, SSH_02=two)
    hosts = [host("web1"), host("web2"), host("web3")]
    first, asked = run(workspace, hosts, no_login)
    assert [piece.how for piece in first.of("ange.web1")[0].evidence] == ["live", "live"]
    assert [piece.how for piece in first.of("ange.web3")[0].evidence] == ["batch", "batch"]
    second, asked = run(workspace, hosts, no_login, repeated=0)
    assert asked.asked == [("ange.web1", 2), ("ange.web2", 2), ("ange.web3", 2)]
    assert {piece.how for result in second.results for piece in result.evidence} == {"batch"}


def test_an_unreachable_host_stays_in_the_count_and_none_of_its_controls_passes(workspace: Path) -> None:
    write(workspace, SSH_01=LOOK, SSH_02=LOOK)
    last = NOW - timedelta(days=3)

    def reply(which: Host, _: str) -> dict[str, Any] | OpsctlError:
        return Unreachable(which.key, "no route") if which.name == "db1" else printed("no\n")

    assessment, transport = run(workspace, [host("web1"), host("db1")], reply, last_good={"ange.db1": last})
    assert [r.result for r in assessment.of("ange.db1")] == ["notchecked", "notchecked"]
    assert assessment.of("ange.db1")[0].reason == "no route", "the name stands beside it wherever it is shown"
    (absent,) = assessment.coverage.unreachable
    assert (absent.host, absent.reason, absent.last_good) == ("ange.db1", "no route", last)
    assert assessment.coverage.total == 2
    assert record.outcome(assessment, ()) == "incomplete"
    assert [key for key, _ in transport.asked].count("ange.db1") == 1, "it costs one time-out, not one a control"


def test_hosts_that_are_not_managed_and_quarantined_records_stay_in_the_count(workspace: Path) -> None:
    write(workspace, SSH_01=LOOK)
    hosts = (host("web1"), host("print1", platform="windows-2022"), host("old1", status="decommissioning"))
    inventory = Inventory(
        tenants=(Tenant(name="ange", title="Ånge kommun"),),
        hosts=hosts,
        quarantined=(Quarantined(tenant="ange", record="vm 7", reason="a name with blanks"),),
    )
    assessment, _ = run(workspace, hosts, no_login, inventory=inventory)
    assert assessment.coverage.total == 4
    assert [a.reason for a in assessment.coverage.excluded] == [
        "platform windows-2022 is not managed by opsctl",
        "status decommissioning",
    ]
    assert [a.reason for a in assessment.coverage.quarantined] == ["a name with blanks"]


def test_contact_lost_in_the_middle_leaves_the_rest_not_checked(workspace: Path) -> None:
    write(workspace, SSH_01=LOOK, SSH_02='output(host, "hang")', SSH_03='output(host, "more")')

    def reply(which: Host, command: str) -> dict[str, Any] | OpsctlError:
        return Unreachable(which.key, "no answer within 60 s") if command == "hang" else printed("no\n")

    assessment, transport = run(workspace, [host("web1")], reply)
    assert [r.result for r in assessment.results] == ["pass", "notchecked", "notchecked"]
    assert assessment.faults == ("contact was lost: ange.web1: no answer within 60 s",)
    assert len(transport.asked) == 3, "the reach, the first check, the one that hung"


# What a check may do, the result that it gets, and a part of the reason.
DEEDS = {
    "SSH-01": ('not_applicable("no such thing here")', "notapplicable", "no such thing here"),
    "SSH-02": ('pytest.skip("not today")', "notchecked", "not today"),
    "SSH-03": ('raise ValueError("oops")', "error", "ValueError: oops"),
    "SSH-04": ('output(host, "look"); 1 / 0', "error", "ZeroDivisionError"),
    "SSH-05": ("pass", "error", "without evidence"),
    "SSH-06": ('output(host, "look")', "error", "without saying what it expects"),
    "SSH-07": ('verdict(True, observed="a", expected="a")', "error", "without evidence"),
    "SSH-08": ('verdict(False, observed="a", expected="b")', "error", "without evidence"),
    "SSH-09": ('expectations.texts("accounts")', "error", "the inventory gives no accounts"),
    "SSH-10": ('output(host, "bad")', "error", "`bad` ended with 3"),
    "SSH-11": ('output(host, "slow")', "error", "`slow`: it did not end within 30 s and was stopped"),
    "SSH-12": ("raise SystemExit(0)", "error", "SystemExit"),
    "SSH-13": (LOOK, "pass", ""),
}


def test_only_a_verdict_with_evidence_passes_or_fails(workspace: Path) -> None:
    write(workspace, **{control.replace("-", "_"): body for control, (body, _, _) in DEEDS.items()})

    def reply(_: Host, command: str) -> dict[str, Any]:
        return printed("no\n", exit_code=3 if command == "bad" else 0, fault="too slow" if command == "slow" else "")

    found = results(run(workspace, [host("web1")], reply)[0])
    assert {c: found["web1", c].result for c in DEEDS} == {c: result for c, (_, result, _) in DEEDS.items()}
    for control, (_, _, reason) in DEEDS.items():
        assert reason in found["web1", control].reason


OWN = (
    HEAD
    + """
@pytest.fixture
def word(host):
    yield "no\\n"
    with open("ended", "a") as ended:
        ended.write("x")


@pytest.mark.control("SSH-01")
def check_with_a_fixture(host, verdict, word):
    verdict(output(host, "look") == word, observed="a", expected="b")


@pytest.mark.skip(reason="not here")
@pytest.mark.control("SSH-02")
def check_that_is_left_out(host, verdict):
    verdict(output(host, "look") == "yes", observed="a", expected="b")


@pytest.mark.control("SSH-03")
def check_of_the_usual_kind(host, verdict):
    with open("ended") as ended:
        verdict(ended.read() == output(host, "count"), observed="a", expected="b")
"""
)


def test_checks_may_have_fixtures_and_marks_of_their_own(workspace: Path) -> None:
    (workspace / catalogues.FOLDER / "check_own.py").write_text(OWN)
    counted = {"web1": "x", "web2": "xx"}
    hosts = [host(name) for name in counted]
    assessment, _ = run(workspace, hosts, lambda h, c: printed(counted[h.name] if c == "count" else "no\n"), live=True)
    found = results(assessment)
    assert [found[name, "SSH-01"].result for name in counted] == ["pass", "pass"]
    assert [(found[name, "SSH-02"].result, found[name, "SSH-02"].reason) for name in counted] == [
        ("notchecked", "not here"),
        ("notchecked", "not here"),
    ]
    assert [found[name, "SSH-03"].result for name in counted] == ["pass", "pass"], "the fixture ended once a host"


def test_a_process_that_dies_leaves_errors_and_an_incomplete_run(workspace: Path) -> None:
    write(workspace, SSH_01=LOOK, SSH_02="import os; os._exit(7)", SSH_03=LOOK)
    assessment, _ = run(workspace, [host("web1")], no_login)
    assert [r.result for r in assessment.results] == ["pass", "error", "error"]
    assert assessment.results[2].reason == "the check did not report a result"
    assert "exit code 7" in assessment.faults[0]
    assert "2 results are missing, the first: SSH-02 on ange.web1" in assessment.faults[1]
    assert record.outcome(assessment, ()) == "incomplete"


def test_a_process_that_dies_with_an_answer_unread_is_no_error_of_ours(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    answers = Answers(cast(Transport, PlayedTransport(no_login)), [host("web1")], Learned(tmp_path / "learned", ""))
    waiting: SimpleQueue[str | None] = SimpleQueue()
    waiting.put("ange.web1")
    theirs.sendall(b'{"judged": "", "asked": []}\n')
    with ours, ThreadPoolExecutor(1) as pool:
        served = pool.submit(_serve, answers, list, ours, waiting)
        assert select([theirs], [], [], 10)[0], "the answer is there"
        theirs.close()
        served.result(timeout=60)


def test_checks_that_cannot_be_read_make_the_run_incomplete(workspace: Path) -> None:
    write(workspace, SSH_01=LOOK)
    (workspace / catalogues.FOLDER / "check_more.py").write_text("this is no Python\n")
    assessment, _ = run(workspace, [host("web1")], no_login)
    assert [r.result for r in assessment.results] == ["error"]
    assert not assessment.complete


def test_two_functions_for_one_control_are_an_error(workspace: Path) -> None:
    write(workspace, SSH_01=LOOK)
    file = workspace / catalogues.FOLDER / "check_own.py"
    shutil.copy(file, file.with_name("check_twin.py"))
    assessment, _ = run(workspace, [host("web1")], no_login)
    assert [(r.result, r.reason) for r in assessment.results] == [("error", "the check reported more than once")]
    assert not assessment.complete


def test_checks_that_stand_still_are_stopped(workspace: Path, tmp_path: Path) -> None:
    write(workspace, SSH_01="import time; time.sleep(600)")
    transport = cast(Transport, PlayedTransport(no_login))
    answers = Answers(transport, [host("web1")], Learned(tmp_path / "learned", ""))
    judged = judge(
        workspace / catalogues.FOLDER, ["ange.web1"], ["SSH-01"], {"hosts": {}, "controls": {}}, answers,
        work=tmp_path, silence=2,
    )  # fmt: skip
    assert judged.results == ()
    assert judged.fault == "the checks stood still for 2 s and were stopped"


def test_an_interrupted_run_keeps_what_was_judged_and_says_what_is_missing(workspace: Path) -> None:
    write(workspace, SSH_01=LOOK, SSH_02='output(host, "stop")', SSH_03=LOOK)

    def reply(_: Host, command: str) -> dict[str, Any]:
        if command == "stop":
            raise KeyboardInterrupt
        return printed("no\n")

    assessment, _ = run(workspace, [host("web1")], reply)
    assert assessment.interrupted
    assert assessment.faults[0] == "the run was interrupted"
    assert [r.result for r in assessment.results] == ["pass", "notchecked", "notchecked"]
    assert record.outcome(assessment, ()) == "incomplete"


def test_an_interrupt_before_the_first_verdict_assesses_nobody(workspace: Path) -> None:
    write(workspace, SSH_01=LOOK)

    def reply(_: Host, __: str) -> dict[str, Any]:
        raise KeyboardInterrupt

    assessment, _ = run(workspace, [host("web1")], reply)
    assert assessment.coverage.assessed == ()
    assert [r.result for r in assessment.results] == ["notchecked"]


def test_nobody_assessed_is_never_ok(workspace: Path) -> None:
    write(workspace, SSH_01=LOOK)
    assessment, _ = run(workspace, [host("print1", platform="windows-2022")], no_login)
    assert (assessment.results, assessment.faults) == ((), ())
    assert record.outcome(assessment, ()) == "incomplete"


def test_the_checks_refuse_to_run_on_this_machine_by_mistake() -> None:
    checks = content.folder(catalogues.FOLDER)
    command = [sys.executable, "-m", "pytest", "-c", str(checks / "pytest.ini"), "-p", "no:cacheprovider", str(checks)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 4
    assert "say which, with --hosts=ssh://NAME" in ended.stderr + ended.stdout


def test_a_host_that_answers_nonsense_is_not_assessed(workspace: Path) -> None:
    write(workspace, SSH_01=LOOK)
    run(workspace, [host("web1")], no_login)
    assessment, _ = run(workspace, [host("web1")], lambda _, __: {"exit_code": "x"})
    assert assessment.coverage.assessed == ()
    assert "cannot be read" in assessment.coverage.unreachable[0].reason


def test_hostile_output_is_bounded_and_shown_harmlessly(workspace: Path) -> None:
    write(workspace, SSH_01=LOOK)
    hostile = b"\x1b]0;gone\x07\xff\x9b31m<script>alert(1)</script>\x00=cmd()" + b"A" * 100_000
    assessment, _ = run(workspace, [host("web1")], lambda _, __: printed(hostile))
    (result,) = assessment.results
    assert result.result == "fail"
    (piece,) = result.evidence
    assert piece.output.startswith("\\x1b]0;gone\\x07\\xff\\x9b31m<script>alert(1)</script>\\x00=cmd()")
    assert len(piece.output) < 5000
    assert "[100046 bytes in all]" in piece.output
    assert len(result.observed) <= 20_000 * 6
    json.dumps(record.to_document("r", assessment, "0:0"))


def test_a_check_that_breaks_keeps_its_traceback_as_evidence_and_the_others_go_on(workspace: Path) -> None:
    write(workspace, SSH_01="deep(host)", SSH_02=LOOK)
    file = workspace / catalogues.FOLDER / "check_own.py"
    file.write_text(file.read_text() + 'def deep(host):\n    output(host, "look")\n    raise KeyError("\\x1b[31m")\n')
    assessment, _ = run(workspace, [host("web1"), host("web2")], no_login)
    found = results(assessment)
    for name in ("web1", "web2"):
        assert [found[name, control].result for control in ("SSH-01", "SSH-02")] == ["error", "pass"]
        broken = found[name, "SSH-01"]
        assert "KeyError" in broken.reason
        assert "Traceback" not in broken.reason
        looked, traceback = broken.evidence
        assert (looked.command, looked.output) == ("look", "no\n"), "what it had asked until then"
        assert (traceback.command, traceback.how) == ("traceback of the check of SSH-01", "record")
        assert "check_own.py" in traceback.output.splitlines()[0], "it begins at the check, not in pytest"
        assert "in deep" in traceback.output
        assert "\x1b" not in traceback.output
    assert record.outcome(assessment, ()) == "incomplete"


def test_an_answer_that_is_not_whole_is_an_error_and_what_was_heard_is_marked(workspace: Path) -> None:
    """50 MiB of text, from the script on the host to the evidence: cut where it is made, and never taken for whole."""
    (answer,) = batch.main({"commands": ["head -c 52428800 /dev/zero | tr '\\0' x"]})["answers"]
    assert answer["fault"] == "too much"
    write(workspace, SSH_01=LOOK, SSH_02='output(host, "other"); ' + LOOK)
    assessment, _ = run(
        workspace, [host("web1")], lambda _, command: answer if command == "look" else printed("fine\n")
    )
    for result in assessment.results:
        assert (result.result, result.reason) == ("error", "`look`: it printed more than 1 MiB")
        assert result.evidence[-1].output.startswith("xxxx")
        assert result.evidence[-1].output.endswith(
            f"[{1 << 20} bytes in all]\n[not whole: `look`: it printed more than 1 MiB; the hash is of what was heard]"
        )
        assert len(result.evidence[-1].output) < 4_200
    assert len(record.canonical(record.to_document("r", assessment, "0:0"))) < 100_000


def test_a_host_that_sends_50_mib_against_the_rules_is_cut_and_marked_too(workspace: Path) -> None:
    write(workspace, SSH_01=LOOK)
    huge = printed(b"=A\xff\n" * (50 << 18))
    assessment, _ = run(workspace, [host("web1")], lambda _, __: huge)
    (result,) = assessment.results
    assert (result.result, result.reason) == ("error", "`look`: it printed more than 1 MiB")
    assert "[not whole: `look`: it printed more than 1 MiB" in result.evidence[0].output
    assert len(result.evidence[0].output) < 4_200


HOSTILE = b"\x1b]0;gone\x07\xff\x9b31m\xe2\x80\xae<script>alert(1)</script>\x00{{ 7*7 }}"
FORMULAS = (b"=cmd()", b"@sum(", b"+1", b"-1", b"\t=1")
UNSEEN = set("\x1b\x07\x00\x9b\u202e")


def test_hostile_output_is_harmless_in_every_form_of_a_report(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the host to the page, the paper, the sheet, the XML, the JSON and the terminal, in one go."""
    broken = 'raise ValueError(output(host, "look"))'
    write(workspace, SSH_01=LOOK, SSH_02='not_applicable(output(host, "look"))', SSH_03=broken)
    hosts = [host(f"web{n}") for n in range(len(FORMULAS))]
    assessment, _ = run(workspace, hosts, lambda h, _: printed(FORMULAS[int(h.name[3:])] + HOSTILE))
    assert [one.result for one in assessment.results] == ["fail", "notapplicable", "error"] * len(hosts)
    with Store.open(tmp_path / "state") as store:
        record.keep(store, "run-1", record.to_document("run-1", assessment, "1:ab"), assessment)
        report = build.report(build.kept(store, Ledger(store), "run-1"), "ange")
        shown = [text for _, text in pages.files(report, "sv")] + [pages.for_paper(report, "en")]
        texts = [*shown, sheet.as_csv(report), junit.as_xml(report), document.as_json(report), oscal.as_json(report)]
    for text in shown:
        assert "<script" not in text
        assert "&lt;script&gt;alert(1)" in text
        assert "\\x1b]0;gone\\x07\\xff" in text, "seen, and no command any more"
        assert "{{ 7*7 }}" in text
    assert not any(set(text) & UNSEEN for text in texts)
    for row in csv.reader(io.StringIO(sheet.as_csv(report)), delimiter=";"):
        assert not any(re.match(r"\s*[=+\-@]", cell) for cell in row)
    ElementTree.fromstring(junit.as_xml(report))
    findings.show(Audit(id="r", assessment=assessment, findings=report.findings, sha256="0", ledger_head="1:ab"))
    told = capsys.readouterr().out
    assert "gone" in told
    assert not set(told) & UNSEEN


def test_a_kept_document_reads_back_as_the_same_run(workspace: Path) -> None:
    write(workspace, SSH_01=LOOK, SSH_06='not_applicable("no")')
    assessment, _ = run(workspace, [host("web1"), host("print1", platform="windows-2022")], no_login)
    text = record.canonical(record.to_document("r", assessment, "0:0"))
    again = record.from_document(json.loads(text))
    assert again == assessment
    assert record.canonical(record.to_document("r", again, "0:0")) == text


def test_marks_that_command_a_terminal_or_a_reader_become_visible() -> None:
    assert visible("a\x1b[2J\u202eb\u2028c\td\ne\x9b\u200f") == "a\\x1b[2J\\u202eb\\u2028c\td\ne\\x9b\\u200f"
    assert visible("Ånge, Söderhamn – ✓") == "Ånge, Söderhamn – ✓"


def test_other_content_starts_to_learn_anew(tmp_path: Path) -> None:
    file = tmp_path / "learned.json"
    learned = Learned(file, "one")
    learned.note("ange.web1", "SSH-01", "look")
    learned.save()
    assert Learned(file, "one").of("ange.web1", ["SSH-01", "SSH-02"]) == ("look",)
    assert not Learned(file, "one").covers(["SSH-01", "SSH-02"])
    assert not Learned(file, "two").covers(["SSH-01"])
    file.write_text("[broken")
    assert Learned(file, "one").of("ange.web1", ["SSH-01"]) == ()


def forged(file: Path, command: str) -> Path:
    """What a member of the store's group could leave in place of the cache."""
    document = {"content": "one", "commands": [["SSH-01", command]], "hosts": {"ange.web1": [0]}}
    file.write_text(json.dumps(document))
    file.chmod(0o600)
    return file


def test_learned_commands_are_its_own_users_alone(tmp_path: Path) -> None:
    """They run as root on hosts: what somebody else could have written is as good as nothing."""
    file = forged(tmp_path / "learned.json", "rm -rf /")
    assert Learned(file, "one").of("ange.web1", ["SSH-01"]) == ("rm -rf /",), "our own file is believed"
    for mode in (0o620, 0o602, 0o660):
        file.chmod(mode)
        assert Learned(file, "one").of("ange.web1", ["SSH-01"]) == ()
    file.chmod(0o600)
    (tmp_path / "link.json").symlink_to(file)
    assert Learned(tmp_path / "link.json", "one").of("ange.web1", ["SSH-01"]) == ()
    learned = Learned(tmp_path / "own.json", "one")
    learned.note("ange.web1", "SSH-01", "look")
    learned.save()
    assert (tmp_path / "own.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_commands_that_another_user_learned_are_not_replayed(tmp_path: Path) -> None:
    file = forged(tmp_path / "learned.json", "rm -rf /")
    os.chown(file, 65534, -1)
    assert Learned(file, "one").of("ange.web1", ["SSH-01"]) == ()
    assert not Learned(file, "one").covers(["SSH-01"])


def test_a_host_is_asked_what_it_was_asked_before_and_a_new_one_what_is_common(tmp_path: Path) -> None:
    file = tmp_path / "learned.json"
    learned = Learned(file, "one")
    for name in ("web1", "web2", "web3"):
        learned.note(name, "SSH-01", "look")
        learned.note(name, "SSH-02", f"look at {name}")
    learned.save()
    again = Learned(file, "one")
    assert again.of("web2", ["SSH-01", "SSH-02"]) == ("look", "look at web2")
    assert again.of("new1", ["SSH-01", "SSH-02"]) == ("look",)
    assert again.of("web2", ["SSH-01"]) == ("look",)
    again.note("web2", "SSH-02", "look elsewhere")
    again.save()
    assert Learned(file, "one").of("web2", ["SSH-01", "SSH-02"]) == ("look", "look elsewhere")


def told_in_turn(*texts: str) -> Reply:
    """The command `look` prints the first text, then the second, and so on; the last one for ever."""
    left = list(texts)

    def reply(_: Host, command: str) -> dict[str, Any]:
        return printed(left.pop(0) if len(left) > 1 else left[0])

    return reply


@pytest.mark.parametrize(
    ("texts", "outcome", "fault"),
    [
        (("no\n",), "same", ""),
        (("no\n", "yes\n", "yes\n"), "different", "was another one when it was asked for again: ange.web1: look"),
        (("no\n", "yes\n", "perhaps\n"), "moving", ""),
    ],
)
def test_answers_of_the_batch_are_asked_for_again(
    workspace: Path, texts: tuple[str, ...], outcome: str, fault: str
) -> None:
    write(workspace, SSH_01=LOOK)
    run(workspace, [host("web1")], no_login)  # learns the command
    assessment, _ = run(workspace, [host("web1")], told_in_turn(*texts))
    assert [(one.host, one.command, one.outcome) for one in assessment.repeats] == [("ange.web1", "look", outcome)]
    assert assessment.complete == (not fault)
    assert fault in "".join(assessment.faults)
    document = record.to_document("run-1", assessment, "1:ab")
    assert record.from_document(json.loads(json.dumps(document))).repeats == assessment.repeats


def test_a_host_that_is_lost_while_answers_are_repeated_makes_the_run_incomplete(workspace: Path) -> None:
    write(workspace, SSH_01=LOOK)
    run(workspace, [host("web1")], no_login)
    calls = iter([printed("no\n")])
    assessment, _ = run(
        workspace, [host("web1")], lambda h, _: next(calls, None) or Unreachable(h.key, "no answer in 1 s")
    )
    assert assessment.repeats[0].outcome == "lost"
    assert "contact was lost while" in assessment.faults[0]


def test_a_measurement_is_not_asked_for_again(workspace: Path) -> None:
    write(workspace, SSH_01=LOOK)
    file = workspace / catalogues.FOLDER / "catalogue.yml"
    file.write_text(file.read_text().replace("  - id: SSH-01\n", "  - id: SSH-01\n    moves: true\n"))
    run(workspace, [host("web1")], no_login)
    assessment, _ = run(workspace, [host("web1")], no_login)
    assert assessment.repeats == ()
    assert assessment.complete
