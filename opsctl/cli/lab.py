"""`opsctl lab`: the embedded fleet of real hosts on this machine."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import click

from opsctl.cli import output as out
from opsctl.cli.app import App, dry_run_option, output_option, pass_app
from opsctl.errors import ConfigError, Interrupted, NothingMatches, UsageError

if TYPE_CHECKING:
    from opsctl.lab import Fleet, HostStatus, LabHost

# The same words as opsctl.lab.FAULTS, known without importing it (a test holds them equal).
FAULTS = ("link", "disk", "dpkg-lock", "ssh", "crash", "freeze", "slow")
name_option = click.option("--name", default="demo", show_default=True, help="Which lab.")
_COLUMNS = ("host", "tenant", "role", "address", "pid 1", "ssh", "memory", "faults")


@click.group("lab")
def command() -> None:
    """The embedded fleet of real hosts on this machine."""


@command.command("up")
@name_option
@click.option("--hosts", "count", type=int, help="A fleet of so many equal hosts instead of the demo's seven.")
@click.option("--only", metavar="HOST,...", help="Only these of the demo's hosts, and their jump hosts.")
@click.option("--vm", "machines", type=int, default=0, help="So many virtual machines beside them, with own kernels.")
@click.option("--disk", default="512m", show_default=True, help="Size of each host's disk, in memory.")
@dry_run_option
@pass_app
def up(app: App, *, name: str, count: int | None, only: str | None, machines: int, disk: str, dry_run: bool) -> None:
    """Boot a fleet of real Debian hosts. The first time, make what they boot from."""
    from opsctl import lab
    from opsctl.lab import machine

    plan = _plan(count, only, machines)
    _refuse_beside_real_tenants(app)
    machine.refuse_unless_fit(machines=machines > 0)
    out.note(f"lab {name}: {out.some(len(plan.hosts), 'host')}: {', '.join(host.name for host in plan.hosts)}")
    if dry_run:
        return
    try:
        fleet = lab.up(name, plan, say=out.progress, disk=disk)
    except KeyboardInterrupt:
        hint = f"opsctl lab up --name {name} begins anew; opsctl lab down --name {name} clears away"
        raise Interrupted(f"the lab {name} is not whole", hint=hint) from None
    out.table(("host", "tenant", "role", "address", "jump"), [_row(host) for host in fleet.hosts])
    out.note(f"network {fleet.subnet}, package mirror {fleet.mirror}")
    out.note(f"a workspace of it: opsctl init DIR --lab {name}     take it down: opsctl lab down --name {name}")


def _row(host: LabHost) -> tuple[str, ...]:
    return host.name, host.tenant, host.role, host.address, host.jump


def _plan(count: int | None, only: str | None, machines: int) -> Fleet:
    from opsctl import lab

    if count is not None and only:
        raise UsageError("--hosts and --only do not go together")
    if machines and count == 0:
        return lab.with_machines(None, machines)
    if count is not None:
        plan = lab.generic(count)
    else:
        plan = lab.only(lab.demo(), filter(None, only.split(","))) if only is not None else lab.demo()
    return lab.with_machines(plan, machines) if machines else plan


def _refuse_beside_real_tenants(app: App) -> None:
    from opsctl.lab import machine

    try:
        workspace = app.inventory
    except ConfigError as error:
        if error.problems:
            raise  # a workspace that cannot be read may hold anything
        return
    machine.refuse_real_tenants(workspace)


@command.command("list")
@output_option
def list_labs(*, output: str) -> None:
    """The labs of this machine."""
    from opsctl import lab
    from opsctl.lab.stage import orphans

    found = lab.overview()
    if output == "json":
        out.as_json({"labs": [{"name": one.name, "hosts": one.hosts, "whole": one.whole} for one in found]})
        return
    broken = "no: its start did not end, or another version made it"
    rows = [(one.name, one.hosts, "yes" if one.whole else broken) for one in found]
    out.table(("lab", "hosts", "whole"), rows, empty="no lab on this machine")
    for name in orphans("rehearsal"):
        out.note(f"{name} was left by a rehearsal whose process is gone: opsctl lab down --name {name}")


@command.command("status")
@name_option
@output_option
def status(*, name: str, output: str) -> int:
    """How each host is; ends with 1 when one does not answer."""
    from opsctl import lab

    now = lab.status(name)
    well = all(host.ssh for host in now.hosts)
    if output == "json":
        document = {"lab": name, "subnet": now.fleet.subnet, "mirror": now.mirror, "leaks": now.leaks}
        out.as_json(
            {**document, "hosts": [_document(host) for host in now.hosts]}, outcome="ok" if well else "incomplete"
        )
    else:
        out.table(_COLUMNS, [_status_row(host) for host in now.hosts])
        out.note(f"network {now.fleet.subnet}, package mirror {'answers' if now.mirror else 'DOES NOT ANSWER'}")
        if now.leaks:
            out.note("this machine forwards packets of the lab: set net.ipv4.ip_forward to 0")
    return 0 if well else 1


def _status_row(host: HostStatus) -> tuple[str, ...]:
    power = str(host.pid1) if host.pid1 else "off"
    memory = f"{host.memory >> 20} MiB"
    return (
        host.name, host.tenant, host.role, host.address, power, "answers" if host.ssh else "NO", memory,
        ", ".join(host.faults),
    )  # fmt: skip


def _document(host: HostStatus) -> dict[str, object]:
    return {
        "host": host.name, "tenant": host.tenant, "role": host.role, "address": host.address, "pid1": host.pid1,
        "ssh": host.ssh, "memory_bytes": host.memory, "faults": list(host.faults),
    }  # fmt: skip


@command.command("describe")
@name_option
def describe(*, name: str) -> None:
    """The whole description of a lab, as JSON. Tenants, hosts, fingerprints, where the key lies."""
    import json

    from opsctl import lab

    out.as_json({"lab": json.loads(lab.description(name).to_json())})


@command.command("exec", context_settings={"ignore_unknown_options": True})
@name_option
@click.argument("host")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
def execute(*, name: str, host: str, argv: tuple[str, ...]) -> int:
    """Run a command on a host as root, also when its network is down."""
    from opsctl import lab
    from opsctl.lab.command import clean_environment

    return subprocess.run(lab.enter(name, host, argv), check=False, env=clean_environment()).returncode


@command.command("break")
@name_option
@click.argument("host")
@click.argument("fault", type=click.Choice(FAULTS))
def break_(*, name: str, host: str, fault: str) -> None:
    """Cause a fault on a host."""
    from opsctl import lab

    lab.break_(name, host, fault)
    out.note(f"{host}: {fault}; to mend it: opsctl lab mend {host} --name {name}")


@command.command("mend")
@name_option
@click.argument("host")
def mend(*, name: str, host: str) -> None:
    """Remove every fault of a host, and wait until it is up."""
    from opsctl import lab

    lab.mend(name, host)
    out.note(f"{host} is up, without faults")


@command.command("down")
@name_option
def down(*, name: str) -> None:
    """Take a lab down; nothing of it stays, whatever state it is in."""
    from opsctl import lab

    if not lab.down(name):
        raise NothingMatches(f"there is no lab called {name!r}", hint="opsctl lab list")
    out.note(f"the lab {name} is gone")
