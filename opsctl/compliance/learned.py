"""Which commands the checks have asked each host for, so that the next run can send them as one batch.

Only a cache: a command that is missing here is run when the check asks for it, one that nobody asks for costs a little.
It belongs to one state of the content; other checks ask for other commands. And it belongs to one user: what it holds
runs as root on hosts, so a file that somebody else could have written is as good as none.

What a host asked for last time is what it gets; a host that is new gets what at least half of the others ask for.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

Asked = tuple[str, str]  # control, command


class Learned:
    """What each host was asked; `note` adds to this run's, `save` writes it down in place of what was known.

    Without a file nothing was known, nothing is sent ahead, and nothing is written down.
    """

    def __init__(self, file: Path | None, content: str) -> None:
        self._file = file
        self._content = content
        self._before: dict[str, dict[Asked, None]] = {}
        self._now: dict[str, dict[Asked, None]] = {}
        # A cache that cannot be read is an empty one.
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError, LookupError):
            document = json.loads(_own_text(file)) if file else {}
            commands = [(str(control), str(command)) for control, command in document["commands"]]
            if document["content"] == content:
                self._before = {
                    str(host): {commands[place]: None for place in places} for host, places in document["hosts"].items()
                }

    def covers(self, controls: Iterable[str]) -> bool:
        """Whether every one of these controls has been met before, on whatever host."""
        if self._file is None:
            return True  # there is nothing to learn for
        met = {control for asked in (*self._before.values(), *self._now.values()) for control, _ in asked}
        return met.issuperset(controls)

    def of(self, host: str, controls: Iterable[str]) -> tuple[str, ...]:
        """The commands of these controls for this host, each once."""
        if self._file is None:
            return ()
        wanted = frozenset(controls)
        known = {**self._before, **self._now}
        mine = known[host] if host in known else _common(known)
        found = [asked for asked in mine if asked[0] in wanted]
        missing = wanted - {control for control, _ in found}
        found += [asked for asked in _common(known) if asked[0] in missing]
        return tuple(dict.fromkeys(command for _, command in found))

    def note(self, host: str, control: str, command: str) -> None:
        self._now.setdefault(host, {})[control, command] = None

    @property
    def of_this_run(self) -> Mapping[str, Collection[Asked]]:
        """What each host was asked in this run."""
        return self._now

    def save(self) -> None:
        """What this run asked for takes the place of what was known of the same host and control."""
        if self._file is None:
            return
        merged = dict(self._before)
        for host, asked in self._now.items():
            renewed = {control for control, _ in asked}
            merged[host] = {**{a: None for a in merged.get(host, {}) if a[0] not in renewed}, **asked}
        if merged == self._before:
            return
        commands = list(dict.fromkeys(asked for every in merged.values() for asked in every))
        places = {asked: place for place, asked in enumerate(commands)}
        hosts = {host: [places[asked] for asked in every] for host, every in merged.items()}
        self._file.parent.mkdir(mode=0o770, parents=True, exist_ok=True)
        # The folder is a group's: "x" follows no link that somebody put there.
        part = self._file.with_name(f".{self._file.name}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            json.dump({"content": self._content, "commands": commands, "hosts": hosts}, stream)
        part.replace(self._file)


def _own_text(file: Path) -> str:
    """The text of a file that nobody but this user can have written. Raises OSError for any other."""
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="utf-8") as stream:
        info = os.fstat(stream.fileno())
        if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
            raise PermissionError(f"{file} could have been written by somebody else")
        return stream.read()


def _common(known: dict[str, dict[Asked, None]]) -> list[Asked]:
    """What at least half of the hosts that know a control ask for."""
    askers = Counter(control for every in known.values() for control in {control for control, _ in every})
    counts = Counter(asked for every in known.values() for asked in every)
    return [asked for asked, count in counts.items() if 2 * count >= askers[asked[0]]]
