"""How a rollout of any kind stands, for people and programs: once, or until it rests."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opsctl.cli.app import GROUND_MOVED
from opsctl.cli.output import as_json, height, line, note, redraws, screen, table
from opsctl.model import wire
from opsctl.model.rollout import Status
from opsctl.rollout import lines, shown, standing
from opsctl.rollout.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opsctl.cli.app import App
    from opsctl.model.rollout import Plan
    from opsctl.rollout.looking import Looking
    from opsctl.rollout.standing import Standing

FOLLOW_SECONDS = 0.5
REHEARSED = "patch"  # the one kind of plan that can be rehearsed


def status(
    app: App, kind: str, rollout_id: str | None, *, output: str, watch: bool = False, exit_code: bool = False
) -> None:
    """How one rollout of this kind stands, once or until it rests; without a name the list of them."""
    journal = Journal(app.store)
    if rollout_id is None and not watch:
        _listing(app, journal, kind, output)
        return
    look = looking(app).at(_named(journal, kind, rollout_id))
    if watch:
        with _left_alone(kind, look.state.plan.id):
            look = watched(app, look.state.plan.id)
    elif output == "json":
        as_json(standing_document(app, look))
    else:
        table(shown.HOST_COLUMNS, shown.host_rows(look.state))
        for text in told(app, look):
            line(text)
        if moved(app, look):
            note(f"{GROUND_MOVED}; the plan stays as it was frozen")
    if watch or exit_code:
        standing.raise_by_standing(look)


def attach(app: App, kind: str, rollout_id: str) -> None:
    """Show a rollout's progress until it ends; whoever leaves does not stop it."""
    from opsctl.errors import Refused

    journal = Journal(app.store)
    state = journal.load(rollout_id, kind=kind)
    plan = state.plan.id
    if state.status is Status.PLANNED and not (journal.at_work(plan) or journal.waiter(plan)):
        raise Refused(f"{plan} has not begun: there is nothing to follow", hint=lines.begin(state.plan))
    with _left_alone(kind, plan):
        look = follow_lines(app, plan)
    standing.raise_by_standing(look)


@contextmanager
def _left_alone(kind: str, plan: str) -> Iterator[None]:
    """Within: somebody looks on, and whoever leaves is told that nothing is stopped by that."""
    from opsctl.errors import Interrupted

    try:
        yield
    except KeyboardInterrupt:
        told = f"you left; {plan} is not stopped by that"
        raise Interrupted(told, hint=f"opsctl {kind} attach {plan}; to stop it: opsctl {kind} pause {plan}") from None


def _named(journal: Journal, kind: str, rollout_id: str | None) -> str:
    """The rollout that is meant: where none is named, the one at work, or the newest that is not over."""
    from opsctl.rollout.named import newest_going

    if rollout_id is not None:
        return journal.load(rollout_id, kind=kind).plan.id
    found = journal.all(kind)
    busy = [one.plan.id for one in found if journal.at_work(one.plan.id) or journal.waiter(one.plan.id)]
    return newest_going(found, busy).plan.id


def _listing(app: App, journal: Journal, kind: str, output: str) -> None:
    found = [(one, journal.at_work(one.plan.id), rehearsal_of(app, one.plan)) for one in journal.all(kind)]
    if output == "json":
        as_json({"rollouts": [{**shown.summary(one, busy), **summary} for one, busy, (_, summary) in found]})
        return
    tried = ("rehearsed",) if kind == REHEARSED else ()
    rows = [(*shown.rollout_row(one, busy), *map(_outcome, summary.values())) for one, busy, (_, summary) in found]
    table((*shown.ROLLOUT_COLUMNS, *tried), rows, empty="no plans yet")


def _outcome(summary: object) -> str:
    return str(summary["outcome"]) if isinstance(summary, dict) else ""


def rehearsal_of(app: App, plan: Plan) -> tuple[list[str], dict[str, object]]:
    """Whether a plan was rehearsed, as a line and as a member of JSON; neither where its kind cannot be."""
    if plan.kind != REHEARSED:
        return [], {}
    from opsctl.patch import rehearsal

    found = rehearsal.load(app.store, plan)
    return [rehearsal.told(found)], {"rehearsal": rehearsal.summary(found)}


def told(app: App, look: Standing) -> list[str]:
    """The lines under the hosts of a rollout."""
    return [*standing.told(look), *rehearsal_of(app, look.state.plan)[0]]


def looking(app: App) -> Looking:
    from opsctl.rollout.looking import Looking

    return Looking(store=app.store, settings=app.settings, clock=app.now)


def moved(app: App, look: Standing) -> bool:
    """Whether the inventory has changed under a rollout that is not over."""
    return bool(look.state.open_hosts) and app.ground(look.state.plan.inventory_digest).has_moved()


def standing_document(app: App, look: Standing) -> dict[str, object]:
    """What `status --output json` says of one rollout."""
    return {
        **shown.document(look.state, look.busy),
        "standing": look.words,
        "place": standing.place(look.state),
        "blocks": standing.blocks(look),
        "next": standing.next_up(look.state),
        "go_on": look.go_on,
        "frozen": look.frozen,
        "starts": look.starts,
        "inventory_moved": moved(app, look),
        "window_left": look.left,
        "kept_until": look.kept,
        "probing": shown.probing_document(look.probed),
        "approval": wire.as_document(look.approval),
        **rehearsal_of(app, look.state.plan)[1],
    }


def watched(app: App, rollout: str) -> Standing:
    """Follow a rollout until it rests: a screen on a terminal, dated lines elsewhere. How it stands then."""
    return _screen(app, rollout) if redraws() else follow_lines(app, rollout)


def _screen(app: App, rollout: str) -> Standing:
    with screen() as draw:
        for look in _follow(app, rollout):
            lines_under = told(app, look)
            rows, hidden = standing.watched(look, height() - len(lines_under) - 6)
            draw(standing.WATCH_COLUMNS, rows, [*([hidden] if hidden else []), *lines_under])
    return look


def follow_lines(app: App, rollout: str) -> Standing:
    """The same as dated lines on stdout: each step once, and how it stands in the end."""
    from opsctl.rollout.follow import changes

    before = None
    for look in _follow(app, rollout):
        for step in changes(before, look.state):
            line(f"{step.at:%Y-%m-%dT%H:%M:%SZ} {step.host + ': ' if step.host else ''}{step.text}")
        before = look.state
    for text in told(app, look):
        line(text)
    return look


def _follow(app: App, rollout: str) -> Iterator[Standing]:
    from opsctl.rollout.follow import follow

    eyes, took = looking(app), 0.0

    def look() -> Standing:
        nonlocal took
        began = time.monotonic()
        found = eyes.at(rollout)
        took = time.monotonic() - began
        return found

    # A large rollout takes its time to read: a watch never takes a processor for itself.
    return follow(look, lambda: time.sleep(max(FOLLOW_SECONDS, 5 * took)))
