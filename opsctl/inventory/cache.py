"""A parsed copy of a large inventory, as JSON in the state folder: YAML with line marks costs seconds for 5,000 hosts.

It counts only while the SHA-256 of every file is still the one it was made from; without it, or where it cannot be
written, the files are simply parsed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from opsctl import __version__
from opsctl.inventory import saving
from opsctl.inventory.document import canonical, decode, encode_quarantined
from opsctl.model.host import Inventory

if TYPE_CHECKING:
    from opsctl.config import Settings

FILE = "inventory.json"
# Below this many bytes of YAML parsing is quick, and a second copy would only be one more thing to wonder about.
WORTH_IT = 100_000


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """SHA-256 over names and bytes of the files, and how large they are together."""

    sha256: str
    size: int


def fingerprint(files: Iterable[Path], texts: Mapping[Path, str] = MappingProxyType({})) -> Fingerprint:
    """Of the files as they lie there; those of `texts` as they will be."""
    total = hashlib.sha256(f"opsctl {__version__} format 3\0".encode())
    size = 0
    for file in files:
        try:
            found = texts[file].encode() if file in texts else file.read_bytes()
        except OSError:
            found = b""  # the parser says what is wrong with it
        size += len(found)
        total.update(f"{file.parent.name}/{file.name}\0{len(found)}\0".encode())
        total.update(found)
    return Fingerprint(sha256=total.hexdigest(), size=size)


def recall(settings: Settings, files: Fingerprint) -> Inventory | None:
    """The parsed copy of exactly these files, or None."""
    if files.size < WORTH_IT:
        return None
    try:
        found = saving.recall(settings.state / FILE)
        if found["files"] != files.sha256:
            return None
        return decode({**found["inventory"], "quarantined": found["quarantined"]}, found["digest"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def remember(settings: Settings, files: Fingerprint, inventory: Inventory, content: str = "") -> None:
    """Write the parsed copy, `content` its canonical text where it is known; only into a state folder that is there."""
    if files.size < WORTH_IT or not settings.state.is_dir():
        return
    aside = encode_quarantined(inventory.quarantined)
    head = json.dumps({"files": files.sha256, "digest": inventory.digest, "quarantined": aside}, ensure_ascii=False)
    # The text that the digest was made of, as it is: making it again costs as much as reading NetBox's.
    text = content or canonical(inventory.tenants, inventory.hosts)
    saving.keep(settings.state / FILE, f'{head[:-1]}, "inventory": {text}}}')
