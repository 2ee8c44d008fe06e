"""The shared OpenSSH connection of each host, and scripts over it.

One master connection a host (ControlMaster) serves Ansible, probes, checks and host-side scripts. It outlives the
command by two minutes, so the next command is quick; `forget` closes one, `close_shared` all of a workspace (for
`lab down` and `doctor`). Jump hosts are opened first and each on its own, so a failure is told of the right host.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Self

from opsctl import config
from opsctl.config import Settings
from opsctl.errors import HostFailed, HostKeyRefused, OpsctlError, Unreachable
from opsctl.model.host import Host, Inventory
from opsctl.ssh import channel, client_config, program
from opsctl.ssh.failure import classify
from opsctl.ssh.hostkeys import Key, Pins
from opsctl.ssh.program import hostside_script
from opsctl.ssh.shown import KINDS, shown_key
from opsctl.ssh.sockets import close_shared, socket_folder, tidy, written

__all__ = ["Transport", "close_shared", "hostside_script"]

LARGEST_ANSWER = 64 << 20
Arguments = Mapping[str, object]


class Transport:
    """Contact with the hosts of an inventory. Thread-safe; a context manager. Raises HostError kinds only."""

    def __init__(self, inventory: Inventory, pins: Pins, settings: Settings) -> None:
        self.inventory = inventory
        self.pins = pins
        self.settings = settings
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._opened: set[str] = set()
        self._configs: dict[str, Path] = {}
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()

    # --- files -------------------------------------------------------------------------------------------------

    @cached_property
    def access(self) -> client_config.Access:
        """Account, key and files of this transport; known_hosts is written here."""
        runtime = config.prepare_runtime(self.settings)
        tidy(runtime, time.time())
        identity = self.settings.text("ssh.identity")
        return client_config.Access(
            user=self.settings.text("ssh.user"),
            identity=self.settings.workspace / Path(identity).expanduser() if identity else None,
            known_hosts=written(runtime, "known_hosts", self.pins.known_hosts()),
            sockets=socket_folder(self.settings),
            connect_timeout=self.settings.number("ssh.connect_timeout"),
        )

    @cached_property
    def config_file(self) -> Path:
        """The generated ssh_config of all managed hosts, for `ssh -F`; named by its hash, so it never changes."""
        return self.config_for(host for host in self.inventory if host.managed)

    def config_for(self, hosts: Iterable[Host]) -> Path:
        """The same for a few hosts: ssh reads the whole file each time, and 5,000 blocks cost it 60 ms."""
        text = client_config.text(self.inventory, self.pins, self.access, hosts)
        return written(config.prepare_runtime(self.settings), "ssh_config", text)

    def alias(self, host: Host) -> str:
        """The name under which `config_file` knows the host: `tenant.host`."""
        return client_config.alias(host)

    def _ssh(self, host: Host, *options: str) -> list[str]:
        """An ssh command line up to and with the host's alias; nothing of a host's becomes an option."""
        if host.key not in self._configs:
            self._configs[host.key] = self.config_for((host,))
        return ["ssh", "-F", str(self._configs[host.key]), *options, "--", self.alias(host)]

    # --- connections -------------------------------------------------------------------------------------------

    def open(self, host: Host) -> None:
        """See that the host's shared connection stands, its jump hosts' first."""
        self._open_jumps(host)
        self._open_one(host)

    def _open_jumps(self, host: Host) -> None:
        for jump in self.inventory.jumps(host):
            try:
                self._open_one(jump)
            except Unreachable as error:
                raise type(error)(host.key, f"jump host {jump.key}: {error.reason}", hint=error.hint) from None

    def _open_one(self, host: Host) -> None:
        with self._locks[host.key]:
            if self._stands(host):
                return
            self._refuse_without_pin(host)
            seconds = self.access.connect_timeout
            ended = channel.run(
                self._ssh(host, "-f", "-N"),
                b"",
                timeout=2 * seconds + 5,
                largest=1 << 16,
                stopped=self._stopping.is_set,
            )
            if ended.code != 0:
                raise self._refusal(host, ended, f"no answer within {2 * seconds + 5} s")
            self._opened.add(host.key)

    def _stands(self, host: Host) -> bool:
        """True when the master answers; a socket that it left behind is removed."""
        socket = client_config.socket_of(self.inventory, self.pins, self.access, host)
        if not socket.exists():
            self._opened.discard(host.key)
            return False
        if host.key in self._opened:
            return True
        if self._control(host, "check"):
            self._opened.add(host.key)
            return True
        socket.unlink(missing_ok=True)
        return False

    def _control(self, host: Host, order: str) -> bool:
        ended = channel.run(self._ssh(host, "-O", order), b"", timeout=10, largest=1 << 16)
        return ended.code == 0

    def forget(self, host: Host) -> None:
        """Close the host's shared connection, where there is one."""
        with self._locks[host.key]:
            self._opened.discard(host.key)
            if client_config.socket_of(self.inventory, self.pins, self.access, host).exists():
                self._control(host, "exit")

    # --- scripts -----------------------------------------------------------------------------------------------

    def run(self, host: Host, script: str, arguments: Arguments, *, timeout: float) -> object:
        """Run a hostside script as root over the shared connection; its answer, parsed from JSON.

        After `timeout` seconds only our ssh is killed: what the script was doing on the host is unknown then.
        Raises Unreachable, HostKeyRefused, HostFailed.
        """
        self.open(host)
        shared = self._ssh(host, "-T", *_ONLY_SHARED)
        try:
            return self._ask(host, shared, script, arguments, timeout)
        except _NotStarted:
            # The shared connection ended between our look and its use; nothing ran, so once more is safe.
            self.open(host)
            return self._ask(host, shared, script, arguments, timeout)

    def fresh(self, host: Host) -> None:
        """Prove that a new TCP connection, a login and sudo work now; or raise. The shared connection is not used."""
        self._open_jumps(host)
        self._refuse_without_pin(host)
        alone = ("-T", "-o", "ControlMaster=no", "-o", "ControlPath=none")
        seconds = 2 * self.access.connect_timeout + 15
        if self._ask(host, self._ssh(host, *alone), _WHO_AM_I, {}, seconds) != {"uid": 0}:
            raise HostFailed(host.key, "sudo does not give root")

    def _ask(self, host: Host, ssh: list[str], script: str, arguments: Arguments, timeout: float) -> object:
        mark = program.new_mark()
        ended = channel.run(
            [*ssh, self._python()],
            program.frame(script, arguments, mark),
            timeout=timeout,
            largest=LARGEST_ANSWER,
            stopped=self._stopping.is_set,
        )
        found = program.answer(host.key, ended.stdout, mark)
        if found is not None:
            return found
        if ended.why == "size":
            raise HostFailed(host.key, f"the answer is larger than {LARGEST_ANSWER >> 20} MiB")
        if ended.code in (None, 255):
            self._opened.discard(host.key)
            if (
                ended.code
                and _NO_MASTER in ended.stderr
                and b"mux_client" not in ended.stderr
                and set(_ONLY_SHARED) <= set(ssh)
            ):
                raise _NotStarted(host.key, "the shared connection ended")
            raise self._refusal(host, ended, f"no answer within {timeout:g} s; what runs there is unknown")
        raise _without_answer(host, ended)

    def _python(self) -> str:
        root = "" if self.access.user == "root" else "sudo -n "
        return f"{root}/usr/bin/python3 -I -"

    def run_all(
        self,
        hosts: Iterable[Host],
        script: str,
        arguments: Arguments | Callable[[Host], Arguments],
        *,
        timeout: float,
        parallel: int | None = None,
        then: Callable[[Host, object], object] = lambda _host, answer: answer,
    ) -> dict[str, object | OpsctlError]:
        """`run` on many hosts at once: each host's answer or its error, by `host.key`, in the given order.

        `arguments`, where it is called for each host, is called once the connection stands; `then` turns an answer
        into a value as soon as it is there. Both run in the host's thread.
        """
        chosen = tuple(hosts)

        def one(host: Host) -> object | OpsctlError:
            try:
                self.open(host)
                given = arguments(host) if callable(arguments) else arguments
                return then(host, self.run(host, script, given, timeout=timeout))
            except OpsctlError as error:
                return error

        limit = parallel or self.settings.number("ssh.parallel")
        with ThreadPoolExecutor(max_workers=max(1, min(limit, len(chosen)))) as pool:
            futures = {host.key: pool.submit(one, host) for host in chosen}
            try:
                return {key: future.result() for key, future in futures.items()}
            except BaseException:
                self._stopping.set()
                pool.shutdown(cancel_futures=True)
                raise

    # --- trust -------------------------------------------------------------------------------------------------

    def shown(self, host: Host, kind: str) -> Key | None:
        """The key of this kind that the host shows now, read through its (pinned) jump hosts. Raises Unreachable."""
        jumps = self.inventory.jumps(host)
        through: tuple[str, ...] = ()
        if jumps:
            self._open_jumps(host)
            through = tuple(self._ssh(jumps[-1], "-W", f"[{host.address}]:{host.port}"))
        return shown_key(host, kind, through=through, timeout=self.access.connect_timeout)

    def _refuse_without_pin(self, host: Host) -> None:
        if not self.pins.of(host.key):
            raise self._key_refused(host)

    def _key_refused(self, host: Host) -> Unreachable:
        pinned = self.pins.of(host.key)
        kinds = tuple(dict.fromkeys([*(pin.key.kind for pin in pinned), *KINDS]))
        try:
            shown = next((key for kind in kinds if (key := self.shown(host, kind))), None)
        except Unreachable as error:
            if pinned:
                return HostKeyRefused(host.key, f"its host key was refused, and now {error.reason}")
            return Unreachable(host.key, f"{error.reason} (and no key of it is approved yet)", hint=error.hint)
        if not pinned:
            return HostKeyRefused(
                host.key, f"no key is approved for it; it shows {shown}", hint=_APPROVE.format(name=host.key)
            )
        approved = ", ".join(str(pin.key) for pin in pinned)
        return HostKeyRefused(
            host.key,
            f"it shows another key than the approved one; approved: {approved}; shown: {shown}",
            hint=_REPLACE.format(name=host.key),
        )

    def _refusal(self, host: Host, ended: channel.Ended, when_slow: str) -> OpsctlError:
        if ended.why == "stopped":
            return Unreachable(host.key, "stopped before it answered")
        if ended.why:
            return Unreachable(host.key, when_slow, hint="is the host overloaded, or frozen?")
        failure = classify(ended.stderr.decode("utf-8", "replace"))
        if failure.kind in ("unknown-key", "changed-key"):
            return self._key_refused(host)
        jumps = self.inventory.jumps(host)
        if jumps and _NO_MASTER in ended.stderr:
            # What happened behind the jump host, ssh does not say; only whether it took too long.
            what = "no answer" if failure.kind == "timeout" else "no connection"
            return Unreachable(host.key, f"{what} from {host.address} port {host.port} through {jumps[-1].key}")
        return Unreachable(host.key, failure.reason, hint=failure.hint)


