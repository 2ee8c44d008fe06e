"""The shared OpenSSH connection of each host, and scripts over it.

One master connection a host (ControlMaster) serves Ansible, probes, checks and host-side scripts. It outlives the
command by two minutes, so the next command is quick; `forget` closes one, `close_shared` all of a workspace (for
`lab down` and `doctor`). Jump hosts are opened first and each on its own, so a failure is told of the right host.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Self, TypeVar

from opsctl import config
from opsctl.config import Settings
from opsctl.errors import HostFailed, OpsctlError, Unreachable
from opsctl.model.host import Host, Inventory
from opsctl.ssh import channel, client_config, program, refusal
from opsctl.ssh.hostkeys import Key, Pins
from opsctl.ssh.program import hostside_script
from opsctl.ssh.shown import shown_key
from opsctl.ssh.sockets import close_shared, identity, remove_left_behind, socket_folder, tidy, written

__all__ = ["Transport", "close_shared", "hostside_script"]

LARGEST_ANSWER = 64 << 20
# This machine has no files, processes or memory left just now: one host more cannot be asked, the others go on.
_AT_ITS_LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM})
Arguments = Mapping[str, object]
Stopped = Callable[[], bool]
_Reached = TypeVar("_Reached")


class Transport:
    """Contact with the hosts of an inventory. Thread-safe; a context manager: leaving it ends what still waits."""

    def __init__(self, inventory: Inventory, pins: Pins, settings: Settings) -> None:
        self.inventory = inventory
        self.pins = pins
        self.settings = settings
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._opened: set[str] = set()
        self._configs: dict[str, Path] = {}
        self._stopping = threading.Event()
        # When each host last answered, by `host.key`: whoever keeps a store remembers it.
        self.met: dict[str, datetime] = {}

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
        return client_config.Access(
            user=self.settings.text("ssh.user"),
            identity=self.settings.path("ssh.identity") if self.settings.text("ssh.identity") else None,
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

    def open(self, host: Host, *, stopped: Stopped | None = None) -> None:
        """See that the host's shared connection stands, its jump hosts' first."""
        self._behind(host, lambda: self._open_one(host, stopped), stopped)

    def _behind(self, host: Host, reach: Callable[[], _Reached], stopped: Stopped | None = None) -> _Reached:
        """`reach` with the jump hosts' connections open; only for what may be done twice.

        A jump host that lost its power leaves a connection behind that ends only when it is used: then once more.
        """
        self._open_jumps(host, stopped)
        before = self._ways(host)
        try:
            return reach()
        except Unreachable:
            if not self._lost_a_jump(host, before):
                raise
        self._open_jumps(host, stopped)
        return reach()

    def _ways(self, host: Host) -> list[tuple[int, int] | None]:
        """Which connection each of its jump hosts has: another one is another file."""
        files = (self.inventory, self.pins, self.access)
        return [identity(client_config.socket_of(*files, jump)) for jump in self.inventory.jumps(host)]

    def _lost_a_jump(self, host: Host, before: list[tuple[int, int] | None]) -> bool:
        """Whether one of these connections ended meanwhile; another thread may have opened a new one already."""
        ended = [jump for jump in self.inventory.jumps(host) if not self._control(jump, "check")]
        self._opened.difference_update(jump.key for jump in ended)
        return bool(ended) or self._ways(host) != before

    def _open_jumps(self, host: Host, stopped: Stopped | None = None) -> None:
        for jump in self.inventory.jumps(host):
            try:
                self._open_one(jump, stopped)
            except Unreachable as error:
                raise type(error)(host.key, f"jump host {jump.key}: {error.reason}", hint=error.hint) from None

    def _open_one(self, host: Host, stopped: Stopped | None) -> None:
        with self._locks[host.key]:
            if self._stands(host):
                return
            self._refuse_without_pin(host)
            seconds = 2 * self.access.connect_timeout + 5
            ended = channel.run(
                self._ssh(host, "-f", "-N", "-o", "ControlMaster=auto"),
                b"",
                timeout=seconds,
                largest=1 << 16,
                stopped=stopped or self._stopping.is_set,
            )
            if ended.code != 0:
                raise self._no_contact(host, ended, f"no answer within {seconds} s")
            self._opened.add(host.key)
            self.met[host.key] = datetime.now(UTC)

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
        remove_left_behind(socket)
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
        return self._run(host, script, arguments, timeout, self._stopping.is_set)

    def _run(self, host: Host, script: str, arguments: Arguments, timeout: float, stopped: Stopped) -> object:
        self.open(host, stopped=stopped)
        shared = self._ssh(host, "-T", *_ONLY_SHARED)
        try:
            return self._ask(host, shared, script, arguments, timeout, stopped)
        except _NotStarted:
            # The shared connection ended between our look and its use, or was one to a boot of the host that is over;
            # nothing ran, so once more is safe.
            self.open(host, stopped=stopped)
            return self._ask(host, shared, script, arguments, timeout, stopped)

    def fresh(self, host: Host) -> None:
        """Prove that a new TCP connection, a login and sudo work now; or raise. The shared connection is not used."""
        self._refuse_without_pin(host)
        alone = self._ssh(host, "-T", "-o", "ControlMaster=no", "-o", "ControlPath=none")
        seconds = 2 * self.access.connect_timeout + 15
        answer = self._behind(host, lambda: self._ask(host, alone, _WHO_AM_I, {}, seconds, self._stopping.is_set))
        if answer != {"uid": 0}:
            raise HostFailed(host.key, "sudo does not give root")

    def _ask(
        self, host: Host, ssh: list[str], script: str, arguments: Arguments, timeout: float, stopped: Stopped
    ) -> object:
        mark = program.new_mark()
        given = program.frame(script, arguments, mark)
        ended = channel.run([*ssh, self._python()], given, timeout=timeout, largest=LARGEST_ANSWER, stopped=stopped)
        found = program.answer(host.key, ended.stdout, mark)
        if found is not None:
            self.met[host.key] = datetime.now(UTC)
            return found
        if ended.why == "size":
            raise HostFailed(host.key, f"the answer is larger than {LARGEST_ANSWER >> 20} MiB")
        if ended.code not in (None, 255):
            raise refusal.no_answer(host, ended)
        self._opened.discard(host.key)
        if _ONLY_SHARED[1] in ssh and refusal.never_began(ended.stderr):
            raise _NotStarted(host.key, "the shared connection ended")
        raise self._no_contact(host, ended, f"no answer within {timeout:g} s; what runs there is unknown")

    def _python(self) -> str:
        root = "" if self.access.user == "root" else "sudo -n "
        return f"{root}/usr/bin/python3 -I -S -"

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
        # Of this call alone: after Ctrl-C the same transport still has to undrain and to clean up.
        interrupted = threading.Event()

        def stopped() -> bool:
            return interrupted.is_set() or self._stopping.is_set()

        def one(host: Host) -> object | OpsctlError:
            try:
                self.open(host, stopped=stopped)
                given = arguments(host) if callable(arguments) else arguments
                return then(host, self._run(host, script, given, timeout, stopped))
            except OpsctlError as error:
                return error
            except OSError as error:
                if error.errno not in _AT_ITS_LIMITS:
                    raise
                return Unreachable(host.key, f"it could not be asked: {error}")

        limit = parallel or self.settings.number("ssh.parallel")
        with ThreadPoolExecutor(max_workers=max(1, min(limit, len(chosen)))) as pool:
            futures = {host.key: pool.submit(one, host) for host in chosen}
            try:
                for ended in wait(futures.values(), return_when=FIRST_EXCEPTION).done:
                    ended.result()
                return {key: future.result() for key, future in futures.items()}
            except BaseException:
                interrupted.set()
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
        approved = [pin.key for pin in self.pins.of(host.key)]
        return refusal.key_refused(host, approved, lambda kind: self.shown(host, kind))

    def _no_contact(self, host: Host, ended: channel.Ended, when_slow: str) -> Unreachable:
        if refusal.of_key(ended):
            return self._key_refused(host)
        jump = next(reversed(self.inventory.jumps(host)), None)
        return refusal.no_contact(host, ended, jump=jump, when_slow=when_slow)


class _NotStarted(Unreachable):
    """The script was not started: there was no shared connection any more."""


# A script runs at most once: were the shared connection to break while it is asked for, ssh would quietly make a new
# one and send the rest of its input there. With this it fails instead, and says so with the words below.
_ONLY_SHARED = ("-o", "ProxyCommand=false")
_WHO_AM_I = "import os\ndef main(arguments):\n    return {'uid': os.getuid()}\n"
