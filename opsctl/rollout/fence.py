"""The way through the hosts' own fences (hostside/fence.py): every effect on a host is asked for in a claim's name.

A claim holds against other installations for a while only, so that a node that died blocks nobody for long. What lasts
longer than that is done within `kept`: it leaves the claims anew while the work goes on, and tells when one is lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from opsctl.errors import HostFailed, Locked, OpsctlError
from opsctl.model.host import Host
from opsctl.rollout.change import Claim
from opsctl.rollout.claims import LEASE_TIME, RENEW_AFTER
from opsctl.ssh.session import Transport, hostside_script

CLAIM_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds: how often claims are left anew, and how long one may be out of touch before it counts as lost."""

    every: float = RENEW_AFTER.total_seconds()
    lasts: float = (LEASE_TIME - RENEW_AFTER).total_seconds()


class _NotOurs(HostFailed):
    """The host's fence refused the claim."""


class Fence:
    """The fences of all hosts, as one installation meets them; `claimant` is its workspace."""

    def __init__(self, transport: Transport, claimant: str, *, pace: Pace | None = None) -> None:
        self._transport = transport
        self._claimant = claimant
        self._pace = pace or Pace()

    def words(self, claim: Claim, *, held: bool = False) -> dict[str, object]:
        """A claim as hosts read it; it blocks others there no longer than a lease does.

        `held`: nobody else's may stand there, however old; for what must not go on once others were at work.
        """
        return {
            "claimant": self._claimant,
            "installation": claim.installation,
            "token": claim.token,
            "claim_seconds": LEASE_TIME.total_seconds(),
            "held": held,
        }

    def claim(self, host: Host, claim: Claim) -> None:
        """Leave the claim on the host. Raises HostFailed where a newer one, or another installation's, stands there."""
        self._passed(host.key, self._ask(host, {"claim": self.words(claim)}, CLAIM_SECONDS))

    def effect(
        self,
        host: Host,
        claim: Claim,
        script: str,
        arguments: Mapping[str, object],
        *,
        timeout: float = CLAIM_SECONDS,
        held: bool = False,
        afterwards: Mapping[str, object] | None = None,
    ) -> object:
        """Run the hostside script of this name under the host's lock; its answer. Raises HostFailed as `claim` does.

        `afterwards`: what its function of this name is given once the lock is let go, in the same round trip.
        """
        words: dict[str, object] = {
            "claim": self.words(claim, held=held),
            "script": hostside_script(script),
            "arguments": dict(arguments),
        }
        words |= {"afterwards": dict(afterwards)} if afterwards is not None else {}
        return self._passed(host.key, self._ask(host, words, timeout))

    def claim_and_look(
        self, host: Host, claim: Claim, scripts: Mapping[str, Mapping[str, object]], *, timeout: float
    ) -> Mapping[str, object]:
        """Leave the claim, and run hostside scripts that only look, in one round trip; the answer of each by name.

        `scripts`: name -> arguments. Raises HostFailed as `claim` does, and where one of the scripts failed.
        """
        texts = [(name, hostside_script(name), dict(given)) for name, given in scripts.items()]
        words = {
            "claim": self.words(claim),
            "script": hostside_script("together"),
            "afterwards": {"scripts": texts},
        }
        found = self._passed(host.key, self._ask(host, words, timeout))
        answers = {name: found.get(name) if isinstance(found, dict) else None for name in scripts}
        for one in answers.values():
            if not isinstance(one, dict) or "answer" not in one:
                why = one.get("error") if isinstance(one, dict) else None
                raise HostFailed(host.key, f"the script failed: {why or 'no answer'}")
        return {name: one["answer"] for name, one in answers.items() if isinstance(one, dict)}

    @contextmanager
    def kept(self, hosts: Sequence[Host], claims: Mapping[str, Claim]) -> Iterator[Callable[[], None]]:
        """Leave the claims on these hosts anew before the block and while it runs; ask the yielded function often.

        It raises Locked once one is lost, and so do the beginning and the end of the block: what is done then is not
        done by us alone.
        """
        over, lost = threading.Event(), list[str]()
        last = dict.fromkeys((host.key for host in hosts), time.monotonic())

        def renew() -> None:
            try:
                while not lost and not over.wait(self._pace.every):
                    lost.extend(self._renewed(hosts, claims, last))
            except Exception as error:  # noqa: BLE001 - claims that nobody renews are as good as lost
                lost.append(f"the claims could not be left anew: {type(error).__name__}: {error}")

        def refuse_lost() -> None:
            if lost:
                raise Locked("; ".join(lost), hint="see who works there; then run the same command again")

        lost.extend(self._renewed(hosts, claims, last))
        refuse_lost()
        renewing = threading.Thread(target=renew, name="claims on hosts", daemon=True)
        renewing.start()
        try:
            yield refuse_lost
        finally:
            over.set()
            renewing.join()
        refuse_lost()

    def _renewed(self, hosts: Sequence[Host], claims: Mapping[str, Claim], last: dict[str, float]) -> list[str]:
        """Which claims are lost, and why; `last` is when each was surely ours."""
        answers = self._transport.run_all(
            hosts,
            hostside_script("fence"),
            lambda host: {"claim": self.words(claims[host.key], held=True)},
            timeout=CLAIM_SECONDS,
        )
        lost = []
        for key, answer in answers.items():
            try:
                self._passed(key, answer)
                last[key] = time.monotonic()
            except _NotOurs as error:
                lost.append(error.message)
            except OpsctlError as error:
                if time.monotonic() - last[key] > self._pace.lasts:
                    lost.append(f"{error.message}: its claim could not be left anew in time")
        return lost

    def _ask(self, host: Host, words: Mapping[str, object], timeout: float) -> object:
        return self._transport.run(host, hostside_script("fence"), words, timeout=timeout)

    @staticmethod
    def _passed(key: str, answer: object) -> object:
        """What the effect answered. Raises HostFailed where the fence refused, or the error that came instead."""
        if isinstance(answer, OpsctlError):
            raise answer
        if not isinstance(answer, dict) or not isinstance(refused := answer.get("refused"), str):
            raise HostFailed(key, f"its fence's answer is not understood: {answer!r}")
        if refused:
            raise _NotOurs(key, refused)
        return answer.get("answer")
