"""The hosts: does each one answer, does sudo give root, does Python run there, is it what the inventory says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from opsctl.errors import HostError, OpsctlError
from opsctl.monitor import probe
from opsctl.overview.examination import Look
from opsctl.ssh.program import hostside_script

if TYPE_CHECKING:
    from opsctl.model.host import Host
    from opsctl.ssh.session import Transport

OLDEST_PYTHON = (3, 9)
SECONDS = 60.0


def hosts(chosen: Sequence[Host], transport: Transport) -> Iterator[Look]:
    """One round trip a host; nothing is changed or remembered."""
    answers = transport.run_all(chosen, hostside_script("probe"), {"updates": False}, timeout=SECONDS)
    for host in chosen:
        yield judge(host, answers[host.key])


def judge(host: Host, answer: object) -> Look:
    """The verdict over one host's answer, or over the error that stands in its place."""
    if isinstance(answer, OpsctlError):
        seen = answer.reason if isinstance(answer, HostError) else answer.message
        return Look(area="hosts", name=host.key, verdict="bad", seen=seen, mend=answer.hint)
    found = probe.parse(answer)
    system = f"{found.os_id}-{found.os_version}"
    seen = f"answers, sudo gives root, Python {found.python}, {system}"
    version = tuple(int(part) for part in found.python.split(".")[:2] if part.isdecimal())
    if version < OLDEST_PYTHON:
        mend = "install Python 3.9 or newer on the host"
        return Look(area="hosts", name=host.key, verdict="bad", seen=f"{seen}: Python is too old", mend=mend)
    if not (system == host.platform or system.startswith(f"{host.platform}.")):
        mend = f"correct platform: {host.platform} in the source, then: opsctl inventory sync"
        return Look(
            area="hosts", name=host.key, verdict="warn", seen=f"{seen}; the inventory says {host.platform}", mend=mend
        )
    return Look(area="hosts", name=host.key, verdict="ok", seen=seen)