class _NotStarted(Unreachable):
    """The script was not started: there was no shared connection any more."""


# A script runs at most once: were the shared connection to break while it is asked for, ssh would quietly make a new
# one and send the rest of its input there. With this it fails instead, and says so with the words below.
_ONLY_SHARED = ("-o", "ProxyCommand=false")
_NO_MASTER = b"UNKNOWN port 65535"
_WHO_AM_I = "import os\ndef main(arguments):\n    return {'uid': os.getuid()}\n"
_APPROVE = "get the fingerprint from the host's owner, then: opsctl host approve {name} --fingerprint SHA256:..."
_REPLACE = (
    "ask the host's owner whether the key was changed on purpose (reinstalled?); if not, somebody else answers at this "
    "address. With the new fingerprint from the owner: opsctl host approve {name} --replace --fingerprint SHA256:..."
)


def _without_answer(host: Host, ended: channel.Ended) -> HostFailed:
    said = classify(ended.stderr.decode("utf-8", "replace")).detail
    if "sudo:" in said:
        return HostFailed(host.key, said, hint="the automation account needs sudo without a password")
    if ended.code == 127:
        return HostFailed(host.key, f"Python 3 is missing: {said}", hint="install python3 on the host")
    return HostFailed(host.key, f"the script gave no answer (exit {ended.code}): {said}")
