"""Where fencing tokens begin, so that they rise across the stores of one installation too.

A host remembers the highest token that it saw. A store that was brought back from a backup, or made anew after a loss,
knows nothing of the tokens that were given since; so it begins at the seconds since 2020, which no counter reaches that
rises by one for a lease. Of two stores the one that was made or restored later wins on every host that it has touched:
the earlier one's runs are refused there, never the other way round.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

# The row of the table `fences` that stands for every name.
FLOOR = ""
_BEGAN = datetime(2020, 1, 1, tzinfo=UTC)


def raise_floor(connection: sqlite3.Connection, now: datetime) -> int:
    """Put the floor of a new or restored store above every token that can have been given before; the new floor."""
    given = connection.execute("SELECT COALESCE(MAX(last), 0) FROM fences").fetchone()[0]
    floor = max(int(given) + 1, int((now - _BEGAN).total_seconds()))
    connection.execute(
        "INSERT INTO fences (name, last) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET last = excluded.last",
        (FLOOR, floor),
    )
    return floor
