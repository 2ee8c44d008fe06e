"""`opsctl patch`: security updates, planned exactly, rolled out ring by ring, followed and resumed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from opsctl.cli.app import App, dry_run_option, output_option, pass_app, select, selection_options, yes_option
from opsctl.cli.output import as_json, line, note, progress, table
from opsctl.errors import OpsctlError

if TYPE_CHECKING:
    from opsctl.model.rollout import HostPlan, Plan, RolloutState
    from opsctl.patch.pending import Pending, Readings
    from opsctl.patch.run import Means
    from opsctl.rollout.drive import Progress
    from opsctl.rollout.execute import Ended

refresh_option = click.option("--refresh", is_flag=True, help="Fetch the package lists on the hosts first.")


@click.group("patch")
def command() -> None:
    """Security updates: plan, roll out, follow."""


@command.command()
@selection_options
@refresh_option
@output_option
@pass_app
def pending(app: App, /, *, refresh: bool, output: str, **selection: tuple[str, ...]) -> int:
    """List the updates that wait on each host. Exit code 1: a host could not be read."""
    from opsctl.patch import pending as room
    from opsctl.patch import run

    hosts, means = select(app, selection), _means(app)
    readings = run.refresh(means, hosts) if refresh else room.read(means.transport, hosts, means.store, means.clock)
    failed = [key for key, reading in readings.items() if isinstance(reading, OpsctlError)]
    if output == "json":
        as_json({"hosts": [_reading(key, one) for key, one in readings.items()]}, outcome=_word(failed, readings))
    else:
        columns = ("host", "updates", "security", "reboot", "lists", "remarks")
        table(columns, [_pending_row(key, one) for key, one in readings.items()])
        line(f"{len(readings)} hosts: {len(readings) - len(failed)} read, {len(failed)} not")
    return 1 if failed else 0


@command.command()
@selection_options
@click.option("--security-only", is_flag=True, help="Only security updates, and what they need.")
@click.option("--max-parallel", type=click.IntRange(1), help="Hosts changed at once.  [default: patch.max_parallel]")
@click.option("--budget", type=click.IntRange(1), help="Failed hosts that halt it.  [default: patch.failure_budget]")
@click.option(
    "--reboot", type=click.Choice(["never", "if-required", "always"]), help="Restart hosts.  [default: patch.reboot]"
)
@refresh_option
@output_option
@pass_app
def plan(
    app: App,
    /,
    *,
    security_only: bool,
    max_parallel: int | None,
    budget: int | None,
    reboot: str | None,
    refresh: bool,
    output: str,
    **selection: tuple[str, ...],
) -> int:
    """Freeze a plan: which host gets which package version, in which wave and batch.

    Hosts are only read. Exit code 1: a host could not be read, and the plan leaves it out.
    """
    from opsctl.patch import run
    from opsctl.patch.propose import Wish

    means, hosts = _means(app), select(app, selection, managed_only=False)
    if refresh:
        run.refresh(means, [host for host in hosts if host.managed])
    wish = Wish(
        max_parallel=max_parallel or app.settings.number("patch.max_parallel"),
        failure_budget=budget or app.settings.number("patch.failure_budget"),
        reboot=reboot or app.settings.text("patch.reboot"),
        security_only=security_only,
        options=tuple(f"{name}={','.join(words)}" for name, words in selection.items() if words),
    )
    made = run.plan(means, hosts, wish).plan
    missed = any(one.missed for one in made.left_out)
    if output == "json":
        as_json({"plan": _plan_document(made)}, outcome="incomplete" if missed else "ok")
    else:
        _show_plan(made)
    return 1 if missed else 0


@command.command()
@click.argument("plan_id", metavar="PLAN|latest")
@dry_run_option
@yes_option
@output_option
@pass_app
def start(app: App, plan_id: str, *, dry_run: bool, yes: bool, output: str) -> None:
    """Roll a plan out, ring by ring. Ctrl-C stops it cleanly; `patch resume` goes on.

    A plan that no longer fits its hosts, inventory or content is refused.
    """
    from opsctl.patch import run

    means = _means(app)
    ready = run.ready(means, plan_id)
    if output == "table":
        _show_plan(ready.state.plan)
    if dry_run or not ready.state.plan.hosts:
        note("nothing was done" + (" (--dry-run)" if dry_run else ": the plan is empty"))
        return
    app.confirm(f"Patch {len(ready.state.plan.hosts)} hosts?", yes=yes)
    _finish(run.run(means, ready, _say, verb="patch start"), output)


@command.command()
@click.argument("rollout_id", metavar="ROLLOUT|latest")
@click.option("--retry", is_flag=True, help="Try the failed hosts again; without it they are left as they are.")
@dry_run_option
@yes_option
@output_option
@pass_app
def resume(app: App, rollout_id: str, *, retry: bool, dry_run: bool, yes: bool, output: str) -> None:
    """Go on with a rollout that was stopped, halted or killed, from what each host itself says."""
    from opsctl.patch import run

    means = _means(app)
    state = means.journal.load(rollout_id, kind="patch")
    means.journal.refuse_at_work(state.plan.id)
    if output == "table":
        line(f"{state.plan.id}: {state.status}{': ' + state.reason if state.reason else ''}")
        _show_hosts(state)
    if dry_run:
        if output == "json":
            as_json(_state_document(state, ""))
        note("nothing was done (--dry-run)")
        return
    app.confirm(f"Go on with {len(state.open_hosts)} hosts{' and the failed ones' if retry else ''}?", yes=yes)
    ready, taken = run.take_up_again(means, state.plan.id, retry=retry)
    for host in taken.left:
        progress(f"{host}: failed before, left as it is (--retry tries it again)")
    _finish(run.run(means, ready, _say, verb="patch resume"), output)


@command.command()
@click.argument("rollout_id", metavar="[ROLLOUT|latest]", required=False)
@output_option
@pass_app
def status(app: App, rollout_id: str | None, *, output: str) -> None:
    """How far a rollout is, host by host; without a name every plan and rollout."""
    from opsctl.rollout.journal import Journal

    journal = Journal(app.store)
    if rollout_id is None:
        found = journal.all("patch")
        if output == "json":
            as_json({"rollouts": [_summary(one, journal.at_work(one.plan.id)) for one in found]})
        else:
            columns = ("rollout", "status", "hosts", "done", "failed", "unknown", "planned by", "at work")
            table(columns, [_summary_row(one, journal.at_work(one.plan.id)) for one in found], empty="no plans yet")
        return
    state = journal.load(rollout_id, kind="patch")
    busy = journal.at_work(state.plan.id)
    if output == "json":
        as_json(_state_document(state, busy))
    else:
        _show_state(state, busy)


# --- the pieces ------------------------------------------------------------------------------------------------------


def _means(app: App) -> Means:
    from opsctl.patch.run import Means

    return Means(
        inventory=app.inventory,
        transport=app.transport,
        store=app.store,
        ledger=app.ledger,
        settings=app.settings,
        who=app.who,
        clock=app.now,
    )


def _say(step: Progress) -> None:
    progress(f"{step.host}: {step.text}" if step.host else step.text)


def _finish(ended: Ended, output: str) -> None:
    from opsctl.rollout.execute import raise_unless_ok

    if output == "json":
        as_json(_state_document(ended.state, ""), outcome=ended.outcome)
    else:
        _show_state(ended.state, "")
    note(f"ledger: {ended.head}")
    raise_unless_ok(ended.state, resume=f"opsctl patch resume {ended.state.plan.id}")


def _word(failed: list[str], readings: Readings) -> str:
    return "ok" if not failed else "failed" if len(failed) == len(readings) else "incomplete"


def _reading(key: str, one: Pending | OpsctlError) -> dict[str, object]:
    from opsctl.model import wire

    if isinstance(one, OpsctlError):
        return {"host": key, "outcome": one.outcome, "error": one.message}
    return {"host": key, "outcome": "ok", **wire.as_document(one)}


def _pending_row(key: str, one: Pending | OpsctlError) -> tuple[object, ...]:
    if isinstance(one, OpsctlError):
        return (key, "", "", "", "", f"{one.outcome}: {getattr(one, 'reason', one.message)}")
    remarks = [f"held: {', '.join(one.held)}"] if one.held else []
    remarks += [f"kept back: {', '.join(one.kept_back)}"] if one.kept_back else []
    remarks += [f"apt is in use: {one.dpkg.lock_holder}"] if one.dpkg.lock_holder else []
    remarks += ["dpkg was interrupted"] if one.dpkg.audit else []
    remarks += [f"patches itself: {', '.join(one.patchers)}"] if one.patchers else []
    reboot = "required" if one.reboot.required else "expected" if one.reboot.coming else ""
    return (key, one.pending, one.pending_security, reboot, _age(one.lists_age_seconds), "; ".join(remarks))


def _age(seconds: int | None) -> str:
    if seconds is None:
        return "none"
    return (
        f"{seconds // 86400} d"
        if seconds >= 172800
        else f"{seconds // 3600} h"
        if seconds >= 7200
        else f"{seconds // 60} min"
    )


def _show_plan(made: Plan) -> None:
    rows = [
        (f"{w} {wave.ring}", b, item.host, len(item.packages), item.security, _reboot(item), item.drain_through)
        for w, b, wave, batch in made.batches()
        for item in batch.hosts
    ]
    columns = ("wave", "batch", "host", "packages", "security", "reboot", "drained at")
    table(columns, rows, title=f"plan {made.id}", empty=f"plan {made.id} is empty: no host has anything to install")
    changes = Counter(package for item in made.hosts for package in item.packages)
    package_rows = [
        (p.name, p.before or "(new)", p.after, "yes" if p.security else "", count)
        for p, count in sorted(changes.items(), key=lambda entry: entry[0].name)
    ]
    if package_rows:
        table(("package", "from", "to", "security", "hosts"), package_rows)
    if made.left_out:
        table(("left out", "reason"), [(one.host, one.reason) for one in made.left_out])
    line(
        f"{len(made.hosts)} hosts in {sum(1 for _ in made.batches())} batches of at most {made.max_parallel}; "
        f"{made.failure_budget} failed halts it; reboot: {made.reboot}; {len(made.left_out)} left out"
    )
    line(f"hash {made.hash}")


def _reboot(item: HostPlan) -> str:
    return "expected" if item.reboot_expected else ""


def _plan_document(made: Plan) -> dict[str, object]:
    from opsctl.model import wire

    document: dict[str, object] = wire.as_document(made)
    return document


def _summary(state: RolloutState, busy: str) -> dict[str, object]:
    return {
        "id": state.plan.id,
        "status": str(state.status),
        "stalled": _stalled(state, busy),
        "reason": state.reason,
        "at_work": busy,
        "hosts": len(state.hosts),
        "stages": dict(Counter(str(host.stage) for host in state.hosts)),
        "planned_by": state.plan.made_by,
        "planned_at": state.plan.made_at,
        "started_at": state.started_at,
        "ended_at": state.ended_at,
    }


def _stalled(state: RolloutState, busy: str) -> bool:
    """It says that it runs, and no process does: killed, or this machine went down."""
    return state.status == "running" and not busy


def _summary_row(state: RolloutState, busy: str) -> tuple[object, ...]:
    stages = Counter(host.stage for host in state.hosts)
    word = "stalled" if _stalled(state, busy) else state.status
    counts = [stages.get(name, 0) for name in ("done", "failed", "unknown")]  # type: ignore[call-overload] # a StrEnum is its text
    return (state.plan.id, word, len(state.hosts), *counts, state.plan.made_by, busy)


def _state_document(state: RolloutState, busy: str) -> dict[str, object]:
    from opsctl.model import wire

    return {"rollout": _summary(state, busy), "hosts": wire.as_document(state.hosts)}


def _show_state(state: RolloutState, busy: str) -> None:
    _show_hosts(state)
    word = "stalled: its process is gone" if _stalled(state, busy) else str(state.status)
    line(f"{state.plan.id}: {word}{': ' + state.reason if state.reason else ''}")
    if busy:
        line(f"at work: {busy}")
    elif state.open_hosts and state.status != "planned":
        line(f"to go on: opsctl patch resume {state.plan.id}")


def _show_hosts(state: RolloutState) -> None:
    place = {item.host: (f"{w} {wave.ring}", b) for w, b, wave, batch in state.plan.batches() for item in batch.hosts}
    rows = [
        (
            *place[host.host],
            host.host,
            f"{host.stage}{' (' + host.last + ')' if host.last else ''}",
            "drained" if host.drained else "",
            f"{host.at:%Y-%m-%d %H:%M:%SZ}",
            "; ".join(text for text in (host.reason, *host.notes) if text),
        )
        for host in state.hosts
    ]
    table(("wave", "batch", "host", "stage", "traffic", "since", "remarks"), rows)
