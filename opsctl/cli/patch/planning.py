"""`opsctl patch pending|plan`: what waits on the hosts, and the frozen plan of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opsctl.cli.app import (
    App,
    budget_options,
    budgets_of,
    emergency_options,
    moment_option,
    output_option,
    pass_app,
    select,
    selection_options,
)
from opsctl.cli.output import as_json, line, pairs, some, table
from opsctl.cli.patch.pieces import show_plan
from opsctl.cli.rollout import means_of, one_of, tell_plan
from opsctl.errors import OpsctlError

if TYPE_CHECKING:
    from datetime import datetime

    from opsctl.patch.pending import Readings

refresh_option = click.option("--refresh", is_flag=True, help="Fetch the package lists on the hosts first.")


@click.command()
@click.argument("host", metavar="[HOST]", required=False)
@selection_options
@refresh_option
@output_option
@pass_app
def pending(app: App, /, *, host: str | None, refresh: bool, output: str, **selection: tuple[str, ...]) -> int:
    """List the updates that wait on each host. With HOST all that it says of them, package by package.

    Exit code 1: a host could not be read.
    """
    from opsctl.patch import reading as reader
    from opsctl.patch import run, told
    from opsctl.patch.pending import Pending

    hosts, means = (app.inventory.host(host),) if host else select(app, selection), means_of(app)
    readings = run.refresh(means, hosts) if refresh else reader.read(means.transport, hosts, means.store, means.clock)
    failed = [key for key, reading in readings.items() if isinstance(reading, OpsctlError)]
    if output == "json":
        as_json({"hosts": [told.document(key, one) for key, one in readings.items()]}, outcome=_word(failed, readings))
    elif host and not failed:
        for key, one in readings.items():
            if isinstance(one, Pending):
                pairs(told.sheet(one), title=key)
                table(told.PACKAGE_COLUMNS, told.package_rows(one), empty="no package would change")
    else:
        table(told.COLUMNS, [told.row(key, one) for key, one in readings.items()])
        line(f"{some(len(readings), 'host')}: {len(readings) - len(failed)} read, {len(failed)} not")
    return 1 if failed else 0


def _word(failed: list[str], readings: Readings) -> str:
    return "ok" if not failed else "failed" if len(failed) == len(readings) else "incomplete"


@click.command()
@selection_options
@click.option("--security-only", is_flag=True, help="Only security updates, and what they need.")
@click.option("--package", "packages", multiple=True, metavar="NAME", help="Only this package, and what it needs.")
@click.option("--exclude", multiple=True, metavar="HOST", help="Not these hosts: names or patterns, comma-separated.")
@click.option("--max-parallel", type=click.IntRange(1), help="Hosts changed at once.  [default: patch.max_parallel]")
@budget_options("patch")
@click.option(
    "--reboot", type=click.Choice(["never", "if-required", "always"]), help="Restart hosts.  [default: patch.reboot]"
)
@moment_option("--at", "at", help="For this time, instead of within a day: YYYY-MM-DD HH:MM.")
@emergency_options
@click.option("--explain", metavar="HOST", help="Say also why this host stands where it stands, or was left out.")
@refresh_option
@output_option
@pass_app
def plan(
    app: App,
    /,
    *,
    security_only: bool,
    packages: tuple[str, ...],
    exclude: tuple[str, ...],
    max_parallel: int | None,
    budget: str,
    wave_budget: str,
    reboot: str | None,
    ticket: str,
    at: datetime | None,
    emergency: bool,
    reason: str,
    explain: str | None,
    refresh: bool,
    output: str,
    **selection: tuple[str, ...],
) -> int:
    """Freeze a plan. It says which host gets which package version, in which wave and batch.

    Hosts are only read. Exit code 1: it leaves a host out that could not be read, or that a limit needs in service.
    """
    from opsctl.patch import run
    from opsctl.patch.propose import Wish, package_names
    from opsctl.rollout.emergency import emergency_of, ticket_of

    means, hosts = means_of(app), select(app, selection, managed_only=False)
    explained = one_of(app, hosts, explain) if explain else ""
    said = {**selection, "exclude": exclude, "package": packages}
    wish = Wish(
        max_parallel=max_parallel or app.settings.number("patch.max_parallel"),
        budgets=budgets_of(app.settings, "patch", budget, wave_budget),
        reboot=reboot or app.settings.text("patch.reboot"),
        security_only=security_only,
        options=tuple(f"{name}={','.join(words)}" for name, words in said.items() if words),
        packages=package_names(packages),
        excluded=frozenset(host.key for host in app.inventory.named(exclude)),
        ticket=ticket_of(ticket),
        at=app.coming(at),
        emergency=emergency_of(reason, ticket, declared=emergency),
    )
    if refresh:
        run.refresh(means, [host for host in hosts if host.managed and host.key not in wish.excluded])
    made = run.plan(means, hosts, wish).plan
    why = run.explain(means, made, explained) if explained else ()
    late = run.not_in_time(means, made)
    return tell_plan(app, made, show_plan, late=late, explained=explained, why=why, output=output)


VERBS = (pending, plan)
