"""What a check may say: that it holds or not (`Verdict`), that it does not apply, or that it cannot be judged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from _pytest.outcomes import Skipped


class NotApplicable(Skipped):
    """The control does not concern this host; never a pass."""


class CannotJudge(Exception):
    """The host or the inventory did not give what the check needs: an error, never a pass."""


def not_applicable(reason: str) -> NoReturn:
    """End the check: the control does not concern this host, and why."""
    raise NotApplicable(reason)


class Verdict:
    """What was seen and what should be, kept for passes too; a call with `holds` false fails the check."""

    def __init__(self) -> None:
        self.observed = ""
        self.expected = ""

    def __call__(self, holds: bool, *, observed: str, expected: str) -> None:
        self.observed, self.expected = observed, expected
        assert holds, f"observed: {observed}; expected: {expected}"


def listed(items: Iterable[str], none: str = "none", most: int = 20) -> str:
    """Items for a reader: sorted, each once, and how many more there are."""
    every = sorted(set(items))
    if not every:
        return none
    rest = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + rest


class Expectations:
    """What the inventory and the profile say of one host; a list that nobody gave is an error, never a pass."""

    def __init__(self, host: Mapping[str, object], controls: Mapping[str, Mapping[str, object]], control: str) -> None:
        self._host = host
        self._controls = controls
        self._control = control

    def of(self, control: str) -> Expectations:
        """The values of another control, for the same host."""
        return Expectations(self._host, self._controls, control)

    def _given(self, name: str) -> object:
        values = self._controls.get(self._control, {})
        found = values[name] if name in values else self._host.get(name)
        if found is None:
            raise CannotJudge(f"the inventory gives no {name} for this host")
        return found

    def text(self, name: str) -> str:
        return str(self._given(name))

    def number(self, name: str) -> int:
        found = self._given(name)
        if not isinstance(found, int):
            raise CannotJudge(f"{name} is not a number: {found!r}")
        return found

    def texts(self, name: str) -> tuple[str, ...]:
        found = self._given(name)
        if not isinstance(found, (list, tuple)):
            raise CannotJudge(f"{name} is not a list: {found!r}")
        return tuple(str(item) for item in found)

    def lists(self, name: str) -> dict[str, tuple[str, ...]]:
        """Several lists by name, for example the keys of each account."""
        found = self._given(name)
        if not isinstance(found, dict) or not all(isinstance(value, list) for value in found.values()):
            raise CannotJudge(f"{name} is not a set of lists: {found!r}")
        return {str(key): tuple(str(item) for item in value) for key, value in found.items()}


@dataclass(frozen=True)
class Record:
    """What the control side knows of a host: where and when it was read, and its text, a JSON object."""

    source: str
    at: datetime
    text: str

    def fields(self) -> dict[str, Any]:
        try:
            found = json.loads(self.text)
        except ValueError as error:
            raise CannotJudge(f"{self.source}: not JSON: {error}") from error
        if not isinstance(found, dict):
            raise CannotJudge(f"{self.source}: no JSON object")
        return found


class Records:
    """The records of one host by name. One that nobody could read is an error, never a pass; each is evidence."""

    def __init__(self, given: Mapping[str, Mapping[str, Any]], kept: list[dict[str, object]]) -> None:
        self._given = given
        self._kept = kept

    def of(self, name: str) -> Record:
        found = self._given.get(name)
        if found is None:
            raise CannotJudge(f"nobody handed in the record {name!r} of this host")
        if found.get("fault"):
            raise CannotJudge(f"{found['source']}: {found['fault']}")
        record = Record(str(found["source"]), datetime.fromtimestamp(float(found["at"]), UTC), str(found["text"]))
        self._kept.append(
            {
                "command": record.source,
                "exit_code": 0,
                "output": record.text,
                "sha256": hashlib.sha256(record.text.encode()).hexdigest(),
                "at": float(found["at"]),
                "how": "record",
            }
        )
        return record
