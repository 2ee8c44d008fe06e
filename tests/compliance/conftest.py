"""How the checks are run and what is kept of each: only with `--hosts`, one JSON line for each control and host.

Ordinary pytest-testinfra otherwise. The lists of approved accounts, ports and so on come from a file
(`--opsctl-expectations`), `{"hosts": {"tenant.host": {...}}, "controls": {"SSH-06": {...}}}`; without one the values of
catalogue.yml hold, and checks that need a list end in an error. What only the control side knows of a host stands in
the same file, as `"records": {"tenant.host": {"backup": {"source": "...", "at": 1764324000, "text": "{...}"}}}`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import IO, Any

import pytest
import yaml
from _pytest.outcomes import Skipped
from judging import Expectations, NotApplicable, Records, Verdict

EXCERPT = 4000
EVIDENCE = pytest.StashKey[list[dict[str, object]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("opsctl")
    group.addoption("--opsctl-expectations", metavar="FILE", help="JSON: lists of each host, values of each control")
    group.addoption("--opsctl-results", metavar="FILE", help="append one JSON line for each control and host")
    group.addoption("--control", action="append", default=[], metavar="ID", help="only this control (repeatable)")


def pytest_collection(session: pytest.Session) -> None:
    if not session.config.getoption("hosts"):
        raise pytest.UsageError("these checks are about other machines: say which, with --hosts=ssh://NAME")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = set(config.getoption("--control"))
    keep = [item for item in items if not wanted or control_of(item) in wanted]
    config.hook.pytest_deselected(items=[item for item in items if item not in keep])
    items[:] = keep


@cache
def control_of(item: pytest.Item) -> str:
    marks = list(item.iter_markers("control"))
    if len(marks) != 1:
        raise pytest.UsageError(f"{item.nodeid}: one control marker is needed, there are {len(marks)}")
    return str(marks[0].args[0])


@cache
def _document(file: str) -> dict[str, Any]:
    found = json.loads(Path(file).read_text(encoding="utf-8")) if file else {}
    if "controls" not in found:
        catalogue = yaml.safe_load((Path(__file__).parent / "catalogue.yml").read_text(encoding="utf-8"))
        found["controls"] = {entry["id"]: entry.get("values", {}) for entry in catalogue["checks"]}
    return dict(found)


@pytest.fixture
def expectations(request: pytest.FixtureRequest, _testinfra_host: Any) -> Expectations:
    document = _document(request.config.getoption("--opsctl-expectations") or "")
    lists = document.get("hosts", {}).get(_testinfra_host.backend.get_hostname(), {})
    return Expectations(lists, document["controls"], control_of(request.node))


@pytest.fixture
def records(request: pytest.FixtureRequest, _testinfra_host: Any) -> Records:
    document = _document(request.config.getoption("--opsctl-expectations") or "")
    given = document.get("records", {}).get(_testinfra_host.backend.get_hostname(), {})
    return Records(given, request.node.stash.setdefault(EVIDENCE, []))


@pytest.fixture
def verdict() -> Verdict:
    return Verdict()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Keep each command of this check with its exit code, output and hash."""
    backend = _backend(item)
    # An attribute of this one object hides the method of its class; deleting it brings the method back.
    backend.run = _recording(type(backend).run.__get__(backend), item.stash.setdefault(EVIDENCE, []))
    if hasattr(backend, "control"):
        backend.control = control_of(item)
    try:
        return (yield)
    finally:
        del backend.run


def _backend(item: pytest.Item) -> Any:
    return item.callspec.params["_testinfra_host"].backend  # type: ignore[attr-defined]  # a Function


