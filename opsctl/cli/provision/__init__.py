"""`opsctl provision`: a group that is also a verb. Without a word after it: plan, ask and run at once."""

from __future__ import annotations

import click
from click.core import ParameterSource

from opsctl.cli.app import (
    App,
    dry_run_option,
    emergency_options,
    old_inventory_option,
    output_option,
    pass_app,
    selection_options,
    yes_option,
)
from opsctl.cli.provision import approving, at_once, following, planning, running, stopping
from opsctl.cli.provision.pieces import parallel_option
from opsctl.errors import UsageError


@click.group("provision", invoke_without_command=True, subcommand_metavar="[plan|apply|... [ARGS]...]")
@selection_options
@click.option("--check", is_flag=True, help="Show what would change on the hosts, and change nothing.")
@parallel_option
@emergency_options
@old_inventory_option
@dry_run_option
@yes_option
@output_option
@pass_app
@click.pass_context
def command(
    ctx: click.Context,
    app: App,
    /,
    *,
    check: bool,
    max_parallel: int | None,
    ticket: str,
    emergency: bool,
    reason: str,
    old_inventory: bool,
    dry_run: bool,
    yes: bool,
    output: str,
    **selection: tuple[str, ...],
) -> None:
    """Bring hosts to their configured state, ring by ring.

    Without a verb: plan, ask and run at once, without a look at what would change (`--check` gives that look alone).
    `provision plan` saves a plan with what would change on each host, and `provision apply` carries out just that.

    One host first, then more at once. It stops at the first host that fails or cannot be reached anew afterwards. A
    change of ssh, firewall or sudo that locks us out is undone by the host itself. `provision resume` goes on.

    Hosts outside their window, or within a freeze, are left out (exit code 1).
    """
    if ctx.invoked_subcommand is not None:
        _refuse_options_before(ctx, ctx.invoked_subcommand)
        return
    at_once.provision(
        app, selection, check=check, max_parallel=max_parallel, ticket=ticket, emergency=emergency, reason=reason,
        old_inventory=old_inventory, dry_run=dry_run, yes=yes, output=output,
    )  # fmt: skip


def _refuse_options_before(ctx: click.Context, verb: str) -> None:
    """Options of the group are those of the short way: before a verb they would be lost without a word."""
    given = [
        option.opts[0]
        for option in ctx.command.params
        if option.name and ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(
            f"{', '.join(given)} before {verb!r} would mean nothing",
            hint=f"write it after: opsctl provision {verb} ...",
        )


for verbs in (planning, approving, running, stopping, following):
    for verb in verbs.VERBS:
        command.add_command(verb)
