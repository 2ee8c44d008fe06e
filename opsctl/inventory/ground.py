"""Whether the inventory has moved under a rollout, which goes on with its own copy all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsctl.errors import InventoryError
from opsctl.inventory import files

if TYPE_CHECKING:
    from opsctl.config import Settings


class Ground:
    """The written inventory, against the digest of the one that a plan was made from."""

    def __init__(self, settings: Settings, digest: str) -> None:
        self._settings, self._digest = settings, digest
        self._seen: object = None
        self._told = False

    def has_moved(self) -> bool:
        """Is it another one now, or none that can be read?"""
        try:
            return files.load(self._settings).digest != self._digest
        except InventoryError:
            return True

    def just_moved(self) -> bool:
        """True at the first look after it moved, and then never again; quick where no file was touched."""
        if self._told or (touched := self._touched()) == self._seen:
            return False
        self._seen = touched
        self._told = self.has_moved()
        return self._told

    def _touched(self) -> object:
        found = []
        for file in files.copied_files(self._settings.inventories):
            try:
                stat = file.stat()
                found.append((file, stat.st_ino, stat.st_size, stat.st_mtime_ns))
            except OSError:
                found.append((file, 0, 0, 0))
        return found