def _recording(run: Callable[..., Any], kept: list[dict[str, object]]) -> Callable[..., Any]:
    def recorded(command: str, *arguments: str, **options: Any) -> Any:
        at, asked = time.time(), command % tuple(arguments) if arguments else command
        try:
            found = run(command, *arguments, **options)
        except Exception as error:
            # What was heard until then is evidence too; it is marked, for neither it nor its hash is the whole.
            if (heard := getattr(error, "heard", None)) is not None:
                kept.append(_piece(asked, heard, at, f"\n[not whole: {error}; the hash is of what was heard]"))
            raise
        kept.append(_piece(asked, found, at))
        return found

    return recorded


def _piece(command: str, found: Any, at: float, mark: str = "") -> dict[str, object]:
    printed: bytes = found.stdout_bytes
    return {
        "command": command,
        "exit_code": found.rc,
        "output": _excerpt(found.stderr_bytes if found.rc and not printed else printed, len(printed)) + mark,
        "sha256": _sha256(printed),
        "at": getattr(found, "at", at),
        "how": getattr(found, "how", "live"),
    }


# Many checks rest on the same answer; kept are about as many as a host gives, for each may be large.
@lru_cache(maxsize=100)
def _excerpt(printed: bytes, whole: int) -> str:
    text = printed[: 4 * EXCERPT].decode("utf-8", "backslashreplace")
    return text[:EXCERPT] + (f"\n[{whole} bytes in all]" if len(text) > EXCERPT else "")


@lru_cache(maxsize=100)
def _sha256(printed: bytes) -> str:
    return hashlib.sha256(printed).hexdigest()


def _traceback(item: pytest.Item, call: pytest.CallInfo[None]) -> dict[str, object]:
    """Where a check broke, from the check on: without it nobody could tell why there is no verdict."""
    assert call.excinfo is not None
    shown = call.excinfo.getrepr(style="short", tbfilter=lambda error: error.traceback.cut(path=item.path))
    text = str(shown)
    return {
        "command": f"traceback of the check of {control_of(item)}",
        "exit_code": 1,
        "output": text[-EXCERPT:],
        "sha256": hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest(),
        "at": call.stop,
        "how": "record",
    }


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    file = item.config.getoption("--opsctl-results")
    if file and (call.when == "call" or (call.when == "setup" and call.excinfo is not None)):
        _results(file).write(json.dumps(_result(item, call)) + "\n")
    return report


@cache
def _results(file: str) -> IO[str]:
    """Written line by line: whatever ends this process, each check that was judged is there."""
    return Path(file).open("a", encoding="utf-8", buffering=1)


def _result(item: pytest.Item, call: pytest.CallInfo[None]) -> dict[str, object]:
    evidence = item.stash.get(EVIDENCE, [])
    verdict = item.funcargs.get("verdict") or Verdict()  # type: ignore[attr-defined]  # a Function
    result, reason, broke = _judged(call, verdict, has_evidence=bool(evidence))
    if broke:
        evidence = [*evidence, _traceback(item, call)]
    return {
        "control": control_of(item),
        "host": _backend(item).get_hostname(),
        "result": result,
        "reason": reason,
        "observed": verdict.observed,
        "expected": verdict.expected,
        "evidence": evidence,
        "at": call.stop,
    }


def _judged(call: pytest.CallInfo[None], verdict: Verdict, *, has_evidence: bool) -> tuple[str, str, bool]:
    """Result and reason, and whether the check broke: it ended by what nobody had foreseen."""
    if call.excinfo is None:
        if has_evidence and verdict.expected:
            return "pass", "", False
        return "error", "the check ended without evidence or without saying what it expects", False
    error = call.excinfo.value
    if isinstance(error, NotApplicable):
        return "notapplicable", str(error), False
    if isinstance(error, Skipped) or getattr(error, "notchecked", False):
        return "notchecked", str(error), False
    if isinstance(error, AssertionError) and call.when == "call":
        return ("fail", "", False) if has_evidence else ("error", f"a failure without evidence: {error}", True)
    if type(error).__name__ in ("CannotJudge", "NoWholeAnswer"):
        return "error", str(error), False
    return "error", f"{type(error).__name__}: {error}"[:EXCERPT], True
