"""Who runs this, for ledger and plans: what the kernel knows, never what an environment variable claims alone.

LOGNAME and USER are anybody's to set. The login uid (proc_pid_loginuid(5)) survives su and sudo; where the kernel keeps
none (containers), SUDO_USER is believed of root, and of anybody else only beside the account that truly runs this.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping
from pathlib import Path

LOGIN_UID = Path("/proc/self/loginuid")
_UNSET = 2**32 - 1
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,63}")


def who(environ: Mapping[str, str], *, uid: int | None = None, login: Path = LOGIN_UID) -> str:
    """`anna`, or `anna as opsctl` where a person works through an account that is neither hers nor root."""
    mine = os.getuid() if uid is None else uid
    account = _name_of(mine)
    person = _logged_in(login) or environ.get("SUDO_USER", "")
    if person == account or not _NAME.fullmatch(person):
        return account
    return person if mine == 0 else f"{person} as {account}"


def _logged_in(login: Path) -> str:
    try:
        number = int(login.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return ""
    return "" if number == _UNSET else _name_of(number)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
