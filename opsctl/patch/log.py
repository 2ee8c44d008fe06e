"""The end of an installation's log, as the host keeps it: for a person who asks why. Nothing is changed there."""

from __future__ import annotations

from opsctl.model.host import Host
from opsctl.model.rollout import HostState, RolloutState, Stage
from opsctl.patch.install import InstallStatus
from opsctl.rollout.contact import understood
from opsctl.ssh.session import Transport, hostside_script

_LINES = 15
_SECONDS = 20.0
_BEGUN = (Stage.INSTALLING, Stage.FAILED, Stage.UNKNOWN)


def helps(state: RolloutState, key: str) -> bool:
    """Whether an installation was begun on this host whose end is not well known."""
    return any(host.host == key and host.stage in _BEGUN and not host.untouched for host in state.hosts)


def tail(transport: Transport, host: Host, state: RolloutState) -> tuple[str, ...]:
    """The last lines of the log of its latest attempt; none where nothing was begun. Raises HostError."""
    here = next(one for one in state.hosts if one.host == host.key)
    words = {"action": "status", "id": unit(state, here), "packages": [], "wait": 0}
    answer = transport.run(host, hostside_script("install"), words, timeout=_SECONDS)
    said = understood(InstallStatus, host.key, answer).log.splitlines()
    return tuple(line.rstrip() for line in said if line.strip())[-_LINES:]


def unit(state: RolloutState, host: HostState) -> str:
    """The id under which the host knows the installation: each attempt has its own."""
    return state.plan.id if host.attempt == 1 else f"{state.plan.id}-{host.attempt}"
