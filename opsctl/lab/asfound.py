"""The state in which the hosts are found when opsctl comes: what their former operator left.

Old administrators with keys, password login open, upgrades on their own, no firewall, no monitoring; and the account
`opsctl` with key and sudo, which the partner made for us. Base and layers hold what hosts share, the seed what one
host alone has.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from opsctl.lab import recipe
from opsctl.lab.command import run

AUTOMATION = "opsctl"
SSH_GROUP = "ssh-login"


def furnish_base(root: Path, public_key: Path) -> None:
    """Brings a fresh root file system into the state that all hosts share."""
    for path in (root / "etc/ssh").glob("ssh_host_*"):
        path.unlink()
    for path in (root / "etc/apt/sources.list.d").glob("*"):
        path.unlink()
    run("chroot", root, "groupadd", "--system", SSH_GROUP)
    for account in (*recipe.OLD_ACCOUNTS, AUTOMATION):
        run("chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", account)
    run("chroot", root, "usermod", "--append", "--groups", f"sudo,adm,{SSH_GROUP}", "gammal-admin")
    run("chroot", root, "usermod", "--append", "--groups", SSH_GROUP, AUTOMATION)
    for account in recipe.OLD_ACCOUNTS:
        authorize(root, root, account, recipe.key_without_owner(f"{account}@partner"))
    write_files(root, recipe.BASE_FILES)
    keyring = root / recipe.KEYRING
    shutil.copyfile(public_key, keyring)
    keyring.chmod(0o644)
    for unit in recipe.MASKED_UNITS:
        point(root / "etc/systemd/system" / unit, "/dev/null")
    for unit in recipe.ENABLED_UNITS:
        enable(root, unit)


def write_files(root: Path, files: Mapping[str, tuple[int, str]]) -> None:
    for name, (mode, text) in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)


def authorize(root: Path, into: Path, account: str, key: str) -> None:
    """Writes an account's authorized key below `into`, owned as the account in `root` is."""
    fields = next(line for line in (root / "etc/passwd").read_text().splitlines() if line.startswith(f"{account}:"))
    user, group = (int(word) for word in fields.split(":")[2:4])
    home = into / "home" / account
    folder = home / ".ssh"
    folder.mkdir(parents=True, exist_ok=True)
    keys = folder / "authorized_keys"
    keys.write_text(key + "\n")
    home.chmod(0o755)
    folder.chmod(0o700)
    keys.chmod(0o600)
    for path in (home, folder, keys):
        shutil.chown(path, user, group)


def enable(root: Path, unit: str, target: str = "multi-user.target") -> None:
    point(root / f"etc/systemd/system/{target}.wants" / unit, f"/lib/systemd/system/{unit}")


def point(link: Path, to: str) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(to)
