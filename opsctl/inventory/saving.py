"""What only saves time, kept in the state folder: it can be lost or deleted at any time, and is no source.

It may hold whatever NetBox said, half characters too, which UTF-8 has no writing for.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any


def keep(file: Path, text: str) -> bool:
    """Put the text there in one step, for its owner alone. False where nobody can: no room, no such folder."""
    with contextlib.suppress(OSError):
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="surrogatepass") as opened:
                opened.write(text)
            Path(name).replace(file)
        except OSError:
            Path(name).unlink(missing_ok=True)
        else:
            return True
    return False


def recall(file: Path) -> Any:
    """The JSON that was kept there. Raises OSError, ValueError or RecursionError where none can be read."""
    return json.loads(file.read_text(encoding="utf-8", errors="surrogatepass"))
