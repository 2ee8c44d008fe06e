"""The head of a run, by mail and with a timestamp: a mail server and an authority on loopback, real openssl."""

from __future__ import annotations

import http.server
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opsctl import config
from opsctl.cli.main import run
from opsctl.compliance import record
from opsctl.config import Settings
from opsctl.errors import ConfigError, OpsctlError
from opsctl.report import build, exports, seal, verify, witness
from opsctl.rollout import heads
from opsctl.state.ledger import Ledger
from opsctl.state.redaction import Redactor
from opsctl.state.store import Store
from tests.unit.receivers import mail_server
from tests.unit.test_report import assessment
from tests.unit.test_report_part import kept as keep
from tests.unit.test_report_part import two

CONFIGURATION = """\
[tsa]
default_tsa = a
[a]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
certs = {folder}/ca.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[stamps]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


def openssl(*words: str, cwd: Path) -> None:
    done = subprocess.run(["openssl", *words], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module", name="authority")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a timestamp authority (RFC 3161), as openssl makes them."""
    folder = tmp_path_factory.mktemp("authority")
    (folder / "cnf").write_text(CONFIGURATION.format(folder=folder))
    (folder / "serial").write_text("01\n")
    new = ("req", "-config", "cnf", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(*new, "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test authority", "-days", "9",
            "-extensions", "authority", cwd=folder)  # fmt: skip
    openssl(*new, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=Test timestamps", cwd=folder)
    openssl("x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "2", "-days", "9",
            "-extfile", "cnf", "-extensions", "stamps", "-out", "tsa.pem", cwd=folder)  # fmt: skip
    return folder


@pytest.fixture(name="served")
def _served(authority: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """The authority's address, and how it shall behave: `code`, and `answer` in place of its own."""
    behave: dict[str, object] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = self.rfile.read(int(self.headers["Content-Length"]))
            command = ["openssl", "ts", "-reply", "-config", "cnf", "-queryfile", "/dev/stdin"]
            done = subprocess.run(command, cwd=authority, input=question, capture_output=True, check=False)
            answer = behave.get("answer", done.stdout)
            assert isinstance(answer, bytes)
            self.send_response(int(str(behave.get("code", 200))))
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_words: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", behave
        server.shutdown()
        thread.join()


def settings(workspace: Path, **options: str) -> Settings:
    (workspace / "opsctl.yml").touch()
    return config.load(workspace, {}, {name.replace("__", "."): value for name, value in options.items()})


@pytest.fixture(name="kept")
def _kept(tmp_path: Path) -> tuple[Path, str]:
    """A workspace with one run."""
    found = assessment()
    with Store.open(tmp_path / ".state") as store:
        ledger = Ledger(store)
        run_id = store.new_run(record.KIND, "{}", found.started)
        with ledger.act("comply", (), {}, "anna", lambda: found.ended) as act:
            record.keep(store, run_id, record.to_document(run_id, found, "0:00"), found)
            act.detail |= {"run": run_id, "report_sha256": record.sha256(record.stored(store, run_id))}
        store.end_run(run_id, "incomplete", found.ended)
    return tmp_path, run_id


def test_a_head_names_no_host_and_is_the_same_each_time(kept: tuple[Path, str]) -> None:
    workspace, run_id = kept
    with Store.open(workspace / ".state") as store:
        text = witness.head(store, Ledger(store), run_id)
        assert text == witness.head(store, Ledger(store), run_id)
        digest = record.sha256(record.stored(store, run_id))
    assert f"document sha256 {digest}\nchain {seal.head([(run_id, digest)])}\n" in text
    assert "ange" not in text
    assert "sundsvall" not in text


def test_each_municipality_finds_the_line_of_its_own_report_in_the_head(tmp_path: Path) -> None:
    with Store.open(tmp_path / "state") as store:
        ledger = Ledger(store)
        keep(store, "run-1", two())
        keep(store, "run-2", two())
        text = witness.head(store, ledger, "run-2")
        lines = [line for line in text.splitlines() if line.startswith("report ")]
        assert len(lines) == 2
        for tenant in ("ange", "sundsvall"):
            report = build.report(build.kept(store, ledger, "run-2"), tenant)
            links = seal.chain(ledger, "run-2", report.sha256, tenant)
            folder = tmp_path / tenant
            exports.put({witness.TEXT: text, "compliance.json": "{}\n"}, folder)
            sealed = seal.seal(folder, run="run-2", links=links, key=None)
            assert f"report sha256 {report.sha256} chain {sealed.chain} runs 2" in lines
            found = verify.verify(folder)
            assert (found.faults, found.named, found.line in lines) == ([], True, True)
            assert found.line in (folder / seal.STEPS).read_text(), "what to look for is told"
        assert len(set(lines)) == 2


def test_the_head_of_another_run_breaks_a_report_and_one_of_old_proves_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path / "state") as store:
        ledger = Ledger(store)
        keep(store, "run-1", two())
        keep(store, "run-2", replace(two(), interrupted=True))
        report = build.report(build.kept(store, ledger, "run-2"), "ange")
        links = seal.chain(ledger, "run-2", report.sha256, "ange")
        other = witness.head(store, ledger, "run-1")
        for name, text in (("other", other), ("old", other.partition("report ")[0])):
            exports.put({witness.TEXT: text}, tmp_path / name)
            seal.seal(tmp_path / name, run="run-2", links=links, key=None)
            assert "authority.pem" not in (tmp_path / name / seal.STEPS).read_text()
    told = verify.verify(tmp_path / "other")
    assert told.faults == ["HEAD.txt is the head of a run to which this report does not belong"]
    told = verify.verify(tmp_path / "old")
    assert (told.faults, told.named) == ([], False)


def test_a_timestamp_is_verified_kept_and_lies_in_the_report_where_openssl_verifies_it(
    kept: tuple[Path, str], served: tuple[str, dict[str, object]], authority: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    workspace, run_id = kept
    (workspace / "opsctl.yml").write_text(
        f"version: 1\ncomply: {{timestamp_url: '{served[0]}', timestamp_ca: '{authority}/ca.pem'}}\n"
    )
    base = ["-C", str(workspace)]
    assert run([*base, "comply", "send-head", run_id]) == 2, "nobody is there to ask"
    assert run([*base, "comply", "send-head", run_id, "--dry-run"]) == 0
    capsys.readouterr()
    assert run([*base, "comply", "send-head", run_id, "--yes"]) == 0
    assert "head of the run, timestamp: sent" in capsys.readouterr().err
    assert run([*base, "comply", "report", run_id, "--to", str(tmp_path / "out")]) == 0
    found = sorted((tmp_path / "out").rglob(witness.TOKEN))
    assert found
    for token in found:
        sums = (token.parent / "SHA256SUMS").read_text()
        assert f"  {witness.TEXT}\n" in sums
        assert f"  {witness.TOKEN}\n" in sums
        verify = ("ts", "-verify", "-data", witness.TEXT, "-in", witness.TOKEN, "-CAfile", str(authority / "ca.pem"))
        openssl(*verify, cwd=token.parent)
        assert run(["comply", "verify", str(token.parent)]) == 1
        told = capsys.readouterr().out
        assert "intact, not signed" in told
        assert "HEAD.txt names it: report sha256 " in told
        shutil.copy(authority / "ca.pem", token.parent.parent / "authority.pem")
        steps = (token.parent / seal.STEPS).read_text().partition("When was it so?")[2]
        for step in re.findall(r"(?m)^ {5}(\S.*)$", steps):
            command = step.replace("authority.pem", "../authority.pem")
            done = subprocess.run(["sh", "-c", command], cwd=token.parent, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (command, done.stderr)


def test_a_timestamp_that_does_not_hold_is_none(
    tmp_path: Path, served: tuple[str, dict[str, object]], authority: Path
) -> None:
    url, behave = served
    other = tmp_path / "other"
    other.mkdir()
    (other / "cnf").write_text(CONFIGURATION.format(folder=other))
    new = ("req", "-config", "cnf", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-x509")
    openssl(*new, "-keyout", "k", "-out", "ca.pem", "-subj", "/CN=Other", "-extensions", "authority", cwd=other)
    good = settings(tmp_path, comply__timestamp_url=url, comply__timestamp_ca=str(authority / "ca.pem"))
    before = datetime.now(UTC).replace(microsecond=0)
    first = witness.stamped("one\n", good)
    assert abs((first.at - before).total_seconds()) < 60
    bad = settings(tmp_path, comply__timestamp_url=url, comply__timestamp_ca=str(other / "ca.pem"))
    with pytest.raises(OpsctlError, match="does not hold"):
        witness.stamped("one\n", bad)
    for answer in (first.response, b"", b"nonsense", b"\x30" * 400_000):
        behave["answer"] = answer  # an old answer, sent again, is none to this question
        with pytest.raises(OpsctlError, match="does not hold"):
            witness.stamped("one\n", good)
    behave["code"] = 503
    with pytest.raises(OpsctlError, match="answered 503"):
        witness.stamped("one\n", good)


def test_an_authority_that_is_away_or_unknown_is_told(tmp_path: Path) -> None:
    away = settings(tmp_path, comply__timestamp_url="http://127.0.0.1:9/", comply__timestamp_ca="ca.pem")
    with pytest.raises(ConfigError, match=r"ca\.pem: No such file"):
        witness.stamped("one\n", away)
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(OpsctlError, match="does not answer"):
        witness.stamped("one\n", away)
    with pytest.raises(ConfigError, match="names no certificate"):
        witness.stamped("one\n", settings(tmp_path))


def test_a_head_goes_by_mail_to_whom_a_route_names_for_it_and_to_nobody_else(tmp_path: Path) -> None:
    with mail_server() as auditor, mail_server() as other:
        targets = tmp_path / "targets.yml"
        targets.write_text(
            f"auditor: mailto://127.0.0.1:{auditor.port}/?from=opsctl@ange.example&to=auditor@ange.example\n"
            f"oncall: mailto://127.0.0.1:{other.port}/?from=opsctl@ange.example&to=oncall@ange.example\n"
        )
        targets.chmod(0o600)
        (tmp_path / "opsctl.yml").write_text(
            "version: 1\nnotify:\n  targets_file: targets.yml\n  routes: ['event:audit = auditor', '= oncall']\n"
        )
        found = config.load(tmp_path, {})
        assert heads.wanted(found)
        text = "opsctl compliance run r1\nchain " + "a" * 64 + "\n"
        assert heads.tell("r1", text, found, Redactor()) == {"auditor": ""}
        ((to, mail),) = auditor.mails
        assert to == ["<auditor@ange.example>"]
        assert mail["Subject"] == "opsctl: head of compliance run r1"
        body = mail.get_body(("plain",))
        assert body is not None
        assert "chain " + "a" * 64 in body.get_content()
        assert other.mails == []
    (tmp_path / "opsctl.yml").write_text("version: 1\n")
    assert not heads.wanted(settings(tmp_path))
