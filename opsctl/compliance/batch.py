"""The commands of the checks, run on the hosts: many at once before the checks begin, the rest when asked for.

Only this side of the connection judges. A host whose connection fails once is gone for the rest of the run: each of
its later questions is answered at once with that error, so it costs one bounded time-out in all.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from opsctl.compliance.learned import Learned
from opsctl.errors import HostError, HostFailed, OpsctlError
from opsctl.model.host import Host
from opsctl.ssh.session import Transport, hostside_script

COMMAND_SECONDS = 30
BATCH_SECONDS = 300
LARGEST_OUTPUT = 1 << 20
Ready = Callable[[str], object]


def ignore(_key: str) -> None:
    """For callers that wait until every host has answered."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command printed on a host. `fault` is empty, or why there is no whole answer: too slow, too much."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    at: datetime
    how: str
    fault: str = ""


class Answers:
    """All that the hosts of one run have answered so far."""

    def __init__(self, transport: Transport, hosts: Iterable[Host], learned: Learned) -> None:
        self._transport = transport
        self._hosts = {host.key: host for host in hosts}
        self._learned = learned
        self._known: dict[str, dict[str, Answer]] = {key: {} for key in self._hosts}
        self.gone: dict[str, OpsctlError] = {}

    def fetch(
        self, hosts: Sequence[Host], commands: Callable[[str], Sequence[str]], ready: Ready = ignore
    ) -> Mapping[str, OpsctlError]:
        """Run on each host what `commands` names for its key, one round trip each. Returns who is away, and why.

        `ready` is told of every other host as soon as its answers are here, from that host's thread.
        """
        sent = {host.key: tuple(commands(host.key)) for host in hosts}
        script, direct = hostside_script("batch"), hostside_script("direct")

        def keep(host: Host, answer: object) -> None:
            asked = sent[host.key]
            self._known[host.key].update(zip(asked, _parsed(host.key, answer, len(asked), "batch"), strict=True))
            ready(host.key)

        told = self._transport.run_all(
            hosts, script, lambda host: {**_order(sent[host.key]), "direct": direct}, timeout=BATCH_SECONDS, then=keep
        )
        away = {key: error for key, error in told.items() if isinstance(error, OpsctlError)}
        self.gone |= away
        return away

    def of(self, key: str, control: str, command: str) -> Answer:
        """The answer of one host to one command. Raises HostError when the host is gone."""
        self.note(key, control, command)
        if key in self.gone:
            raise self.gone[key]
        known = self._known[key]
        if command not in known:
            known[command] = self._live(self._hosts[key], command)
        return known[command]

    def note(self, key: str, control: str, command: str) -> None:
        """A control rests on the answer of this host to this command."""
        self._learned.note(key, control, command)

    def known(self, key: str, command: str) -> Answer:
        """An answer that was given before."""
        return self._known[key][command]

    def all_known(self, key: str) -> Mapping[str, Answer]:
        """What a host has answered so far, by command."""
        return self._known[key]

    def of_the_batch(self, key: str, left_out: Collection[str]) -> list[str]:
        """The commands that a host has answered as a batch, but for those of some controls."""
        moving = frozenset(self._learned.of(key, left_out))
        return [command for command in self._known[key] if command not in moving]

    def again(self, key: str, commands: Sequence[str]) -> Mapping[str, Answer]:
        """Each of these commands run once more, every one in a shell of its own; nothing where contact is lost."""
        if not commands:
            return {}
        try:
            told = self._transport.run(
                self._hosts[key], hostside_script("batch"), _order(commands), timeout=BATCH_SECONDS
            )
            return dict(zip(commands, _parsed(key, told, len(commands), "live"), strict=True))
        except OpsctlError:
            return {}

    def _live(self, host: Host, command: str) -> Answer:
        try:
            answer = self._transport.run(
                host, hostside_script("batch"), _order([command]), timeout=COMMAND_SECONDS + 30
            )
            return _parsed(host.key, answer, 1, "live")[0]
        except OpsctlError as error:
            self.gone[host.key] = error
            raise


def why(error: OpsctlError) -> str:
    """What happened, without the host's name: that stands beside it wherever it is shown."""
    return error.reason if isinstance(error, HostError) else error.message


def _order(commands: Sequence[str]) -> Mapping[str, object]:
    return {"commands": list(commands), "seconds": COMMAND_SECONDS, "limit": LARGEST_OUTPUT}


def _parsed(key: str, answer: object, count: int, how: str) -> list[Answer]:
    """The border: what the script on the host said, or HostFailed."""
    try:
        found = [_one(entry, how) for entry in answer["answers"]]  # type: ignore[index]  # judged by the except
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise HostFailed(key, f"its answer cannot be read: {error}") from error
    if len(found) != count:
        raise HostFailed(key, f"{count} commands were sent and {len(found)} answered")
    return found


def _one(entry: Mapping[str, object], how: str) -> Answer:
    out, err = (base64.b64decode(str(entry[name]), validate=True) for name in ("stdout", "stderr"))
    # The script on the host keeps to the limit; who has made the host their own need not.
    more = max(len(out), len(err)) > LARGEST_OUTPUT
    return Answer(
        exit_code=int(str(entry["exit_code"])),
        stdout=out[:LARGEST_OUTPUT],
        stderr=err[:LARGEST_OUTPUT],
        at=datetime.fromtimestamp(float(str(entry["at"])), UTC),
        how=how,
        fault=str(entry["fault"]) or ("too much" if more else ""),
    )
