"""Tells whom opsctl.yml names with `event:audit` of a run's head: auditors and partners who keep it."""

from __future__ import annotations

from opsctl.config import Settings
from opsctl.rollout import targets
from opsctl.rollout.deliver import deliver
from opsctl.rollout.notice import Notice, Occasion, letter
from opsctl.rollout.notify import Deliver
from opsctl.state.redaction import Redactor


def wanted(settings: Settings) -> bool:
    """Whether a route asks for heads. Raises ConfigError for a route that cannot be read."""
    return any(Occasion.AUDIT in route.words.get("event", ()) for route in targets.routes(settings))


def tell(run: str, text: str, settings: Settings, redactor: Redactor, *, send: Deliver = deliver) -> dict[str, str]:
    """Send the head to each target; why it was not sent, or empty, by target. Raises ConfigError, never an address."""
    subject = f"opsctl: head of compliance run {run}"
    notice = Notice(occasion=Occasion.AUDIT, subject=subject, lines=tuple(text.splitlines()))
    book, seconds = targets.load(settings, redactor), float(settings.number("notify.timeout"))
    return {
        route.target: send(book.addresses(route.target), letter(notice, route), seconds)
        for route in book.routes_for(notice)
    }
