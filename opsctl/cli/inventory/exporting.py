"""`inventory export` and `graph`: the hosts for other programs and for the eye."""

from __future__ import annotations

import click

from opsctl.cli import output as out
from opsctl.cli.app import App, pass_app, select, selection_options


@click.command("export")
@selection_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "csv", "ssh-config", "ansible", "prometheus"]),
    required=True,
    help="For which program.",
)
@pass_app
def export(app: App, /, *, form: str, **selection: tuple[str, ...]) -> None:
    """The inventory for other programs, on stdout."""
    from opsctl.ansible import render
    from opsctl.inventory import export as room
    from opsctl.monitor import prometheus

    hosts = select(app, selection, managed_only=False)
    app.warn_old_inventory({host.tenant for host in hosts})
    text = {
        "json": lambda: room.as_json(app.inventory, hosts),
        "csv": lambda: room.as_csv(hosts),
        "ssh-config": lambda: room.as_ssh_config(app.inventory, hosts, app.settings.text("ssh.user")),
        "ansible": lambda: render.inventory_text(hosts, app.inventory, reach=True),
        "prometheus": lambda: prometheus.render(host for host in hosts if host.managed),
    }[form]()
    click.echo(text, nl=False)


@click.command("graph")
@selection_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "svg"]),
    default="text",
    show_default=True,
    help="For a terminal, or as an image.",
)
@pass_app
def graph(app: App, /, *, form: str, **selection: tuple[str, ...]) -> None:
    """The fleet as a tree: tenants, sites, clusters, hosts."""
    from opsctl.inventory import graph as room

    roots = room.tree(app.inventory, select(app, selection, managed_only=False))
    if form == "svg":
        click.echo(room.as_svg(roots), nl=False)
    else:
        out.line(room.as_text(roots).rstrip())


VERBS = (export, graph)
