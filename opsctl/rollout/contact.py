"""What patching and provisioning both ask of hosts: health, a restart that is proved, the load balancer in front."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from opsctl.errors import HostError, HostFailed, HostKeyRefused, OpsctlError, Unreachable
from opsctl.model import wire
from opsctl.model.handling import NO_BALANCER, Handled, handled
from opsctl.model.host import BALANCER_ROLE, Host, Inventory
from opsctl.model.rollout import Reference
from opsctl.rollout import gates
from opsctl.rollout.change import Claim
from opsctl.rollout.fence import Fence
from opsctl.ssh.session import Transport, hostside_script

HEALTH_SECONDS = 60.0
READINGS_SECONDS = 20.0  # so long a host may go on reading (hostside/health.py) before it begins its last one
SETTLE_SECONDS = 60.0
DRAIN_SECONDS = 30.0
PAUSE = 0.5
T = TypeVar("T")
BALANCED_ROLE = "web"


@dataclass(frozen=True, kw_only=True)
class HealthReading:
    """One reading of hostside/health.py; `starting` is None where it was not asked for."""

    boot_id: str
    failed_units: tuple[str, ...]
    listening: tuple[int, ...]
    answering: tuple[int, ...]
    starting: bool | None = None
    running: tuple[str, ...] = ()
    http: tuple[int, ...] = ()

    @property
    def reference(self) -> Reference:
        return Reference(
            boot_id=self.boot_id,
            failed_units=self.failed_units,
            listening=self.listening,
            answering=self.answering,
            running=self.running,
            http=self.http,
        )


@dataclass(frozen=True, kw_only=True)
class _Readings:
    readings: tuple[HealthReading, ...]


@dataclass(frozen=True, kw_only=True)
class _Balanced:
    ok: bool
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class _Boot:
    boot_id: str
    restarting: bool


def handling_of(inventory: Inventory, host: Host) -> Handled:
    """What its tenant, and the inventory of the host itself, say of how it is handled while it is changed."""
    entries = inventory.tenant(host.tenant).handling
    return handled(entries, host.name, host.role, reboot=host.reboot, balancer=host.balancer)


def named_balancers(inventory: Inventory) -> dict[str, str]:
    """Host key -> key of the load balancer that `handling` names for it; empty where it says that there is none."""
    said = {host.key: (host.tenant, handling_of(inventory, host).balancer) for host in inventory}
    return {
        key: "" if name == NO_BALANCER else f"{tenant}.{name}"
        for key, (tenant, name) in said.items()
        if name and key != f"{tenant}.{name}"
    }


def balancers(inventory: Inventory) -> dict[str, str]:
    """Host key -> key of the load balancer in front of it.

    As `handling` says; where it says nothing, members of a cluster of web hosts have that of their tenant, where it has
    exactly one active load balancer (at their site, if there are several).
    """
    found = {**_usual_balancers(inventory), **named_balancers(inventory)}
    return {key: front for key, front in found.items() if front}


def _usual_balancers(inventory: Inventory) -> dict[str, str]:
    fronts: dict[str, list[Host]] = {}
    for host in inventory:
        if host.role == BALANCER_ROLE and host.managed:
            fronts.setdefault(host.tenant, []).append(host)
    found = {}
    for host in inventory:
        if host.role != BALANCED_ROLE or not host.cluster or host.tenant not in fronts:
            continue
        near = [f for f in fronts[host.tenant] if f.site == host.site] if len(fronts[host.tenant]) > 1 else None
        one = near if near is not None else fronts[host.tenant]
        if len(one) == 1:
            found[host.key] = one[0].key
    return found


def understood(kind: type[T], host: str, answer: object) -> T:
    """A host's answer as a typed value. Raises HostFailed where it is not what the script promises."""
    try:
        return wire.from_document(kind, answer)
    except (TypeError, ValueError, KeyError) as error:
        raise HostFailed(host, f"its answer is not understood: {error}") from error


def ports(host: Host) -> list[int]:
    return [service.port for service in host.services if service.protocol == "tcp"]


def asked_of(host: Host) -> dict[str, object]:
    """What hostside/health.py asks of the host's services: their ports, and those with a web address over HTTP."""
    web = [(service, urlsplit(service.url)) for service in host.services if service.url and service.protocol == "tcp"]
    return {
        "ports": ports(host),
        "http": [
            {
                "port": service.port,
                "host": parts.netloc,
                "path": parts.path or "/",
                "tls": parts.scheme == "https" and (_port_of(parts) or 443) == service.port,
            }
            for service, parts in web
        ],
    }


