"""A host that is only played, for checks of what a lab's host does not give."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


@dataclass
class PlayedHost:
    """Prints for each command what it was told; anything else ends with 127."""

    prints: dict[str, str | tuple[int, str]]
    asked: list[str] = field(default_factory=list)

    def run(self, command: str, *arguments: str) -> Any:
        asked = command % arguments if arguments else command
        self.asked.append(asked)
        for start, found in self.prints.items():
            if asked.startswith(start):
                rc, text = found if isinstance(found, tuple) else (0, found)
                return SimpleNamespace(rc=rc, stdout=text, stderr="" if rc == 0 else f"no {asked}")
        return SimpleNamespace(rc=127, stdout="", stderr="not found")
