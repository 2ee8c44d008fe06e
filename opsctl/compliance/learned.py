"""Which commands each check has asked for before, so that the next run can send them as one batch.

Only a cache: a command that is missing here is run when the check asks for it, one that nobody asks for costs a little.
It belongs to one state of the content; other checks ask for other commands.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

MOST = 500


class Learned:
    """Commands by control; `note` adds one, `save` writes them down where there are new ones."""

    def __init__(self, file: Path, content: str) -> None:
        self._file = file
        self._content = content
        self._known: dict[str, list[str]] = {}
        self._changed = False
        # A cache that cannot be read is an empty one.
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
            document = json.loads(file.read_text(encoding="utf-8"))
            if document["content"] == content:
                self._known = {str(c): [str(line) for line in known] for c, known in document["controls"].items()}

    def covers(self, controls: Iterable[str]) -> bool:
        """Whether every one of these controls has been met before."""
        return all(control in self._known for control in controls)

    def of(self, controls: Iterable[str]) -> tuple[str, ...]:
        """The commands of these controls, each once."""
        return tuple(dict.fromkeys(command for control in controls for command in self._known.get(control, ())))

    def note(self, control: str, command: str) -> None:
        known = self._known.setdefault(control, [])
        if command not in known and len(known) < MOST:
            known.append(command)
            self._changed = True

    def save(self) -> None:
        if not self._changed:
            return
        self._file.parent.mkdir(mode=0o770, parents=True, exist_ok=True)
        part = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        part.write_text(json.dumps({"content": self._content, "controls": self._known}), encoding="utf-8")
        part.replace(self._file)
        self._changed = False
