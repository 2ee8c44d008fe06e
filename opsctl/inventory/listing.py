"""Whole listings of one NetBox, cut by ids into parts of about a page and read two requests at a time.

The server is the limit: more at once make it slower, and one after another leaves it idle while we read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Self, TypeVar

from opsctl.inventory.netbox import NetBox, Query, Row, Server

AT_ONCE = 2
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Part:
    """The rows of a listing from id `start` on, as far as the filters of `query` let them through."""

    start: int
    query: Query


class Reading:
    """What is asked for is read in that order. Leaving the block with an error gives up what was not begun."""

    def __init__(self, netbox: NetBox, server: Server) -> None:
        self._page, self._server = netbox.page_size, server
        # NetBox's own server ties a connection to one of its processes: two parts that met in the same one would wait
        # for each other. What speaks TLS in front of it spreads requests itself, and such a connection is dear.
        self._anew = netbox.address.startswith("http:")
        self._idle: SimpleQueue[NetBox] = SimpleQueue()
        for _ in range(AT_ONCE):
            self._idle.put(netbox.twin())
        self._pool = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="netbox")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        while not self._idle.empty():
            self._idle.get().close()

    @contextmanager
    def _session(self) -> Iterator[NetBox]:
        """A session that no other thread has."""
        netbox = self._idle.get()
        try:
            yield netbox
        finally:
            if self._anew:
                netbox.close()  # its connection; the session opens another one
            self._idle.put(netbox)

    def cut(self, path: str, query: Query) -> Future[tuple[Part, ...]]:
        """How the listing is cut. Without a cursor it stays whole: an offset means nothing between ids."""
        return self._pool.submit(self._cut, path, query)

    def rows(self, path: str, parts: tuple[Part, ...], fields: str, take: Callable[[Row], T]) -> Iterator[list[T]]:
        """What `take` makes of the rows of each part: asked for at once, waited for when it is iterated over."""
        asked = [self._pool.submit(self._read, path, part, fields, take) for part in parts]
        return (part.result() for part in asked)

    def count(self, path: str, query: Query) -> Future[int]:
        """How many rows the listing has."""
        return self._pool.submit(self._count, path, query)

    def _cut(self, path: str, query: Query) -> tuple[Part, ...]:
        if not self._server.cursor:
            return (Part(start=0, query=query),)
        with self._session() as netbox:
            count, top = netbox.extent(path, query)
        pieces = count // self._page + 1
        starts = [1 + top * number // pieces for number in range(pieces)]
        ends = [{"id__lt": start} for start in starts[1:]]
        # The last part is open: what is made meanwhile belongs to it.
        return tuple(Part(start=start, query={**query, **end}) for start, end in zip(starts, [*ends, {}], strict=True))

    def _read(self, path: str, part: Part, fields: str, take: Callable[[Row], T]) -> list[T]:
        query: Query = {**part.query, "fields": fields}
        with self._session() as netbox:
            return [take(row) for row in netbox.rows(path, query, cursor=self._server.cursor, start=part.start)]

    def _count(self, path: str, query: Query) -> int:
        with self._session() as netbox:
            return netbox.count(path, query)
