"""The systemd units that sync a workspace again and again: rendered for it, with what they may do held small.

The token is in none of them: systemd hands the file that netbox.token_file names to the process as a credential.
"""

from __future__ import annotations

import pwd
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from opsctl import content
from opsctl.errors import ConfigError, Refused
from opsctl.inventory import files
from opsctl.inventory import token as tokens

if TYPE_CHECKING:
    from opsctl.config import Settings

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# systemd gives a credential's name no blank, slash or colon.
_CREDENTIAL = "netbox"


def units(settings: Settings, program: Sequence[str], *, minutes: int, user: str = "") -> Mapping[str, str]:
    """The text of service and timer, by file name. `program`: how opsctl is called here; `user`: default, the owner.

    Raises Refused where systemd cannot be told of this workspace, ConfigError where a timer would lack an option.
    """
    refuse_variables(settings)
    name = f"opsctl-inventory-sync-{short(settings)}"
    command = [*program, "-C", str(settings.workspace), "inventory", "sync", "--yes"]
    values = {
        "name": name,
        "described": specifiers(str(settings.workspace)),
        "user": account(settings, user),
        "command": " ".join(quoted(word).replace("$", "$$") for word in command),
        "credentials": "\n".join(_credentials(settings)),
        "writable": " ".join(quoted(str(path)) for path in _writable(settings)),
        "minutes": str(minutes),
    }
    base = content.folder("templates", settings.own_content) / "systemd"
    return {
        f"{name}.{kind}": Template((base / f"inventory-sync.{kind}").read_text(encoding="utf-8")).substitute(values)
        for kind in ("service", "timer")
    }


def short(settings: Settings) -> str:
    """The workspace's name as a unit's name may hold it."""
    return re.sub("[^a-z0-9]+", "-", settings.workspace.name.lower()).strip("-") or "all"


def refuse_variables(settings: Settings) -> None:
    """Raise ConfigError for what a unit would do without. What only this shell knows, a timer would do without."""
    if named := sorted({origin for origin in settings.origin.values() if origin.startswith("OPSCTL_")}):
        raise ConfigError(
            f"{', '.join(named)}: set in this shell alone, which a timer does not have",
            hint="write it into opsctl.yml (the token: netbox.token_file or netbox.token_command), then unset it",
        )


def account(settings: Settings, user: str) -> str:
    """Who runs a unit of this workspace: `user`, or the workspace's owner. Raises Refused where there is none."""
    try:
        return (pwd.getpwnam(user) if user else pwd.getpwuid(settings.workspace.stat().st_uid)).pw_name
    except KeyError:
        raise Refused(f"there is no account {user or settings.workspace.stat().st_uid} on this machine") from None


def _writable(settings: Settings) -> tuple[Path, ...]:
    """The folders that a sync writes into. A sandbox cannot make them: they must be there."""
    folders = (settings.inventories, settings.state)
    for folder in folders:
        if not folder.is_dir():
            raise Refused(f"{folder} is not there yet", hint="opsctl inventory sync, once by hand; then this again")
    return folders


def _credentials(settings: Settings) -> list[str]:
    """The lines that hand over the token's file, one for each tenant where each has its own."""
    if settings.text("inventory.source") != "netbox" or settings.texts("netbox.token_command"):
        return []
    file = settings.text("netbox.token_file")
    if not file:
        return []  # in opsctl.yml itself, or nowhere: the sync says so
    path = str(settings.within(file))
    if not tokens.for_each_tenant(settings):
        return [f"LoadCredential={_CREDENTIAL}:{specifiers(path)}", _variable(_CREDENTIAL)]
    names = [folder.name for folder in files.tenant_folders(settings.inventories)]
    each = [f"LoadCredential={_CREDENTIAL}-{n}:{specifiers(path.replace(tokens.PLACE, n))}" for n in names]
    return [*each, _variable(f"{_CREDENTIAL}-{tokens.PLACE}")]


def _variable(credential: str) -> str:
    # %d is the folder of this unit's credentials, which root and the unit alone can read.
    return f"Environment=OPSCTL_NETBOX_TOKEN_FILE=%d/{credential}"


def quoted(word: str) -> str:
    """A word as a unit file takes it. Raises Refused for one that none can hold."""
    return '"' + specifiers(word).replace("\\", "\\\\").replace('"', '\\"') + '"'


def specifiers(text: str) -> str:
    """Text in which systemd is to expand nothing."""
    if _CONTROL.search(text):
        raise Refused(f"{text!r} has control characters, which no unit file can hold")
    return text.replace("%", "%%")
