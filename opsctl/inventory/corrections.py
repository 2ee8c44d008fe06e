"""Corrections for NetBox as a file that a person reviews: which host, which field, which value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from opsctl.documents import Problems
from opsctl.documents import read as read_yaml
from opsctl.errors import ConfigError
from opsctl.inventory.emit import scalar

Cell = str | int | None
HEAD = "# Corrections for NetBox. Remove what is not right; then: opsctl inventory push --from FILE\n"


def text(wanted: Mapping[str, Mapping[str, Cell]]) -> str:
    """The file's text, in the order of hosts and fields."""
    lines = [HEAD, "version: 1\n", "hosts:\n" if wanted else "hosts: []\n"]
    for host, fields in sorted(wanted.items()):
        lines.append(f"  - host: {json.dumps(host)}\n")
        lines.extend(
            f"    {name}: {scalar(value) if isinstance(value, (int, str)) else 'null'}\n"
            for name, value in sorted(fields.items())
        )
    return "".join(lines)


def read(path: Path) -> dict[str, dict[str, Cell]]:
    """By host key, the values to write. Raises ConfigError with file:line."""
    problems = Problems()
    document = read_yaml(path, problems)
    document.number("version", 1, low=1, high=1)
    found: dict[str, dict[str, Cell]] = {}
    for section in document.sections("hosts"):
        key = section.text("host", required=True)
        if key in found:
            section.wrong("host", f"{key} is there twice")
        values: dict[str, Cell] = {}
        for name, value in section.values().items():
            if isinstance(value, tuple):
                section.wrong(name, f"{name} is a list")
            elif name != "host":
                values[name] = value
        found[key] = values
    document.done()
    problems.finish(ConfigError, f"{path} cannot be applied")
    return found
