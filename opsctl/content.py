"""Where the content lies: playbooks, roles, templates and compliance checks, in a wheel or in a clone.

A workspace uses its own content only where opsctl.yml says `content: ./`; then its roles and playbooks replace ours
as whole folders, never file by file.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from opsctl.errors import ConfigError

FOLDERS = ("playbooks", "roles", "templates", "tests/compliance")


@cache
def shipped() -> Path:
    """The folder that holds the content which came with this package."""
    package = Path(__file__).resolve().parent
    for root in (package / "_content", package.parent):
        if (root / "playbooks").is_dir() and (root / "roles").is_dir():
            return root
    raise ConfigError("the playbooks and roles of this installation are missing", hint="install the opsctl wheel again")


def folder(name: str, own: Path | None = None) -> Path:
    """A content folder; `own` is the workspace's content root, where it has one that holds this folder."""
    if own is not None and (own / name).is_dir():
        return own / name
    return shipped() / name


def digest(own: Path | None = None) -> str:
    """SHA-256 over every content file in use: names and bytes, in a fixed order."""
    total = hashlib.sha256()
    for name in FOLDERS:
        base = folder(name, own)
        for file in sorted(base.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                total.update(f"{name}/{file.relative_to(base)}\0".encode())
                total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def overrides(own: Path | None) -> dict[str, str]:
    """Every playbook and role that the workspace puts in place of ours, with the SHA-256 of its files."""
    found: dict[str, str] = {}
    if own is None:
        return found
    for name in ("playbooks", "roles"):
        for entry in sorted((own / name).iterdir()) if (own / name).is_dir() else ():
            total = hashlib.sha256()
            for file in [entry] if entry.is_file() else sorted(p for p in entry.rglob("*") if p.is_file()):
                total.update(file.read_bytes())
            found[f"{name}/{entry.name}"] = total.hexdigest()
    return found
