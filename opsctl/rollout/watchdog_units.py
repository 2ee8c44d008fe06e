"""The systemd units that ask again and again whether a rollout's process has died; independent of any such process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Template

from opsctl import content
from opsctl.config import Settings
from opsctl.errors import Refused
from opsctl.inventory import timer


def units(settings: Settings, program: Sequence[str], *, minutes: int, user: str = "") -> Mapping[str, str]:
    """The text of service and timer, by file name. `program`: how opsctl is called here; `user`: default, the owner.

    Raises Refused where there is no store to watch yet, ConfigError where the units would lack an option.
    """
    timer.refuse_variables(settings)
    if not settings.state.is_dir():
        raise Refused(f"{settings.state} is not there yet", hint="opsctl patch plan, once; then this again")
    name = f"opsctl-patch-watchdog-{timer.short(settings)}"
    command = [*program, "-C", str(settings.workspace), "patch", "watchdog"]
    values = {
        "name": name,
        "described": timer.specifiers(str(settings.workspace)),
        "user": timer.account(settings, user),
        "command": " ".join(timer.quoted(word).replace("$", "$$") for word in command),
        "writable": timer.quoted(str(settings.state)),
        "minutes": str(minutes),
    }
    base = content.folder("templates", settings.own_content) / "systemd"
    return {
        f"{name}.{kind}": Template((base / f"patch-watchdog.{kind}").read_text(encoding="utf-8")).substitute(values)
        for kind in ("service", "timer")
    }
