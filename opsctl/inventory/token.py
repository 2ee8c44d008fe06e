"""Where the token of NetBox comes from: the environment, opsctl.yml, a file, or a command that prints it.

`{tenant}` in the file's name or in a word of the command gives every tenant a token of its own. The token is never
part of a message, an argument of a process, the ledger or the store.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl.errors import ConfigError

if TYPE_CHECKING:
    from opsctl.config import Settings

PLACE = "{tenant}"
PATIENCE = 60
# A header's value: printable ASCII without blanks (RFC 9110, 5.5); NetBox's tokens are such.
_TOKEN = re.compile(r"[\x21-\x7e]{8,512}")


def for_each_tenant(settings: Settings) -> bool:
    """Has every tenant a token of its own?"""
    return PLACE in settings.text("netbox.token_file") or any(
        PLACE in word for word in settings.texts("netbox.token_command")
    )


def read(settings: Settings, tenant: str = "") -> str:
    """The token. Raises ConfigError where there is none, or where the file or command gives none."""
    given = {
        "netbox.token": settings.text("netbox.token"),
        "netbox.token_file": settings.text("netbox.token_file"),
        "netbox.token_command": settings.texts("netbox.token_command"),
    }
    named = [name for name, value in given.items() if value]
    # A variable is said for this very run: it wins over a file or command that opsctl.yml names.
    if settings.origin.get("netbox.token") == "OPSCTL_NETBOX_TOKEN" and given["netbox.token"]:
        named = ["netbox.token"]
    if len(named) > 1:
        raise ConfigError(f"the token of NetBox is given {len(named)} times: {', '.join(named)}", hint="keep one")
    if not named:
        raise ConfigError(
            "there is no token for NetBox",
            hint="set OPSCTL_NETBOX_TOKEN, or netbox.token_file or netbox.token_command in opsctl.yml",
        )
    if not tenant and for_each_tenant(settings) and named != ["netbox.token"]:
        raise ConfigError(
            "each tenant has a token of its own, and this is not for one tenant alone",
            hint="set OPSCTL_NETBOX_TOKEN to the token of somebody who may do it",
        )
    if named == ["netbox.token"]:
        return _checked(settings.text("netbox.token"), settings.origin["netbox.token"])
    if named == ["netbox.token_file"]:
        return _from_file(settings.within(settings.text("netbox.token_file").replace(PLACE, tenant)))
    return _from_command([word.replace(PLACE, tenant) for word in settings.texts("netbox.token_command")])


def _from_file(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{path} holds a token and can be read by others", hint=f"chmod 0600 {path}")
        return _checked(path.read_text(encoding="ascii"), str(path))
    except UnicodeDecodeError:
        raise ConfigError(f"{path} does not hold a token of NetBox", hint="one line, the token alone") from None
    except OSError as error:
        raise ConfigError(
            f"netbox.token_file {path}: {error.strerror}",
            hint="write the token into that file, mode 0600 and of the account that runs opsctl",
        ) from error


def _from_command(words: list[str]) -> str:
    name = f"netbox.token_command {words[0]}"
    try:
        answer = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{name}: no answer within {PATIENCE} seconds") from None
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from error
    if answer.returncode:
        raise ConfigError(
            f"{name} ended with {answer.returncode}", hint="run it by hand; it must print the token alone"
        )
    return _checked(answer.stdout.decode("ascii", "replace"), name)


def _checked(text: str, origin: str) -> str:
    token = text.strip()
    if not _TOKEN.fullmatch(token):
        raise ConfigError(
            f"{origin} does not hold a token of NetBox",
            hint="a v2 token is nbt_KEY.TOKEN, a v1 token 40 characters; one line and nothing else",
        )
    return token