def _port_of(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:
        return None


def health(transport: Transport, host: Host, **words: object) -> HealthReading:
    """The host's health now; `words` are more for the script. Raises HostError."""
    answer = transport.run(host, hostside_script("health"), {**asked_of(host), **words}, timeout=HEALTH_SECONDS)
    return read_health(host.key, answer)[-1]


def read_health(key: str, answer: object) -> tuple[HealthReading, ...]:
    """The readings in an answer of hostside/health.py, one at least. Raises HostFailed."""
    readings = understood(_Readings, key, answer).readings
    if not readings:
        raise HostFailed(key, "its answer is not understood: it holds no reading")
    return readings


def health_of_all(transport: Transport, hosts: Sequence[Host]) -> Mapping[str, Reference | str]:
    """A reading of each host, or why there is none."""
    answers = transport.run_all(hosts, hostside_script("health"), asked_of, timeout=HEALTH_SECONDS)
    return {key: _reading(key, answer) for key, answer in answers.items()}


def _reading(key: str, answer: object) -> Reference | str:
    if isinstance(answer, HostError):
        return answer.reason
    if isinstance(answer, OpsctlError):
        return answer.message
    try:
        return read_health(key, answer)[-1].reference
    except HostFailed as error:
        return error.reason


def wait_until_well(
    transport: Transport, host: Host, before: Reference, *, seconds: float = SETTLE_SECONDS, good: int = 1
) -> Reference:
    """Wait until the host is as healthy as its reference says, `good` times in a row; the last of these readings.

    The host looks as often as is still wanted and answers once; each look is judged here. Raises HostFailed with what
    got worse where `seconds` are over and it is not.
    """
    deadline, well = time.monotonic() + seconds, 0
    while True:
        words = {**asked_of(host), "times": good - well, "pause": PAUSE}
        answer = transport.run(host, hostside_script("health"), words, timeout=HEALTH_SECONDS + READINGS_SECONDS)
        now, worse = before, tuple[str, ...]()
        for reading in read_health(host.key, answer):
            now = reading.reference
            worse = gates.what_got_worse(before, now)
            well = 0 if worse else well + 1
        if well >= good:
            return now
        if worse and time.monotonic() > deadline:
            raise HostFailed(host.key, "; ".join(worse))
        time.sleep(PAUSE)


def restart(transport: Transport, fence: Fence, host: Host, boot_id: str, claim: Claim, *, seconds: float) -> None:
    """End the boot `boot_id` and wait until the host is up in another one; nothing is done where it already is.

    Raises HostFailed where the host stays in its boot, Unreachable where it does not come back in time.
    """
    deadline = time.monotonic() + seconds
    asked = False
    last = "no answer"
    while time.monotonic() < deadline:
        try:
            words = {"boot_id": boot_id, "ask": asked}
            answer = (
                transport.run(host, hostside_script("reboot"), words, timeout=30)
                if asked
                else fence.effect(host, claim, "reboot", words, held=True)
            )
            now = understood(_Boot, host.key, answer)
            if now.boot_id != boot_id and health(transport, host, boot=True).starting is False:
                return
            last = "it is still starting" if now.boot_id != boot_id else "still in the same boot"
            asked = asked or now.restarting or now.boot_id != boot_id
        except HostKeyRefused:
            raise
        except Unreachable as error:
            last = error.reason
            transport.forget(host)
        time.sleep(PAUSE)
    if last == "still in the same boot":
        raise HostFailed(host.key, f"did not restart within {seconds:.0f} s")
    raise Unreachable(host.key, f"not back {seconds:.0f} s after its restart: {last}")


def balance(transport: Transport, fence: Fence, balancer: Host, claim: Claim, host: Host, action: str) -> None:
    """Drain `host` at its balancer, or make it ready, with a claim on the balancer; see that it is so.

    Raises HostFailed, of the host.
    """
    words = {"server": host.name, "action": action, "seconds": DRAIN_SECONDS}
    try:
        _balanced(balancer, host, fence.effect(balancer, claim, "drain", {**words, "ask": True}))
        _balanced(balancer, host, transport.run(balancer, hostside_script("drain"), words, timeout=DRAIN_SECONDS + 30))
    except HostError as error:
        if error.host == host.key:
            raise
        raise HostFailed(host.key, f"load balancer {balancer.key}: {error.reason}") from error


def _balanced(balancer: Host, host: Host, answer: object) -> None:
    told = understood(_Balanced, balancer.key, answer)
    if not told.ok:
        raise HostFailed(host.key, f"load balancer {balancer.key}: {told.why}")


def unreachable(answers: Iterable[tuple[str, object]]) -> frozenset[str]:
    """The hosts whose answer is that they do not answer."""
    return frozenset(key for key, answer in answers if isinstance(answer, Unreachable))
