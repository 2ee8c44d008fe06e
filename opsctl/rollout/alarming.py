"""Tells people of alarms, by the notifications with which rollouts tell of themselves: each once an hour."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from opsctl.config import Settings
from opsctl.model.host import Inventory
from opsctl.rollout.deliver import deliver
from opsctl.rollout.journal import NOTIFIED, Journal
from opsctl.rollout.notice import Notice, Occasion
from opsctl.rollout.notify import Deliver, Delivery
from opsctl.rollout.occasions import about
from opsctl.rollout.telling import told_now
from opsctl.rollout.watchdog import Alarm
from opsctl.state.store import Store

AGAIN = timedelta(hours=1)


def tell(
    alarms: Iterable[Alarm],
    *,
    settings: Settings,
    store: Store,
    inventory: Inventory,
    now: datetime,
    send: Deliver = deliver,
) -> list[Delivery]:
    """Send each alarm that nobody was told of within the last hour; every attempt, which is kept with its rollout."""
    wanted = [_notice(alarm, store, inventory) for alarm in alarms if not _told_lately(store, alarm.rollout, now)]
    return told_now(settings, store, wanted, lambda: now, send=send)


def _told_lately(store: Store, rollout: str, now: datetime) -> bool:
    """Whether somebody was reached; an attempt that failed is made again at the next look.

    What was told before the rollout was begun or taken up again was told of another process.
    """
    journal = Journal(store)
    told, since = journal.log.of(rollout, kind=NOTIFIED), journal.load(rollout).at
    return any(
        one.detail.get("occasion") == Occasion.STALLED and not one.detail.get("why")
        for one in told
        if one.at >= since and now - one.at < AGAIN
    )


def _notice(alarm: Alarm, store: Store, inventory: Inventory) -> Notice:
    known = {host.key: host for host in inventory}
    states = Journal(store).load(alarm.rollout).hosts
    return Notice(
        occasion=Occasion.STALLED,
        subject=f"opsctl: {alarm.rollout} is {alarm.kind}",
        rollout=alarm.rollout,
        lines=(f"run: {alarm.next}", f"read: {alarm.read}"),
        whole=(alarm.told,),
        hosts=tuple(
            about(one.host, known.get(one.host), state=str(one.stage), text="still DRAINED" if one.drained else "")
            for one in states
        ),
    )
