"""Runs a playbook on chosen hosts: the only place that starts Ansible.

The run is a process of its own, in a session of its own (no terminal to ask on), with everything generated in a private
folder; events come back over a pipe. Contact is made before Ansible starts, over the shared connections: a host that
cannot be reached is reported as such and never handed to Ansible, whose own rules would let it decide over others.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Protocol

from opsctl import content
from opsctl.ansible import configuration, events, render
from opsctl.ansible.private import private_folder
from opsctl.ansible.vault import password_pipe
from opsctl.config import Settings
from opsctl.errors import Interrupted, NothingMatches, OpsctlError, UnknownName, Unreachable
from opsctl.model.host import Host, Inventory
from opsctl.model.run import PlaybookRun, RunEvent, TaskEnded, recaps
from opsctl.state.redaction import Redactor

CONTACT = "make contact"
# Ctrl-C: seconds that Ansible gets to end its workers before a sterner signal. Interrupted in the wrong moment it hangs
# in a lock of its own (ansible-core 2.19), so the first wait is short.
PATIENCE = (3.0, 5.0, 5.0)
OUTPUT_LIMIT = 20_000
_ALL_UNREACHABLE = 4  # ansible-playbook's own exit code for it
OnEvent = Callable[[RunEvent], None]


class Contact(Protocol):
    """What the runner needs of ssh.session.Transport."""

    @property
    def config_file(self) -> Path: ...
    def open(self, host: Host) -> None: ...


def run_playbook(
    playbook: str,
    hosts: Sequence[Host],
    *,
    transport: Contact,
    inventory: Inventory,
    settings: Settings,
    extra_vars: Mapping[str, object] | None = None,
    check: bool = False,
    tags: Sequence[str] = (),
    forks: int | None = None,
    on_event: OnEvent | None = None,
) -> PlaybookRun:
    """Run `playbooks/PLAYBOOK.yml` on exactly these hosts; every host of the run is accounted for in the answer.

    `on_event` is called for each event as it comes. Raises NothingMatches without a host, UnknownName without such a
    playbook, ConfigError or InventoryError before anything starts, Interrupted after Ctrl-C.
    """
    if not hosts:
        raise NothingMatches("no host matches the selection; nothing was done")
    file = content.folder("playbooks", settings.own_content) / f"{playbook}.yml"
    if not file.is_file():
        raise UnknownName(f"there is no playbook {playbook!r} in {file.parent}")
    started = datetime.now(UTC)
    seen: list[RunEvent] = []
    redactor = Redactor()

    def tell(event: RunEvent) -> None:
        seen.append(_cleaned(event, redactor))
        if on_event is not None:
            on_event(seen[-1])

    reachable = _make_contact(hosts, transport, settings, tell)
    ended = _Ended(exit_code=_ALL_UNREACHABLE)
    if reachable:
        width = forks or min(settings.number("ssh.parallel"), len(reachable))
        with private_folder(settings) as private:
            files = render.write_inventory(private, reachable, inventory, settings)
            text = configuration.ansible_cfg(private, ssh_config=transport.config_file, forks=width, settings=settings)
            (private / "ansible.cfg").write_text(text, encoding="utf-8")
            fixed = configuration.connection(reachable, transport.config_file, settings.text("ssh.user"))
            _write_variables(private / "extra.yml", {**(extra_vars or {}), **fixed})
            with password_pipe(settings, redactor, needed=render.holds_vaulted(files)) as vault:
                line = configuration.command(_program(), file, private, check=check, tags=tags, vault=vault)
                ended = _play(line, private, vault, tell)
    run = PlaybookRun(
        playbook=playbook,
        hosts=tuple(host.key for host in hosts),
        check=check,
        started=started,
        ended=datetime.now(UTC),
        exit_code=ended.exit_code,
        events=tuple(seen),
        output=redactor.text(ended.output),
        interrupted=ended.interrupted,
        recaps=recaps(seen),
    )
    if run.interrupted:
        raise _interrupted(run)
    return run


def _cleaned(event: RunEvent, redactor: Redactor) -> RunEvent:
    """What a task said, without secrets: here begins the way to screen, store and ledger."""
    if not isinstance(event, TaskEnded):
        return event
    return replace(event, message=redactor.text(event.message), diff=redactor.text(event.diff))


def _make_contact(hosts: Sequence[Host], transport: Contact, settings: Settings, tell: OnEvent) -> tuple[Host, ...]:
    """The hosts whose shared connection stands; the others become an event each."""

    def one(host: Host) -> OpsctlError | None:
        try:
            transport.open(host)
        except Unreachable as error:
            return error
        return None

    with ThreadPoolExecutor(max_workers=min(settings.number("ssh.parallel"), len(hosts))) as pool:
        answers = list(pool.map(one, hosts))
    for host, error in zip(hosts, answers, strict=True):
        if isinstance(error, Unreachable):
            now = datetime.now(UTC)
            tell(TaskEnded(at=now, host=host.key, task=CONTACT, outcome="unreachable", message=error.reason))
    return tuple(host for host, error in zip(hosts, answers, strict=True) if error is None)


def _write_variables(file: Path, given: Mapping[str, object]) -> None:
    """Extra variables as a file (0600 in the private folder): an argument would show in the process list."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(given, stream)


