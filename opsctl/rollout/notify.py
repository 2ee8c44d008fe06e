"""Tells people how a rollout goes, and never stands in its way.

`tell` puts a notice into a queue and returns at once. One thread finds the addresses and hands each notice to the
thread of each target, so that one which hangs keeps nobody else waiting. `close` waits a bounded time for what is under
way; what then has no answer is given up. A target's first failure is said once, and each attempt stands in the
rollout's record.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime

from opsctl.config import Settings
from opsctl.errors import OpsctlError
from opsctl.rollout import targets
from opsctl.rollout.deliver import deliver
from opsctl.rollout.notice import Letter, Notice, Route, letter
from opsctl.state.redaction import Redactor

Deliver = Callable[[tuple[str, ...], Letter, float], str]
_AT_ONCE = 200  # notices that wait for one target; a rollout has far fewer


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One attempt to tell one target; `why` it was not told, or empty where it was."""

    target: str
    occasion: str
    rollout: str
    at: datetime
    why: str = ""


def nobody(_notice: Notice) -> None:
    """The seam where nobody is told."""


class Notifier:
    """Sends the notices of one rollout. `say` shows a line of progress, `keep` writes an attempt into the record.

    `patience`: so many seconds are waited for at the end, by default `notify.timeout`.
    """

    def __init__(
        self,
        settings: Settings,
        redactor: Redactor,
        *,
        clock: Callable[[], datetime],
        say: Callable[[str], None],
        keep: Callable[[Delivery], None],
        send: Deliver = deliver,
        patience: float | None = None,
    ) -> None:
        self._settings, self._redactor, self._clock = settings, redactor, clock
        self._say, self._keep, self._send = say, keep, send
        self._seconds = float(settings.number("notify.timeout"))
        self._patience = self._seconds if patience is None else patience
        self._notices: queue.SimpleQueue[Notice | None] = queue.SimpleQueue()
        self._lanes: dict[str, _Lane] = {}
        self._failed: set[str] = set()
        self._guard = threading.Lock()
        self._over = False
        self._thread: threading.Thread | None = None

    def tell(self, notice: Notice) -> None:
        """Have a notice sent; returns at once and never raises. Nothing happens where opsctl.yml names no route."""
        if not self._settings.texts("notify.routes"):
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._dispatch, name="notify", daemon=True)
            self._thread.start()
        self._notices.put(notice)

    def close(self) -> None:
        """Wait, for a bounded time, until everything is sent; the rest is given up, and said."""
        if self._thread is None:
            return
        until = time.monotonic() + self._patience
        self._notices.put(None)
        with suppress(KeyboardInterrupt):  # whoever has waited long enough may leave: the rollout itself has ended
            self._thread.join(max(0.0, until - time.monotonic()))
            for lane in list(self._lanes.values()):
                lane.thread.join(max(0.0, until - time.monotonic()))
        with self._guard:
            self._over = True
        for notice in _left(self._notices):
            self._note(self._delivery("targets", notice, self._no_answer()))
        for lane in list(self._lanes.values()):
            for notice in lane.unsent():
                self._note(self._delivery(lane.name, notice, self._no_answer()))

    def _no_answer(self) -> str:
        return f"given up: no answer within {self._patience:g} s"

    def _dispatch(self) -> None:
        book, fault = _opened(self._settings, self._redactor)
        while (notice := self._notices.get()) is not None:
            if book is None:
                self._done(self._delivery("targets", notice, fault))
                continue
            for route in book.routes_for(notice):
                self._lane(route.target, book).put(notice, route)
        for lane in self._lanes.values():
            lane.end()

    def _cleaned(self, addresses: tuple[str, ...], text: Letter, seconds: float) -> str:
        redacted = self._redactor.text(text.body)
        return self._send(addresses, replace(text, body=redacted, title=self._redactor.text(text.title)), seconds)

    def _lane(self, target: str, book: targets.Book) -> _Lane:
        if target not in self._lanes:

            def send(notice: Notice, route: Route) -> str:
                return send_to(book, route, notice, self._seconds, self._cleaned)

            self._lanes[target] = _Lane(target, send, lambda n, why: self._done(self._delivery(target, n, why)))
        return self._lanes[target]

    def _delivery(self, target: str, notice: Notice, why: str) -> Delivery:
        return Delivery(target=target, occasion=str(notice.occasion), rollout=notice.rollout, at=self._clock(), why=why)

    def _done(self, delivery: Delivery) -> None:
        with self._guard:
            if self._over:
                return  # it was given up, and the store may be closed
            self._note(delivery)

    def _note(self, delivery: Delivery) -> None:
        with suppress(Exception):  # a full disk stops the rollout where it saves its states, not here
            self._keep(delivery)
        if delivery.why and delivery.target not in self._failed:
            self._failed.add(delivery.target)
            with suppress(Exception):
                self._say(f"notification to {delivery.target}: {delivery.why}; the rollout itself goes on")


