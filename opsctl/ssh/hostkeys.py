"""Pins: the host keys that a person approved, one file a tenant.

`inventories/TENANT/pins` is text, one key a line, and belongs in git:

    HOST KIND BASE64 # approved 2026-11-22T10:00:00Z by WHO from FILE

Pins are keyed by `tenant.host`, never by address: two municipalities may use the same addresses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from opsctl.documents import NAME, NAME_RULE, Problems
from opsctl.errors import InventoryError
from opsctl.model.host import Host
from opsctl.ssh import fingerprints
from opsctl.state.alone import alone

FILE = "pins"
_KIND = re.compile(r"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521))")
_HEAD = "# Host keys that people approved with `opsctl host approve`; one a line, keyed by the host's name.\n"


@dataclass(frozen=True, kw_only=True)
class Key:
    """A public host key: its kind (`ssh-ed25519`) and its base64 form."""

    kind: str
    base64: str

    @property
    def fingerprint(self) -> str:
        return fingerprints.of_key(self.base64)

    def __str__(self) -> str:
        return f"{self.fingerprint} ({self.kind})"


@dataclass(frozen=True, kw_only=True)
class Pin:
    """An approved key of one host (`tenant.host`); `note` says when, by whom and from which source."""

    host_key: str
    key: Key
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Pins:
    """Every approved key, by `tenant.host`."""

    by_host: Mapping[str, tuple[Pin, ...]] = field(default_factory=dict)

    @classmethod
    def load(cls, inventories: Path) -> Pins:
        """The pins of all tenants. Raises InventoryError with file:line of every bad line."""
        problems = Problems()
        found: dict[str, tuple[Pin, ...]] = {}
        for file in sorted(inventories.glob(f"*/{FILE}")):
            # A folder that is no tenant's could carry a pattern into known_hosts (`.,*`), and so into every tenant.
            if not NAME.fullmatch(file.parent.name):
                problems.note(str(file), f"{file.parent.name!r} is not a tenant's name", NAME_RULE)
                continue
            for pin in _read(file, problems):
                found[pin.host_key] = (*found.get(pin.host_key, ()), pin)
        problems.finish(InventoryError, "the approved host keys are not usable")
        return cls(by_host=found)

    def of(self, host_key: str) -> tuple[Pin, ...]:
        """The approved keys of a host (`tenant.host`); none is an empty tuple."""
        return self.by_host.get(host_key, ())

    def with_keys(self, host_key: str, pins: Iterable[Pin], *, replace: bool = False) -> Pins:
        """A copy in which the host has these pins too, or only these."""
        new = tuple(pins)
        kept = () if replace else tuple(p for p in self.of(host_key) if p.key not in {n.key for n in new})
        return Pins(by_host={**self.by_host, host_key: (*kept, *new)})

    def known_hosts(self) -> str:
        """The text for OpenSSH's UserKnownHostsFile: the alias `tenant.host` and each of its keys."""
        return "".join(
            f"{host_key} {pin.key.kind} {pin.key.base64}\n"
            for host_key in sorted(self.by_host)
            for pin in self.by_host[host_key]
        )


def approve(
    inventories: Path, host: Host, keys: Iterable[Key], *, now: datetime, who: str, source: str, replace: bool = False
) -> tuple[Pin, ...]:
    """Write the keys of a host into its tenant's pins: merged with what others wrote meanwhile, in one move.

    `replace` takes the host's earlier keys away. Returns the new pins.
    """
    stamp = now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    note = f"approved {stamp} by {_one_line(who)} from {_one_line(source)}"
    new = tuple(Pin(host_key=host.key, key=key, note=note) for key in keys)
    folder = inventories / host.tenant
    with alone(folder):
        problems = Problems()
        old = tuple(_read(folder / FILE, problems)) if (folder / FILE).exists() else ()
        problems.finish(InventoryError, "the approved host keys are not usable")
        fresh = {pin.key for pin in new}
        kept = [p for p in old if p.host_key != host.key or (not replace and p.key not in fresh)]
        _write(folder / FILE, (*kept, *new))
    return new


def _read(file: Path, problems: Problems) -> Iterator[Pin]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problems.note(str(file), f"cannot be read: {error}")
        return
    for number, line in enumerate(lines, 1):
        entry, _, note = line.partition("#")
        words = entry.split()
        if not words:
            continue
        where = f"{file}:{number}"
        if len(words) != 3 or not NAME.fullmatch(words[0]) or not _KIND.fullmatch(words[1]):
            problems.note(where, "not an approved key", "HOST KIND BASE64 # approved ...")
            continue
        try:
            fingerprints.of_key(words[2])
        except ValueError as error:
            problems.note(where, str(error))
            continue
        yield Pin(host_key=f"{file.parent.name}.{words[0]}", key=Key(kind=words[1], base64=words[2]), note=note.strip())


def _write(file: Path, pins: Iterable[Pin]) -> None:
    tenant = file.parent.name + "."
    ordered = sorted(pins, key=lambda pin: (pin.host_key, pin.key.kind))
    text = _HEAD + "".join(
        f"{p.host_key.removeprefix(tenant)} {p.key.kind} {p.key.base64}{f' # {p.note}' if p.note else ''}\n"
        for p in ordered
    )
    part = file.with_name(f".{file.name}.{os.getpid()}")
    with part.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)


def _one_line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else "?" for char in text).split())[:200]
