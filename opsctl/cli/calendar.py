"""`opsctl calendar`: the coming windows, freezes and holidays, and what may start now."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from opsctl.cli.app import App, moment_option, output_option, pass_app
from opsctl.cli.output import as_json, grouped, line, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opsctl.model.agenda import Entry, Standing
    from opsctl.model.calendar import Hours

COLUMNS = ("from", "until", "tenant", "what", "name", "for", "remark")


@click.command("calendar")
@click.option("--tenant", "tenants", multiple=True, metavar="TENANT", help="Only this tenant.")
@click.option("--host", metavar="HOST", help="When this one host may be changed, everything reckoned in.")
@moment_option("--from", "start", help="Begin here instead of now: YYYY-MM-DD, or with HH:MM.")
@click.option("--days", type=click.IntRange(1, 366), default=14, show_default=True, help="So many days.")
@click.option("--takes", type=click.IntRange(0, 1440), default=0, metavar="MINUTES", help="How long a change takes.")
@output_option
@pass_app
def command(
    app: App, tenants: tuple[str, ...], host: str | None, start: datetime | None, days: int, takes: int, output: str
) -> None:
    """The coming windows, freezes and holidays, and what may start now.

    Nothing starts that cannot end before its window does, or a freeze begins. Times are those of the tenant's clocks.
    """
    from opsctl.inventory import calendars
    from opsctl.model import agenda

    after = start or app.now()
    until = after + timedelta(days=days)
    inventory = app.inventory
    hours = calendars.load(app.settings, inventory, after)
    if host:
        hosts = [inventory.host(host)]
        entries = agenda.of_host(hours, hosts[0], after, until)
    else:
        chosen = [inventory.tenant(name).name for name in tenants] or [tenant.name for tenant in inventory.tenants]
        hosts = [one for one in inventory if one.managed and one.tenant in chosen]
        entries = agenda.of_tenants(hours, inventory, chosen, after, until)
    standings = agenda.standings(hours, hosts, after, timedelta(minutes=takes))
    if output == "json":
        as_json({
            "from": after, "until": until,
            "hosts": [_host(key, one) for one in standings for key in one.hosts],
            "entries": [_entry(one) for one in entries],
        })  # fmt: skip
        return
    table(COLUMNS, [_row(hours, one) for one in entries], empty="no window, freeze or holiday in these days")
    for one in standings:
        line(_standing(hours, inventory.host(one.hosts[0]).tenant, one, after))


def _standing(hours: Hours, tenant: str, one: Standing, after: datetime) -> str:
    verdict, begun = one.verdict, hours.local(tenant, after)
    if verdict.allowed:
        when = f"at {begun}; until {hours.local(tenant, verdict.until)}" if verdict.until else "at any time"
        return f"{grouped(one.hosts)}: may start {when}"
    return f"{grouped(one.hosts)}: not at {begun}: {verdict.reason}; {hours.next_words(tenant, verdict)}"


def _row(hours: Hours, one: Entry) -> Sequence[object]:
    first, last = (hours.local(one.tenant, moment) for moment in (one.span.start, one.span.end))
    return first, last, one.tenant, one.what, one.name, one.scope, one.remark


def _entry(one: Entry) -> dict[str, object]:
    return {
        "from": one.span.start, "until": one.span.end, "tenant": one.tenant, "what": one.what, "name": one.name,
        "for": one.scope, "remark": one.remark,
    }  # fmt: skip


def _host(key: str, one: Standing) -> dict[str, object]:
    verdict = one.verdict
    return {
        "host": key, "may_start": verdict.allowed, "reason": verdict.reason, "next_at": verdict.next_at,
        "until": verdict.until,
    }  # fmt: skip
