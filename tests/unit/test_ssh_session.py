"""Speaking to many hosts at once: what happens to one never happens to the others."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from opsctl import config
from opsctl.errors import Unreachable
from opsctl.model.host import Host, Inventory
from opsctl.ssh.hostkeys import Pins
from opsctl.ssh.session import Transport

HOSTS = tuple(
    Host(name=f"web{number}", tenant="ange", address=f"192.0.2.{number}", role="web", platform="debian-12")
    for number in (1, 2, 3)
)


class Exhausted(Transport):
    """This machine has no file descriptor left when web2's turn comes."""

    def open(self, host: Host, *, stopped: Callable[[], bool] | None = None) -> None:
        if host.name == "web2":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        raise Unreachable(host.key, "no answer in time")


def test_a_machine_at_its_limits_loses_one_answer_and_not_all() -> None:
    settings = config.Settings(workspace=Path(), values={option.name: option.default for option in config.OPTIONS})
    answers = Exhausted(Inventory(hosts=HOSTS), Pins(), settings).run_all(HOSTS, "", {}, timeout=1)
    assert list(answers) == [host.key for host in HOSTS]
    lost = answers["ange.web2"]
    assert isinstance(lost, Unreachable)
    assert "Too many open files" in lost.reason
