"""Within the pytest process of a run: a testinfra backend that asks opsctl for what each command prints on a host.

Loaded by `checks.py` with `-p opsctl.compliance.plugin`; the only importer of testinfra. Nothing here connects to
anything: questions and answers are JSON lines over a socket that was inherited.

The checks are collected once and taken to one host after another, in the order in which the hosts have answered: what
pytest keeps of a check does not grow with the fleet. opsctl hands each host out with all that it said, so that only
what the batch did not hold is asked for by itself.
"""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from inspect import isgeneratorfunction
from typing import IO, Any, Literal

import pytest
import testinfra.backend
from testinfra.backend.base import BaseBackend, CommandResult

CONNECTION = "opsctl"
# What a check is given of testinfra and pytest: known without asking them.
_GIVEN = ("_testinfra_host", "host", "request")


class HostGone(Exception):
    """Contact was lost: what this check would have said is not known."""

    notchecked = True


class NoWholeAnswer(Exception):
    """The command took too long or printed too much; `heard` is what it printed until then."""

    def __init__(self, message: str, heard: CommandResult) -> None:
        super().__init__(message)
        self.heard = heard


class Channel:
    """The way to opsctl, and what it has said of the host that is being judged."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._known: dict[str, dict[str, Any]] = {}
        self._asked: dict[tuple[str, str], None] = {}
        self.host = ""

    def hosts(self) -> Iterator[str]:
        """Each host once it has answered, until opsctl says that there are no more."""
        while True:
            given = self._ask({"judged": self.host, "asked": list(self._asked)})
            if given["host"] is None:
                return
            self.host, self._known, self._asked = given["host"], given["known"], {}
            yield self.host

    def answer(self, control: str, command: str) -> dict[str, Any]:
        """What the host printed, whole or not. Raises HostGone."""
        self._asked[control, command] = None
        if command not in self._known:
            given = self._ask({"host": self.host, "control": control, "command": command})
            if "gone" in given:
                raise HostGone(given["gone"])
            self._known[command] = given
        return self._known[command]

    def _ask(self, question: Mapping[str, object]) -> dict[str, Any]:
        self._stream.write(json.dumps(question) + "\n")
        self._stream.flush()
        given: dict[str, Any] = json.loads(self._stream.readline())
        return given


class AskingBackend(BaseBackend):  # type: ignore[misc]  # testinfra has no types
    """Every command goes to opsctl, which has the answer already or asks the host."""

    NAME = CONNECTION
    channel: Channel
    control = ""

    def get_hostname(self) -> str:
        """The host that is being judged."""
        return self.channel.host

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        asked = self.get_command(command, *args)
        answer = self.channel.answer(self.control, asked)
        if "result" not in answer:
            stdout, stderr = (base64.b64decode(answer[name]) for name in ("stdout", "stderr"))
            answer["result"] = found = self.result(answer["exit_code"], asked.encode(), stdout, stderr)
            found.how, found.at = answer["how"], answer["at"]
        if answer["fault"]:
            raise NoWholeAnswer(f"`{asked}`: {answer['fault']}", answer["result"])
        return answer["result"]

    def decode(self, data: bytes) -> str:
        """Text of a host may hold anything; what is no UTF-8 stays visible as escapes."""
        return data.decode("utf-8", "backslashreplace")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--opsctl-socket", type=int, metavar="FD", help="where to ask")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    testinfra.backend.BACKENDS[CONNECTION] = f"{__name__}.AskingBackend"
    config.option.hosts = f"{CONNECTION}://the-one-that-is-judged"
    stream = socket.socket(fileno=config.getoption("--opsctl-socket")).makefile("rw", encoding="utf-8")
    AskingBackend.channel = Channel(stream)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """All checks of a host, then those of the next one that has answered."""
    if session.testsfailed:
        return None  # checks that cannot be read: pytest's own loop ends with an error
    checks = [(item, _plain(item)) for item in session.items if isinstance(item, pytest.Function)]
    for _ in AskingBackend.channel.hosts():
        for item, plain in checks:
            # Nothing of the host before is left; pytest itself makes a check ready for another turn in this way.
            item.stash = pytest.Stash()
            item._initrequest()
            _judge(item, _give if plain else _set_up)
            if not plain:
                _called("teardown", partial(item.ihook.pytest_runtest_teardown, item=item, nextitem=None))
    return True


def _judge(item: pytest.Function, set_up: Callable[[pytest.Function], None]) -> None:
    """pytest's own protocol with one report a check, of which only `conftest.py` hears: it writes down the result."""
    call = _called("setup", partial(set_up, item))
    if call.excinfo is None:
        call = _called("call", partial(item.ihook.pytest_runtest_call, item=item))
    item.ihook.pytest_runtest_makereport(item=item, call=call)


def _set_up(item: pytest.Function) -> None:
    item.ihook.pytest_runtest_setup(item=item)


def _plain(item: pytest.Function) -> bool:
    """Whether all that pytest would do before and after this check is to call its fixtures."""
    others = [item._fixtureinfo.name2fixturedefs[name][-1] for name in item.fixturenames if name not in _GIVEN]
    return {mark.name for mark in item.iter_markers()} <= {"control"} and all(
        one.scope == "function" and one.params is None and not isgeneratorfunction(one.func) for one in others
    )


def _give(item: pytest.Function) -> None:
    """What a plain check is called with. pytest would study each fixture anew for every host, at half of all cost."""
    host = item.callspec.params["_testinfra_host"]
    given: dict[str, object] = {"_testinfra_host": host, "host": host, "request": item._request}

    def of(name: str) -> object:
        if name not in given:
            fixture = item._fixtureinfo.name2fixturedefs[name][-1]
            given[name] = fixture.func(**{other: of(other) for other in fixture.argnames})
        return given[name]

    item.funcargs.update({name: of(name) for name in item.fixturenames})


def _called(when: Literal["setup", "call", "teardown"], step: Callable[[], None]) -> pytest.CallInfo[None]:
    return pytest.CallInfo.from_call(step, when, reraise=(pytest.exit.Exception, KeyboardInterrupt))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> pytest.TestReport:
    """In place of pytest's own, which draws a traceback that nobody would read."""
    outcome: Literal["passed", "failed"] = "failed" if call.excinfo else "passed"
    return pytest.TestReport(item.nodeid, ("", None, ""), {}, outcome, None, call.when)  # type: ignore[arg-type]
