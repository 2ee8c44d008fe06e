"""One pytest process judges a set of hosts; what it wants to know of them it asks here, over a socket.

A process of its own, so that a check that crashes, exits or never ends takes nothing with it: what it did not say is
found missing, and said to be missing.
"""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from queue import SimpleQueue

from opsctl.compliance.batch import COMMAND_SECONDS, LARGEST_OUTPUT, Answer, Answers, Ready, why
from opsctl.compliance.redact import redacted
from opsctl.errors import OpsctlError
from opsctl.model.finding import RESULTS, CheckResult, Evidence

SILENCE_SECONDS = 120
_LONGEST_TEXT = 20_000
# Control characters, direction and other format marks, lone surrogates, private use, line separators.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_ASCII_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
# pytest: 0 all passed, 1 some failed. Everything else is a run that did not end as it should.
_ENDED_WELL = (0, 1)
# What pytest would do beside the checks, and nobody reads here.
_NOT_NEEDED = (
    "cacheprovider", "logging", "warnings", "unraisableexception", "threadexception", "faulthandler", "junitxml",
    "doctest", "unittest", "stepwise", "pastebin",
)  # fmt: skip
Waiting = SimpleQueue[str | None]
Feed = Callable[[Ready], object]
Serve = Callable[[socket.socket, Waiting], None]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The results of a process, and why some may be missing (empty: it ended well)."""

    results: tuple[CheckResult, ...]
    fault: str = ""
    interrupted: bool = False


def judge(
    checks: Path,
    hosts: Sequence[str],
    controls: Iterable[str],
    expectations: Mapping[str, object],
    answers: Answers,
    *,
    work: Path,
    silence: float = SILENCE_SECONDS,
    feed: Feed | None = None,
) -> Judged:
    """Run the checks of these controls on these host keys. `work` is a private folder for the run's own files.

    `feed` tells of each host when it can be judged and returns when no more will come; without it all can at once.
    """
    with tempfile.TemporaryDirectory(dir=work, prefix="comply-") as name:
        folder = Path(name)
        (folder / "expectations.json").write_text(json.dumps(expectations), encoding="utf-8")
        fault, interrupted, written = "", False, _Written(folder / "results")
        try:
            command = _command(checks, tuple(controls), folder)
            fault = _run(command, folder, partial(_serve, answers, written.read), feed or _all_of(hosts), silence)
        except KeyboardInterrupt:
            interrupted = True
        written.read()
        return Judged(results=tuple(written.results), fault=fault, interrupted=interrupted)


def _all_of(hosts: Iterable[str]) -> Feed:
    def feed(ready: Ready) -> None:
        for key in hosts:
            ready(key)

    return feed


def _run(command: Sequence[str], folder: Path, serve: Serve, feed: Feed, silence: float) -> str:
    """The process starts while the hosts are still being asked; each is judged as soon as it has answered."""
    ours, theirs = socket.socketpair()
    waiting: Waiting = SimpleQueue()
    serving = ThreadPoolExecutor(max_workers=1)
    with ours, theirs, (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--opsctl-socket", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(),
            cwd=folder,
            pass_fds=(theirs.fileno(),),
        )
        theirs.close()
        ours.settimeout(silence)
        served = serving.submit(serve, ours, waiting)
        try:
            feed(waiting.put)
            waiting.put(None)
            served.result()
            code = process.wait(timeout=silence)
        except (TimeoutError, subprocess.TimeoutExpired):
            return f"the checks stood still for {silence:g} s and were stopped"
        finally:
            waiting.put(None)
            process.kill()
            process.wait()
            # After Ctrl-C it may still wait for a host, until the connections are closed.
            serving.shutdown(wait=False)
    if code in _ENDED_WELL:
        return ""
    last = (folder / "log").read_text(encoding="utf-8", errors="backslashreplace").strip()[-600:]
    return f"the checks ended with exit code {code}: {last}"


def _command(checks: Path, controls: tuple[str, ...], folder: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "pytest", "-c", str(checks / "pytest.ini"), "--rootdir", str(checks), "-q", "--tb=no"),
        *("-p", "testinfra.plugin", "-p", "opsctl.compliance.plugin", "--capture=no"),
        *(part for name in _NOT_NEEDED for part in ("-p", f"no:{name}")),
        *("--opsctl-expectations", str(folder / "expectations.json"), "--opsctl-results", str(folder / "results")),
        *(part for control in controls for part in ("--control", control)),
        str(checks),
    ]


def _environment() -> dict[str, str]:
    """Nothing of the caller's pytest or Python settings reaches the checks; no file is written beside them."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "SYSTEMROOT") if name in os.environ}
    fixed = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}
    package = str(Path(__file__).resolve().parents[2])
    return {**kept, **fixed, "PYTHONPATH": package}


