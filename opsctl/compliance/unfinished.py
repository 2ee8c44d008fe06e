"""The report of a run that never came to its end, written down before the run asks any host.

It lies beside the store as long as the run goes on, locked by the process that runs it. A process that is killed leaves
it behind, and its lock ends with it: a file that nobody has locked is about a run that will not go on.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from opsctl.compliance.assess import Order, nothing_judged
from opsctl.config import Settings
from opsctl.model.finding import Assessment
from opsctl.model.host import Inventory

FOLDER = "comply-unfinished"
CUT_OFF = "the run did not come to its end: opsctl crashed or was killed; what it had judged by then is lost"


def cut_off(
    order: Order, *, inventory: Inventory, settings: Settings, at: datetime, last_good: Mapping[str, datetime]
) -> Assessment:
    """What is true of a run that began at `at` and is never heard of again."""
    return nothing_judged(order, inventory=inventory, settings=settings, reason=CUT_OFF, at=at, last_good=last_good)


@contextmanager
def set_aside(state: Path, run_id: str, document: str) -> Iterator[None]:
    """Keep the document while the block goes on; it stays where the block ends by an exception or not at all."""
    folder = state / FOLDER
    folder.mkdir(mode=0o770, exist_ok=True)
    place, part = folder / f"{run_id}.json", folder / f".{run_id}.part"
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.write(document)
        stream.flush()
        os.fsync(stream.fileno())
        part.rename(place)
        yield
        place.unlink(missing_ok=True)


def left_behind(state: Path) -> Iterator[tuple[str, str]]:
    """Run and document of each file that no living process holds; it is removed once the caller asks for the next."""
    for place in sorted((state / FOLDER).glob("*.json")):
        try:
            handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue  # another command was faster, or it is not ours to read
        with os.fdopen(handle, encoding="utf-8", errors="replace") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield place.stem, stream.read()
            place.unlink(missing_ok=True)
