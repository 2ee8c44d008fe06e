"""Notifications of a rollout, put together from its means: what could not be told is shown once, and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from opsctl.rollout.drive import Progress
from opsctl.rollout.journal import NOTIFIED, Journal
from opsctl.rollout.means import Means
from opsctl.rollout.notice import Notice
from opsctl.rollout.notify import Delivery, Notifier, notifying
from opsctl.state.store import Store


@contextmanager
def telling(means: Means, observe: Callable[[Progress], None]) -> Iterator[Callable[[Notice], None]]:
    """The seam of one rollout; at its end what is under way is waited for, a bounded time."""
    notifier = Notifier(
        means.settings,
        means.store.redactor,
        clock=means.clock,
        say=lambda text: observe(Progress(host="", text=text, at=means.clock())),
        keep=lambda delivery: note(means.store, delivery),
    )
    with notifying(notifier) as tell:
        yield tell


def note(store: Store, delivery: Delivery) -> None:
    """Keep an attempt to tell somebody in the rollout's own log."""
    detail = {"target": delivery.target, "occasion": delivery.occasion, "why": delivery.why}
    Journal(store).log.add(delivery.rollout, NOTIFIED, detail, delivery.at)


def told_now(means: Means, notices: Sequence[Notice]) -> list[Delivery]:
    """Tell everybody who wants these notices, now, waiting a bounded time; each attempt, which is kept too.

    For those who have no rollout of their own under way.
    """
    made: list[Delivery] = []

    def keep(delivery: Delivery) -> None:
        made.append(delivery)
        note(means.store, delivery)

    seconds = means.settings.number("notify.timeout")
    notifier = Notifier(
        means.settings,
        means.store.redactor,
        clock=means.clock,
        say=lambda _text: None,
        keep=keep,
        patience=float(seconds * (len(notices) + 1)),
    )
    with notifying(notifier) as tell:
        for notice in notices:
            tell(notice)
    return made
