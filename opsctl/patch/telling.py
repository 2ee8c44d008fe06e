"""Sends, shows or writes the word to service owners ahead of a rollout, and enters it in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from opsctl.config import Settings
from opsctl.errors import Refused
from opsctl.inventory import calendars
from opsctl.model.rollout import Plan
from opsctl.patch import ahead
from opsctl.patch.ahead import Word
from opsctl.report import exports
from opsctl.rollout import targets
from opsctl.rollout.means import Means
from opsctl.rollout.notice import Occasion
from opsctl.rollout.notify import Delivery
from opsctl.rollout.telling import told_now


def words(means: Means, plan: Plan) -> tuple[Word, ...]:
    """What each owner is told, by the calendars as they are now. Raises UnknownName for a host that is gone."""
    now, settings = means.clock(), means.settings
    hours = calendars.load(settings, means.inventory, now)
    return ahead.ahead(plan, means.inventory, hours, now, settings.texts("report.languages"), settings.own_content)


def refuse_nobody(settings: Settings) -> None:
    """Raise Refused where opsctl.yml says of nobody that he is told ahead; ConfigError for routes with faults."""
    if not any(Occasion.AHEAD in route.words.get("event", ()) for route in targets.routes(settings)):
        raise Refused(
            "no route of notify.routes names event:ahead, so nobody would be told",
            hint='in opsctl.yml: notify: {routes: ["event:ahead = TARGET"]}; or write the mails: --to DIR',
        )


def row(word: Word) -> tuple[object, ...]:
    first, down = min(turn.begin for turn in word.turns), sum(turn.down for turn in word.turns)
    hosts = ", ".join(turn.host.key for turn in word.turns)
    return (word.owner or "(nobody)", hosts, f"{first:%Y-%m-%d %H:%MZ}", f"{down} of {len(word.turns)} hosts")


def document(word: Word) -> dict[str, object]:
    return {
        "owner": word.owner,
        "hosts": [
            {
                "host": turn.host.key, "services": [service.name for service in turn.host.services],
                "begins": turn.begin, "ends": turn.end, "minutes": ahead.minutes(turn.takes),
                "down": turn.down, "down_seconds": int(turn.away.total_seconds()), "reboot": turn.reboot,
            }
            for turn in word.turns
        ],
    }  # fmt: skip


def send(means: Means, plan: Plan, told: Sequence[Word]) -> tuple[list[Delivery], str]:
    """Tell each owner now; every attempt, and the ledger's head. A target that fails is no error here."""
    made: list[Delivery] = []
    with means.ledger.act("patch notify", _hosts(told), _detail(plan, told), means.who, means.clock) as act:
        made += told_now(means.settings, means.store, [word.notice for word in told], means.clock)
        failed = sorted({f"{one.target}: {one.why}" for one in made if one.why})
        act.outcome = "incomplete" if failed or not made else "ok"
        act.detail |= {"delivered": sum(not one.why for one in made), "failed": failed}
    return made, str(act.head)


def write(means: Means, plan: Plan, told: Sequence[Word], folder: Path) -> tuple[list[tuple[Path, str]], str]:
    """Write mails and calendar files instead; each with its SHA-256, and the ledger's head."""
    with means.ledger.act("patch notify", _hosts(told), _detail(plan, told), means.who, means.clock) as act:
        files = exports.put(dict(ahead.as_files(told)), folder)
        act.detail["files"] = {file.name: digest for file, digest in files}
    return files, str(act.head)


def _hosts(told: Iterable[Word]) -> list[str]:
    return [turn.host.key for word in told for turn in word.turns]


def _detail(plan: Plan, told: Iterable[Word]) -> dict[str, object]:
    return {"plan": plan.id, "plan_hash": plan.hash, "owners": [word.owner for word in told]}