def _program() -> Path:
    """ansible-playbook of this very installation; never another one on the PATH."""
    return Path(sys.executable).with_name("ansible-playbook")


class _Ended:
    """How the process ended."""

    def __init__(self, *, exit_code: int, output: str = "", interrupted: bool = False) -> None:
        self.exit_code = exit_code
        self.output = output
        self.interrupted = interrupted


def _play(line: list[str], private: Path, vault: int | None, tell: OnEvent) -> _Ended:
    """Run the command and pass its events on until it has ended and nobody holds its pipe any more."""
    with _pipe() as (reader, writer), tempfile.TemporaryFile(dir=private) as output:
        process = subprocess.Popen(
            [sys.executable, *line],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=configuration.environment(private, writer),
            cwd=private,
            pass_fds=(writer, *(() if vault is None else (vault,))),
            start_new_session=True,
        )
        os.close(writer)
        interrupted = False
        try:
            _pass_on(reader, tell)
            process.wait()
        except (KeyboardInterrupt, Interrupted):
            interrupted = True
            _stop(process, private, reader, tell)
        except BaseException:
            _stop(process, private, reader, lambda _event: None)
            raise
        output.seek(0)
        text = output.read(OUTPUT_LIMIT).decode("utf-8", "replace")
        return _Ended(exit_code=process.returncode, output=text, interrupted=interrupted)


@contextmanager
def _pipe() -> Iterator[tuple[IO[str], int]]:
    """Both ends of the events' pipe; the writing end is the caller's to close once the process has it."""
    reader, writer = os.pipe()
    with os.fdopen(reader, encoding="utf-8", errors="replace") as stream:
        yield stream, writer


def _pass_on(reader: IO[str], tell: OnEvent) -> None:
    for line in reader:
        event = events.parse(line)
        if event is not None:
            tell(event)


def _stop(process: subprocess.Popen[bytes], private: Path, reader: IO[str], tell: OnEvent) -> None:
    """Ask Ansible to end, ever more firmly; a second Ctrl-C goes straight on to the next signal."""
    for stern, patience in zip((signal.SIGINT, signal.SIGTERM, signal.SIGKILL), PATIENCE, strict=True):
        try:
            _signal_group(process, stern)
            process.wait(patience)
            break
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            continue
    _kill_stragglers(private)
    os.set_blocking(reader.fileno(), False)
    try:
        _pass_on(reader, tell)
    except (BlockingIOError, TypeError, ValueError, OSError):
        return  # what had come is read; somebody else still holds the pipe


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Ansible leads its session and passes the signal on to its workers, which lead theirs."""
    try:
        if number is signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    except ProcessLookupError:
        pass


def _kill_stragglers(private: Path) -> None:
    """A worker that Ansible forks while it is being stopped leads a session of its own, and gets no signal from it.

    Such a one bears Ansible's command line, and in that the folder of this run alone.
    """
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.fsencode(private) in (folder / "cmdline").read_bytes():
                os.kill(int(folder.name), signal.SIGKILL)


def _interrupted(run: PlaybookRun) -> Interrupted:
    unknown = run.unknown
    done = len(run.hosts) - len(unknown)
    message = f"{run.playbook} was interrupted: {done} of {len(run.hosts)} hosts have a known end"
    if unknown:
        message += "; not known of: " + ", ".join(unknown)
    return Interrupted(message, hint="run it again: it goes on where each host stands")
