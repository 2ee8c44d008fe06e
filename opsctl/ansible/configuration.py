"""What one run of Ansible is told: ansible.cfg, environment and command line, all generated; nothing is inherited."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from opsctl import content
from opsctl.config import Settings
from opsctl.errors import ConfigError
from opsctl.model.host import Host

CALLBACKS = Path(__file__).parent / "callback"
HOSTSIDE = Path(__file__).parent.parent / "hostside"
# What Ansible and ssh need of the caller's environment; no ANSIBLE_ variable is among it.
_SPECIAL = ":;$~{\n\r"  # separators, comments and variables in a path of ansible.cfg
_PASSED_ON = ("PATH", "SSH_AUTH_SOCK", "TZ", "USER", "LOGNAME")

BECOME_FLAGS = "-H -S -n"
# Passwords, keys and arguments that no run has: an empty one is as good as none.
_NOTHING = (
    "ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_sftp_extra_args", "ansible_scp_extra_args",
    "ansible_password", "ansible_ssh_pass", "ansible_ssh_password", "ansible_private_key_file",
    "ansible_ssh_private_key_file", "ansible_private_key", "ansible_ssh_private_key",
    "ansible_private_key_passphrase", "ansible_ssh_private_key_passphrase", "ansible_ssh_pkcs11_provider",
    "ansible_become_password", "ansible_become_pass", "ansible_sudo_pass", "ansible_sudo_chdir",
)  # fmt: skip
# Win over whatever a tenant's variables say (extra variables beat all others). `ansible_host` is the name that the
# generated ssh_config knows; address, port, account and key are in there, and the pinned host key.
CONNECTION: dict[str, object] = {
    "ansible_connection": "ansible.builtin.ssh",
    **dict.fromkeys(("ansible_host", "ansible_ssh_host"), "{{ inventory_hostname }}"),
    **dict.fromkeys(("ansible_port", "ansible_ssh_port"), "{{ opsctl_ports[inventory_hostname] }}"),
    **dict.fromkeys(_NOTHING, ""),
    "ansible_ssh_executable": "ssh",
    "ansible_sftp_executable": "sftp",
    "ansible_scp_executable": "scp",
    "ansible_pipelining": True,
    "ansible_ssh_pipelining": True,
    "ansible_shell_type": "sh",
    "ansible_shell_executable": "/bin/sh",
    "ansible_become": True,
    "ansible_become_method": "ansible.builtin.sudo",
    **dict.fromkeys(("ansible_become_user", "ansible_sudo_user"), "root"),
    **dict.fromkeys(("ansible_become_exe", "ansible_sudo_exe"), "sudo"),
    **dict.fromkeys(("ansible_become_flags", "ansible_sudo_flags"), BECOME_FLAGS),
    # True adds nothing to ssh's command line; False would switch our StrictHostKeyChecking off.
    "ansible_host_key_checking": True,
    "ansible_ssh_host_key_checking": True,
    "ansible_python_interpreter": "/usr/bin/python3",
    "opsctl_hostside": str(HOSTSIDE),
}


def connection(hosts: Iterable[Host], ssh_config: Path, user: str) -> dict[str, object]:
    """The extra variables of every run: also a wholly vaulted file, which we cannot read, decides nothing of these."""
    return {
        **CONNECTION,
        **dict.fromkeys(("ansible_user", "ansible_ssh_user"), user),
        "ansible_ssh_args": ssh_args(ssh_config),
        "opsctl_ports": {host.key: host.port for host in hosts},
    }


def ssh_args(ssh_config: Path) -> str:
    """Ansible splits this as a shell does."""
    return f"-F {shlex.quote(str(ssh_config))}"


def ansible_cfg(private: Path, *, ssh_config: Path, forks: int, settings: Settings) -> str:
    """The text of ansible.cfg. `-F` brings the shared sockets with it: Ansible adds no ControlPath of its own, because
    its ssh_args name no ControlPersist."""
    own = settings.own_content
    roles = content.folder("roles", own)
    if wrong := set(str(roles)) & set(_SPECIAL):
        raise ConfigError(
            f"{str(roles)!r} holds {', '.join(map(repr, sorted(wrong)))}, which Ansible reads as more than a path",
            hint="move or rename the folder",
        )
    return f"""\
[defaults]
roles_path = {roles}
collections_path = {private}/none
callback_plugins = {CALLBACKS}
stdout_callback = opsctl_events
local_tmp = {private}/tmp
remote_tmp = ~/.ansible/tmp
forks = {forks}
timeout = {max(30, settings.number("ssh.connect_timeout"))}
gathering = explicit
fact_caching = memory
host_key_checking = True
interpreter_python = /usr/bin/python3
force_valid_group_names = ignore
no_target_syslog = True
retry_files_enabled = False
deprecation_warnings = False
localhost_warning = False
nocows = True
nocolor = True

[inventory]
enable_plugins = ansible.builtin.yaml
any_unparsed_is_failed = True

[connection]
pipelining = True

[ssh_connection]
pipelining = True
ssh_args = {ssh_args(ssh_config)}
retries = 0

[privilege_escalation]
become = True
become_method = ansible.builtin.sudo
become_user = root
become_flags = {BECOME_FLAGS}
"""  # noqa: S108 - local_tmp lies in the private folder


def environment(private: Path, events: int) -> dict[str, str]:
    """The environment of the run: HOME is the private folder, so nothing of Ansible's lands in a person's."""
    return {**bare_environment(private), "OPSCTL_EVENTS_FD": str(events)}


def bare_environment(private: Path) -> dict[str, str]:
    """The environment of each of Ansible's programs."""
    return {
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        "HOME": str(private),
        "LC_ALL": "C.UTF-8",
        "PYTHONUTF8": "1",
        "ANSIBLE_CONFIG": str(private / "ansible.cfg"),
        "ANSIBLE_HOME": str(private / "ansible"),
    }


def command(
    program: Path, playbook: Path, private: Path, *, check: bool, tags: Sequence[str], vault: int | None
) -> list[str]:
    """The command line; variables and the vault's password are never in it."""
    return [
        str(program),
        "--inventory",
        str(private / "inventory.yml"),
        "--extra-vars",
        f"@{private}/extra.yml",
        *(["--check", "--diff"] if check else []),
        *(["--tags", ",".join(tags)] if tags else []),
        *(["--vault-password-file", f"/dev/fd/{vault}"] if vault is not None else []),
        str(playbook),
    ]
