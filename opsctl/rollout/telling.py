"""Notifications of a rollout, put together from its means: what could not be told is shown once, and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from opsctl.config import Settings
from opsctl.model.host import Inventory
from opsctl.model.rollout import RolloutState
from opsctl.rollout import occasions
from opsctl.rollout.deliver import deliver
from opsctl.rollout.journal import NOTIFIED, Journal
from opsctl.rollout.means import Means
from opsctl.rollout.notice import Notice
from opsctl.rollout.notify import Deliver, Delivery, Notifier, notifying
from opsctl.rollout.parts import Progress
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


def told_now(
    settings: Settings,
    store: Store,
    notices: Sequence[Notice],
    clock: Callable[[], datetime],
    *,
    send: Deliver = deliver,
) -> list[Delivery]:
    """Tell everybody who wants these notices, now, waiting a bounded time; each attempt, which is kept too.

    For those who have no rollout of their own under way.
    """
    made: list[Delivery] = []

    def keep(delivery: Delivery) -> None:
        made.append(delivery)
        note(store, delivery)

    patience = float(settings.number("notify.timeout") * (len(notices) + 1))
    notifier = Notifier(
        settings, store.redactor, clock=clock, say=lambda _text: None, keep=keep, send=send, patience=patience
    )
    with notifying(notifier) as tell:
        for notice in notices:
            tell(notice)
    return made


def told_of_a_stop(
    settings: Settings, store: Store, state: RolloutState, inventory: Inventory, clock: Callable[[], datetime],
    *, send: Deliver = deliver,
) -> list[Delivery]:  # fmt: skip
    """Tell that a rollout was paused or aborted while no process was at it, which would have told of it itself.

    Nobody is told of a plan that never began, but where somebody was told of it ahead.
    """
    heard = state.started_at is not None or bool(Journal(store).log.of(state.plan.id, kind=NOTIFIED))
    return told_now(settings, store, [occasions.ended(state, inventory)] if heard else [], clock, send=send)
