"""The table of verbs, the shared options, and `App`: builds only what a verb asks for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opsctl.errors import Declined, NothingMatches, StoreError, UsageError

if TYPE_CHECKING:
    from opsctl.config import Settings, Value
    from opsctl.inventory.ground import Ground
    from opsctl.model.host import Host, Inventory
    from opsctl.rollout.frozen import Budgets
    from opsctl.ssh.session import Transport
    from opsctl.state.ledger import Ledger
    from opsctl.state.store import Store

EVERY_DAY, ON_CALL, AUDIT, SET_UP = "Every day", "On call", "Audit", "Set-up"
GROUND_MOVED = "the inventory has changed since this was planned"
SECTIONS = (EVERY_DAY, ON_CALL, AUDIT, SET_UP)


@dataclass(frozen=True)
class Verb:
    """A line of `opsctl --help`, known without importing the verb (a test holds it equal to the verb's own)."""

    section: str
    help: str


COMMANDS = {
    "inventory": Verb(EVERY_DAY, "The hosts: take them from the source, list, show, compare, check."),
    "host": Verb(EVERY_DAY, "One host: approve its key, probe it, show all that is known."),
    "calendar": Verb(EVERY_DAY, "The coming windows, freezes and holidays, and what may start now."),
    "provision": Verb(EVERY_DAY, "Bring hosts to their configured state, ring by ring."),
    "patch": Verb(EVERY_DAY, "Security updates: plan, roll out, follow."),
    "monitor": Verb(ON_CALL, "Live state of every host, and targets for Prometheus."),
    "doctor": Verb(ON_CALL, "What this machine, workspace and the hosts still need, each with its mend."),
    "comply": Verb(AUDIT, "Check hosts against the catalogue of controls, and report."),
    "ledger": Verb(AUDIT, "The log of every changing act, and the proof that it is whole."),
    "state": Verb(AUDIT, "Back up, restore and check the store."),
    "init": Verb(SET_UP, "Make a workspace."),
    "config": Verb(SET_UP, "Show every setting and where it comes from."),
    "lab": Verb(SET_UP, "The embedded fleet of real hosts on this machine."),
    "demo": Verb(SET_UP, "The whole job, start to end, on the embedded fleet."),
    "completion": Verb(SET_UP, "Shell completion for bash, zsh and fish."),
}


class App:
    """What one command line works with. Each part is built on first use and closed at the end."""

    def __init__(self, *, start: Path | None = None, debug: bool = False) -> None:
        self._start = start
        self.debug = debug
        self.overrides: dict[str, Value] = {}
        self._open = ExitStack()

    def close(self) -> None:
        self._remember_contacts()
        self._open.close()

    def _remember_contacts(self) -> None:
        """Every host that answered was seen, whatever it was asked; a verb without a store remembers nothing."""
        if not {"transport", "store"} <= vars(self).keys() or not self.transport.met:
            return
        with suppress(StoreError):  # the verb's own writes have failed too, and said so
            self.store.saw(self.transport.met)

    @cached_property
    def settings(self) -> Settings:
        from opsctl import config

        # -C is said on this very command line, so it wins over the variable.
        environ = (
            os.environ if self._start is None else {k: v for k, v in os.environ.items() if k != "OPSCTL_WORKSPACE"}
        )
        workspace = config.find_workspace(self._start or Path.cwd(), environ)
        return config.load(workspace, os.environ, self.overrides)

    @cached_property
    def inventory(self) -> Inventory:
        from opsctl.inventory import files

        return files.load(self.settings)

    def again(self) -> App:
        """The same with everything read anew but the store: what was waited for may have changed files."""
        fresh = App(start=self.settings.workspace, debug=self.debug)
        fresh.overrides = self.overrides
        fresh.__dict__["store"] = self.store
        self._open.callback(fresh.close)
        return fresh

    def work_from(self, inventory: Inventory | None) -> None:
        """Use this inventory instead of the written one; nothing has asked for a host yet."""
        if inventory is not None:
            self.__dict__["inventory"] = inventory

    @cached_property
    def store(self) -> Store:
        from opsctl.state.store import Store

        return self._open.enter_context(Store.open(self.settings.state))

    @cached_property
    def ledger(self) -> Ledger:
        from opsctl.state.ledger import Ledger

        return Ledger(self.store)

    @cached_property
    def transport(self) -> Transport:
        from opsctl.ssh.hostkeys import Pins
        from opsctl.ssh.session import Transport

        pins = Pins.load(self.settings.inventories)
        return self._open.enter_context(Transport(self.inventory, pins, self.settings))

    @property
    def who(self) -> str:
        """The login user, for the ledger."""
        from opsctl.state import login

        return login.who(os.environ)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def coming(self, moment: datetime | None) -> datetime | None:
        """A moment that is not over yet, within a year. Raises UsageError."""
        if moment is not None and not timedelta(0) <= moment - self.now() <= timedelta(days=366):
            raise UsageError(f"{moment:%Y-%m-%d %H:%MZ} is over, or too far away", hint="a time of the coming year")
        return moment

    def ground(self, digest: str) -> Ground:
        """The written inventory, against the one that a plan was made from."""
        from opsctl.inventory.ground import Ground

        return Ground(self.settings, digest)

    def refuse_old_inventory(self, hosts: Iterable[Host], *, accepted: bool) -> None:
        """Nothing that changes hosts starts from a copy of NetBox that is too old, unless a person accepts it."""
        from opsctl.cli.output import note
        from opsctl.inventory import freshness

        old = freshness.too_old(self.settings, self.store, {host.tenant for host in hosts}, self.now())
        if not accepted:
            freshness.refuse(old, self.now())
        elif old:
            note(f"accepted as it is: the copy of NetBox is old: {freshness.warning(old, self.now())}")

    def warn_old_inventory(self, tenants: Iterable[str]) -> None:
        from opsctl.inventory import freshness

        # Looking must not make a store where there is none.
        if self.settings.text("inventory.source") == "netbox" and self.settings.state.is_dir():
            from opsctl.cli.output import note

            if old := freshness.too_old(self.settings, self.store, tenants, self.now()):
                note(f"warning: the copy of NetBox is old: {freshness.warning(old, self.now())}")

    def confirm(self, question: str, *, yes: bool) -> None:
        """Go on only if a person (or `--yes`) said so."""
        if yes:
            return
        if sys.stdin is None or not sys.stdin.isatty():
            raise UsageError(
                "this changes something, and nobody is there to ask", hint="look at --dry-run, then use --yes"
            )
        if not click.confirm(question, err=True):
            raise Declined("nothing was done")


pass_app = click.make_pass_decorator(App)

output_option = click.option(
    "--output",
    "-o",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people or programs.",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
old_inventory_option = click.option(
    "--old-inventory", is_flag=True, help="Start although the copy of NetBox is older than inventory.max_age_hours."
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")


def moment_option(*names: str, help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # noqa: A002 - as click
    """An option that takes a day or a moment, in UTC where it says so and else by the clocks of Europe/Stockholm."""
    return click.option(*names, callback=_moment, metavar="MOMENT", help=help)


def _moment(_context: click.Context, _option: click.Parameter, value: str | None) -> datetime | None:
    return moment_of(value)


def moment_of(value: str | None) -> datetime | None:
    """A day or a moment as somebody writes it on a command line."""
    from zoneinfo import ZoneInfo

    from opsctl.model.calendar import ZONE

    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
        if not 2000 <= found.year <= 2200:
            raise ValueError
    except ValueError:
        raise click.BadParameter(f"{value!r} is no moment: YYYY-MM-DD, or YYYY-MM-DD HH:MM") from None
    return (found if found.tzinfo else found.replace(tzinfo=ZoneInfo(ZONE))).astimezone(UTC)


def emergency_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--ticket`, `--emergency`, `--reason`: on whose word something is changed, and over what."""
    for option in (
        click.option("--reason", default="", metavar="TEXT", help="Why it is an emergency."),
        click.option(
            "--emergency", is_flag=True, help="Go over windows and freezes, never over limits; with --reason, --ticket."
        ),
        click.option("--ticket", default="", metavar="TEXT", help="Kept with the plan and in the ledger."),
    ):
        command = option(command)
    return command


def budget_options(section: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--budget`, `--wave-budget`: how many failed hosts halt a rollout, as a number or a share."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option(
                "--wave-budget", default="", metavar="N|P%", callback=_budget,
                help="Failed hosts of one wave that halt it.",
            ),
            click.option(
                "--budget", default="", metavar="N|P%", callback=_budget,
                help=f"Failed hosts that halt it.  [default: tenant.yml, {section}.failure_budget]",
            ),
        ):  # fmt: skip
            command = option(command)
        return command

    return add


def _budget(_context: click.Context, _parameter: click.Parameter, given: str) -> str:
    from opsctl.model.gate import BUDGET, BUDGET_RULE

    if given and not BUDGET.fullmatch(given):
        raise click.BadParameter(f"{given!r} is not {BUDGET_RULE}")
    return given


def budgets_of(settings: Settings, section: str, budget: str, wave_budget: str) -> Budgets:
    """What a person said, and what the settings of a kind of rollout say."""
    from opsctl.rollout.frozen import Budgets

    usual, wave = settings.text(f"{section}.failure_budget"), settings.text(f"{section}.wave_budget")
    return Budgets(given=budget, given_wave=wave_budget, usual=usual, usual_wave=wave)


def selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--tenant`, `--limit`, `--role`, `--ring`: the options with which every verb names its hosts."""
    for option in (
        click.option("--ring", "rings", multiple=True, metavar="RING", help="Only hosts of this ring."),
        click.option("--role", "roles", multiple=True, metavar="ROLE", help="Only hosts with this role."),
        click.option(
            "--limit",
            "limit",
            multiple=True,
            metavar="HOST",
            help="Only these hosts: names or patterns, comma-separated.",
        ),
        click.option("--tenant", "tenants", multiple=True, metavar="TENANT", help="Only hosts of this tenant."),
    ):
        command = option(command)
    return command


def select(app: App, selection: dict[str, tuple[str, ...]], *, managed_only: bool = True) -> tuple[Host, ...]:
    """The hosts that the shared options name; raises NothingMatches."""
    if not app.inventory.hosts:
        from opsctl.inventory import files

        raise NothingMatches("the inventory holds no host yet", hint=files.first_hosts(app.settings))
    return app.inventory.select(**selection, managed_only=managed_only)
