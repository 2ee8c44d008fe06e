"""The systemd units that check a fleet regularly: rendered for one workspace, with what they may do held small."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import Template

from opsctl import content
from opsctl.compliance import catalogue, profiles
from opsctl.config import Settings
from opsctl.errors import ConfigError, Refused, UsageError
from opsctl.inventory import timer

_DAYS = {"day": "*-*-*", "week": "Mon *-*-*", "month": "*-*-01"}
_AT = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


def units(
    settings: Settings, program: Sequence[str], *, every: str, at: str, profile: str = "", user: str = ""
) -> Mapping[str, str]:
    """The text of service and timer, by file name. `program`: how opsctl is called here; `user`: default, the owner.

    Raises UsageError for a time that is none, Refused or ConfigError where a timer would lack something.
    """
    if not _AT.fullmatch(at):
        raise UsageError(f"{at!r} is no time of day", hint="HH:MM, in UTC")
    timer.refuse_variables(settings)
    if not settings.text("ssh.identity"):
        raise ConfigError(
            "ssh.identity is empty, so ssh asks the agent, which a timer does not have",
            hint="name a key file that this account can read: ssh.identity in opsctl.yml",
        )
    if not settings.state.is_dir():
        raise Refused(f"{settings.state} is not there yet", hint="opsctl comply run, once by hand; then this again")
    if profile:
        known = catalogue.load(settings.own_content)
        profiles.load(profile, known, settings.own_content, settings.inventories)
    name = f"opsctl-comply-run-{timer.short(settings)}"
    command = [*program, "-C", str(settings.workspace), "comply", "run"]
    command += ["--profile", profile] if profile else []
    values = {
        "name": name,
        "described": timer.specifiers(str(settings.workspace)),
        "user": timer.account(settings, user),
        "command": " ".join(timer.quoted(word).replace("$", "$$") for word in command),
        "writable": timer.quoted(str(settings.state)),
        "runtime": f"opsctl-comply-{timer.short(settings)[:20]}",
        "calendar": f"{_DAYS[every]} {at}:00 UTC",
    }
    base = content.folder("templates", settings.own_content) / "systemd"
    return {
        f"{name}.{kind}": Template((base / f"comply-run.{kind}").read_text(encoding="utf-8")).substitute(values)
        for kind in ("service", "timer")
    }