def _serve(answers: Answers, judged: Callable[[], object], channel: socket.socket, waiting: Waiting) -> None:
    """Answer every question until the process closes its end, or is gone with an answer that it has not read.

    `judged` is called after each host.
    """
    with suppress(ConnectionError), channel.makefile("rw", encoding="utf-8") as lines:
        for line in lines:
            question = json.loads(line)
            if host := question.get("judged"):
                for control, command in question["asked"]:
                    answers.note(host, control, command)
                judged()
            said = _next(answers, waiting) if "judged" in question else _answer(question, answers)
            lines.write(json.dumps(said) + "\n")
            lines.flush()


def _next(answers: Answers, waiting: Waiting) -> dict[str, object]:
    """Another host, with all that it has answered; none: there is no more."""
    key = waiting.get()
    if key is None:
        return {"host": None}
    return {"host": key, "known": {command: _told(found) for command, found in answers.all_known(key).items()}}


def _answer(question: Mapping[str, str], answers: Answers) -> dict[str, object]:
    try:
        return _told(answers.of(question["host"], question["control"], question["command"]))
    except OpsctlError as error:
        return {"gone": why(error)}


# For whoever reads the report: why there is no whole answer.
_FAULTS = {
    "too slow": f"it did not end within {COMMAND_SECONDS} s and was stopped",
    "too much": f"it printed more than {LARGEST_OUTPUT >> 20} MiB",
}


def _told(found: Answer) -> dict[str, object]:
    return {
        "exit_code": found.exit_code,
        "stdout": base64.b64encode(found.stdout).decode(),
        "stderr": base64.b64encode(found.stderr).decode(),
        "fault": _FAULTS.get(found.fault, found.fault),
        "how": found.how,
        "at": found.at.timestamp(),
    }


class _Written:
    """The results that the process has written down so far, read host by host: at the end little is left to do."""

    def __init__(self, file: Path) -> None:
        self.results: list[CheckResult] = []
        self._file, self._at = file, 0
        self._lock = threading.Lock()

    def read(self) -> None:
        """Every whole line that is new; a line that was cut off by a crash is no result."""
        with self._lock, suppress(FileNotFoundError), self._file.open("rb") as file:
            file.seek(self._at)
            lines, end, _ = file.read().rpartition(b"\n")
            self._at += len(lines) + len(end)
            for line in lines.split(b"\n"):
                with suppress(ValueError, KeyError, TypeError):
                    self.results.append(_result(json.loads(line)))


def _result(line: Mapping[str, object]) -> CheckResult:
    if line["result"] not in RESULTS:
        raise ValueError(line["result"])
    evidence = line["evidence"]
    return CheckResult(
        control=str(line["control"]),
        host=str(line["host"]),
        result=str(line["result"]),
        at=_time(line["at"]),
        observed=bounded(line["observed"]),
        expected=bounded(line["expected"]),
        reason=bounded(line["reason"]),
        evidence=tuple(_evidence(entry) for entry in evidence) if isinstance(evidence, list) else (),
    )


def _evidence(entry: Mapping[str, object]) -> Evidence:
    return Evidence(
        command=bounded(entry["command"]),
        exit_code=int(str(entry["exit_code"])),
        output=bounded(entry["output"]),
        sha256=str(entry["sha256"]),
        at=_time(entry["at"]),
        how=str(entry["how"]),
    )


def _time(value: object) -> datetime:
    return datetime.fromtimestamp(float(str(value)), UTC)


def bounded(value: object) -> str:
    """Foreign text as it is kept: not longer than a page, harmless, without secrets."""
    return _shown(str(value)[:_LONGEST_TEXT])


@lru_cache(maxsize=1_000)
def _shown(text: str) -> str:
    """Many checks rest on the same answer, and many hosts give the same one."""
    return redacted(visible(text))


def visible(text: str) -> str:
    """Foreign text that commands no terminal and no reader: control and direction marks become visible escapes."""
    if text.isascii() and not _ASCII_UNSEEN.search(text):
        return text
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in _UNSEEN else ascii(char)[1:-1] for char in text
    )