class _Lane:
    """The notices of one target, one after the other, in a thread of their own."""

    def __init__(self, name: str, send: Callable[[Notice, Route], str], done: Callable[[Notice, str], None]) -> None:
        self.name = name
        self._send, self._done = send, done
        self._waiting: queue.Queue[tuple[Notice, Route] | None] = queue.Queue(_AT_ONCE)
        self._now: Notice | None = None
        self.thread = threading.Thread(target=self._work, name=f"notify {name}", daemon=True)
        self.thread.start()

    def put(self, notice: Notice, route: Route) -> None:
        try:
            self._waiting.put_nowait((notice, route))
        except queue.Full:
            self._done(notice, "given up: too many wait for this target")

    def end(self) -> None:
        with suppress(queue.Full):
            self._waiting.put_nowait(None)

    def unsent(self) -> Iterator[Notice]:
        """What this lane will not get to any more, the one under way first."""
        if not self.thread.is_alive():
            return
        if (now := self._now) is not None:
            yield now
        with suppress(queue.Empty):
            while True:
                if (waiting := self._waiting.get_nowait()) is not None:
                    yield waiting[0]

    def _work(self) -> None:
        while (given := self._waiting.get()) is not None:
            self._now = given[0]
            self._done(given[0], self._send(*given))
            self._now = None


def _left(notices: queue.SimpleQueue[Notice | None]) -> Iterator[Notice]:
    """The notices that nobody has looked at: the addresses are still being asked for."""
    with suppress(queue.Empty):
        while True:
            if (notice := notices.get_nowait()) is not None:
                yield notice


def send_to(book: targets.Book, route: Route, notice: Notice, seconds: float, send: Deliver = deliver) -> str:
    """Tell one target now; empty, or why not. Never raises. Where its address is the owner's, each owner by itself."""
    if not book.by_owner(route.target):
        return send(book.addresses(route.target), letter(notice, route), seconds)
    owners = sorted({about.owner for about in route.hosts(notice)})
    if not owners:
        return "it speaks of no host, and so of no owner"
    whys = []
    for owner in owners:
        try:
            addresses = book.addresses(route.target, owner)
        except OpsctlError as error:
            whys.append(error.message)
            continue
        one = Route(target=route.target, words={**route.words, "owner": (owner,)})
        whys.append(send(addresses, letter(notice, one), seconds))
    return "; ".join(dict.fromkeys(filter(None, whys)))


def _opened(settings: Settings, redactor: Redactor) -> tuple[targets.Book | None, str]:
    try:
        return targets.load(settings, redactor), ""
    except OpsctlError as error:
        return None, error.message
    except Exception as error:  # noqa: BLE001 - nothing about notifications may end a rollout
        return None, f"the addresses cannot be read: {type(error).__name__}"


@contextmanager
def notifying(notifier: Notifier) -> Iterator[Callable[[Notice], None]]:
    """The seam of a piece of work: what it tells is sent meanwhile, and waited for at its end, however it ends."""
    try:
        yield notifier.tell
    finally:
        notifier.close()
