"""New texts in the place of old copies: none is replaced before all are on disk, and nobody ever reads half of one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from opsctl.errors import OpsctlError
from opsctl.state.filesystem import to_disk


def replace_all(texts: Mapping[Path, str]) -> None:
    """Put every new text beside its file, flushed to disk; only when all of them stand, replace the files.

    Raises OpsctlError (disk full); the caller is the only one who writes them.
    """
    fresh = {path: path.with_name(f".{path.name}.{secrets.token_hex(4)}") for path in texts}
    try:
        for path in texts:  # of one that was killed
            for litter in path.parent.glob(f".{path.name}.{'[0-9a-f]' * 8}"):
                litter.unlink()
        for path, beside in fresh.items():
            with beside.open("x", encoding="utf-8") as file:
                file.write(texts[path])
                file.flush()
                os.fsync(file.fileno())
        for path, beside in fresh.items():
            beside.replace(path)
            to_disk(path.parent)
    except OSError as error:
        raise OpsctlError(
            f"the inventory could not be written: {error}", hint="make room or mend the permissions, then sync again"
        ) from error
    finally:
        for beside in fresh.values():
            beside.unlink(missing_ok=True)
