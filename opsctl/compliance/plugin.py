"""Within the pytest process of a run: a testinfra backend that asks opsctl for what each command prints on a host.

Loaded by `checks.py` with `-p opsctl.compliance.plugin`; the only importer of testinfra. Nothing here connects to
anything: questions and answers are JSON lines over a socket that was inherited.
"""

from __future__ import annotations

import base64
import json
import socket
from pathlib import Path
from typing import IO, Any

import pytest
import testinfra.backend
from testinfra.backend.base import BaseBackend, CommandResult

CONNECTION = "opsctl"


class HostGone(Exception):
    """Contact was lost: what this check would have said is not known."""

    notchecked = True


class NoWholeAnswer(Exception):
    """The command took too long or printed too much; `heard` is what it printed until then."""

    def __init__(self, message: str, heard: CommandResult) -> None:
        super().__init__(message)
        self.heard = heard


class AskingBackend(BaseBackend):  # type: ignore[misc]  # testinfra has no types
    """Every command goes to opsctl, which has the answer already or asks the host."""

    NAME = CONNECTION
    channel: IO[Any]
    control = ""

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        asked = self.get_command(command, *args)
        question = {"host": self.get_hostname(), "control": self.control, "command": asked}
        self.channel.write(json.dumps(question) + "\n")
        self.channel.flush()
        answer = json.loads(self.channel.readline())
        if "gone" in answer:
            raise HostGone(answer["gone"])
        stdout, stderr = (base64.b64decode(answer[name]) for name in ("stdout", "stderr"))
        found = self.result(answer["exit_code"], asked.encode(), stdout, stderr)
        found.how, found.at = answer["how"], answer["at"]
        if answer["fault"]:
            raise NoWholeAnswer(f"`{asked}`: {answer['fault']}", found)
        return found

    def decode(self, data: bytes) -> str:
        """Text of a host may hold anything; what is no UTF-8 stays visible as escapes."""
        return data.decode("utf-8", "backslashreplace")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--opsctl-hosts", metavar="FILE", help="host keys, one a line")
    parser.addoption("--opsctl-socket", type=int, metavar="FD", help="where to ask")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    testinfra.backend.BACKENDS[CONNECTION] = f"{__name__}.AskingBackend"
    keys = Path(config.getoption("--opsctl-hosts")).read_text(encoding="utf-8").split()
    config.option.hosts = ",".join(f"{CONNECTION}://{key}" for key in keys)
    AskingBackend.channel = socket.socket(fileno=config.getoption("--opsctl-socket")).makefile("rw", encoding="utf-8")
