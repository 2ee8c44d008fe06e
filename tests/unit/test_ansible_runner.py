# SPDX-License-Identifier: GPL-3.0-or-later
"""Running playbooks: a real ansible-playbook, over a fake ssh that runs each command on this machine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import ansible
import pytest
import yaml

from opsctl import config
from opsctl.ansible import configuration
from opsctl.ansible.private import SHARED_MEMORY, private_folder, remove_remains
from opsctl.ansible.render import foreign_variables, last_word
from opsctl.ansible.runner import run_playbook
from opsctl.config import Settings
from opsctl.errors import ConfigError, Interrupted, InventoryError, NothingMatches, Refused, UnknownName, Unreachable
from opsctl.model.host import Host, Inventory, Service, Tenant
from opsctl.model.run import HostRecap, PlaybookRun, RunEvent, TaskEnded, TaskStarted

SECRET = "canary-of-the-vaulted-value"
PASSWORD = "canary-of-the-vault-password"
EVIL = "{{ lookup('ansible.builtin.pipe', 'touch /tmp/opsctl-was-here') }}"
# The last word is the command; a host called down has no network.
FAKE_SSH = """#!/bin/sh
case "$*" in *ange.down*) echo 'ssh: connect to host 192.0.2.9 port 22: No route to host' >&2; exit 255;; esac
for word in "$@"; do last=$word; done
# What a killed module leaves behind goes with the test.
TMPDIR=${0%/*} exec /bin/sh -c "$last"
"""
FAKE_SUDO = '#!/bin/sh\nwhile [ "$1" != /bin/sh ]; do shift; done\nexec "$@"\n'


def host(name: str, tenant: str = "ange", **more: object) -> Host:
    return Host(name=name, tenant=tenant, address="192.0.2.1", role="web", platform="debian-12", ring="early", **more)  # type: ignore[arg-type] # what a test changes


STOCK = Inventory(
    tenants=(Tenant(name="ange", title="Ånge kommun"), Tenant(name="sundsvall", title="Sundsvalls kommun")),
    hosts=(host("web1"), host("web1", "sundsvall"), host("down"), host("other")),
)


@dataclass
class FakeTransport:
    """Contact with every host but those named."""

    config_file: Path
    silent: tuple[str, ...] = ()

    def open(self, host: Host) -> None:
        if host.key in self.silent:
            raise Unreachable(host.key, "no answer within 10 s")


@dataclass
class Bench:
    """A workspace with content of its own, and `run` for its playbook."""

    settings: Settings
    transport: FakeTransport

    def playbook(self, tasks: str, *, name: str = "try") -> None:
        text = f"- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}"
        (self.settings.workspace / "playbooks" / f"{name}.yml").write_text(text, encoding="utf-8")

    def write(self, path: str, text: str) -> None:
        file = self.settings.inventories / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def run(
        self,
        *hosts: Host,
        inventory: Inventory = STOCK,
        on_event: Callable[[RunEvent], None] | None = None,
        extra_vars: dict[str, object] | None = None,
        check: bool = False,
    ) -> PlaybookRun:
        return run_playbook(
            "try",
            hosts or STOCK.hosts[:1],
            transport=self.transport,
            inventory=inventory,
            settings=self.settings,
            on_event=on_event,
            extra_vars=extra_vars,
            check=check,
        )


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"ssh": FAKE_SSH, "sudo": FAKE_SUDO}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    workspace = tmp_path / "workspace"
    for folder in ("playbooks", "roles", "inventories"):
        (workspace / folder).mkdir(parents=True)
    secret = tmp_path / "password"
    secret.write_text(PASSWORD)
    command = json.dumps(["cat", str(secret)])
    (workspace / "opsctl.yml").write_text(
        f"version: 1\nworkspace: {{id: bench{os.getpid()}, content: ./}}\nvault: {{password_command: {command}}}\n"
    )
    settings = config.load(workspace, {})
    return Bench(settings=settings, transport=FakeTransport(config_file=tmp_path / "ssh_config"))


def messages(run: PlaybookRun, key: str) -> list[str]:
    return [event.message for event in run.results(key)]


# --- what is refused before anything starts ---------------------------------------------------------------------


def test_zero_hosts_is_an_error_and_starts_nothing(bench: Bench) -> None:
    bench.playbook("    - ansible.builtin.debug:\n")
    with pytest.raises(NothingMatches):
        run_playbook("try", [], transport=bench.transport, inventory=STOCK, settings=bench.settings)


def test_a_playbook_that_is_not_there_is_an_unknown_name(bench: Bench) -> None:
    with pytest.raises(UnknownName, match="'try'"):
        bench.run()


def test_a_tenants_variables_cannot_say_how_a_host_is_reached(bench: Bench) -> None:
    bench.playbook("    - ansible.builtin.debug:\n")
    bench.write("ange/group_vars/web.yml", "greeting: hej\nansible_ssh_common_args: -o StrictHostKeyChecking=no\n")
    with pytest.raises(InventoryError) as caught:
        bench.run()
    assert [p.where.rpartition("/")[2] for p in caught.value.problems] == ["web.yml:2"]


def test_a_wholly_vaulted_file_cannot_switch_the_check_of_host_keys_off(bench: Bench, tmp_path: Path) -> None:
    """We cannot look into it, and so every variable that reaches ssh's command line is ours whatever it says."""
    bench.playbook("    - ansible.builtin.ping:\n")
    plain = "ansible_host_key_checking: false\nansible_ssh_args: -o UserKnownHostsFile=/dev/null\n"
    plain += "ansible_user: evil\nansible_ssh_port: 2222\ninventory_port: 2223\nansible_become_exe: /bin/evil\n"
    plain += "ansible_ssh_pkcs11_provider: /tmp/evil.so\nansible_shell_executable: /bin/evil\n"
    bench.write("ange/group_vars/all.yml", vaulted(plain))
    log = FAKE_SSH.replace("case", f'printf "%s\\n" "$*" >>{tmp_path}/asked\ncase', 1)
    (tmp_path / "bin/ssh").write_text(log)
    assert bench.run().good
    asked = (tmp_path / "asked").read_text()
    assert "StrictHostKeyChecking" not in asked
    assert "UserKnownHostsFile" not in asked
    assert not re.search("evil|222[23]", asked)
    assert f"-F {bench.transport.config_file}" in asked


# What a variable of these may say does no harm to whom we talk to, as whom, or with which program.
HARMLESS = {
    "ansible_ssh_password_mechanism", "ansible_sshpass_prompt", "ansible_ssh_retries", "ansible_control_path",
    "ansible_control_path_dir", "ansible_sftp_batch_mode", "ansible_ssh_transfer_method", "ansible_ssh_use_tty",
    "ansible_ssh_timeout", "ansible_ssh_verbosity", "inventory_hostname",
}  # fmt: skip


@pytest.mark.parametrize("plugin", ["connection/ssh", "become/sudo"])
def test_every_variable_of_ansibles_connection_is_ours(plugin: str) -> None:
    text = (Path(ansible.__file__).parent / f"plugins/{plugin}.py").read_text()
    described = yaml.safe_load(text.split('"""')[1])
    known = {entry["name"] for option in described["options"].values() for entry in option.get("vars", ())}
    ours = configuration.connection((), Path("/x"), "opsctl")
    assert {name for name in known if "delegated" not in name} <= ours.keys() | HARMLESS


def test_a_folder_whose_name_ansible_would_take_apart_is_refused(bench: Bench) -> None:
    bench.playbook("    - ansible.builtin.ping:\n")
    other = bench.settings.workspace.with_name("drift:2")
    bench.settings.workspace.rename(other)
    bench.settings = config.load(other, {})
    with pytest.raises(ConfigError, match="more than a path"):
        bench.run()


def test_vaulted_variables_without_a_password_command_are_refused(bench: Bench) -> None:
    bench.playbook("    - ansible.builtin.debug:\n")
    bench.write("ange/group_vars/all.yml", "token: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\n")
    bench.settings = config.load(bench.settings.workspace, {}, {"vault.password_command": ()})
    with pytest.raises(ConfigError, match="password_command is not set"):
        bench.run()


# --- what comes back --------------------------------------------------------------------------------------------


def test_events_are_typed_and_come_while_the_run_goes_on(bench: Bench) -> None:
    bench.playbook(
        "    - name: Speak\n      ansible.builtin.debug: {msg: hej}\n"
        "    - name: Change\n      ansible.builtin.command: 'true'\n"
    )
    seen: list[RunEvent] = []
    run = bench.run(on_event=seen.append)
    assert tuple(seen) == run.events
    assert [type(event) for event in seen] == [TaskStarted, TaskEnded, TaskStarted, TaskEnded, HostRecap]
    assert [(e.task, e.outcome, e.message) for e in run.results("ange.web1")] == [
        ("Speak", "ok", "hej"),
        ("Change", "changed", ""),
    ]
    assert run.outcome("ange.web1") == "changed"
    assert run.good


def test_a_failure_names_its_task_and_reason(bench: Bench) -> None:
    bench.playbook("    - name: Fail on purpose\n      ansible.builtin.shell: 'echo so it goes >&2; exit 3'\n")
    run = bench.run()
    assert run.failed == ("ange.web1",)
    assert not run.good
    assert run.reason("ange.web1").startswith("Fail on purpose: ")
    assert "so it goes" in run.reason("ange.web1")


def test_a_playbook_that_ansible_cannot_read_leaves_hosts_unknown_and_says_why(bench: Bench) -> None:
    bench.playbook("    - name: Nonsense\n      ansible.builtin.no_such_module:\n")
    run = bench.run()
    assert run.unknown == ("ange.web1",)
    assert "no_such_module" in run.reason("ange.web1")


def test_a_host_that_is_lost_on_the_way_is_unreachable_and_the_others_go_on(bench: Bench) -> None:
    bench.playbook("    - name: Work\n      ansible.builtin.command: 'true'\n")
    run = bench.run(*STOCK.hosts)
    assert run.unreachable == ("ange.down",)
    assert run.changed == ("ange.web1", "sundsvall.web1", "ange.other")
    assert "No route to host" in run.reason("ange.down")


def test_a_host_without_contact_is_never_handed_to_ansible(bench: Bench) -> None:
    bench.playbook("    - name: Count\n      ansible.builtin.debug: {msg: '{{ groups.all | join(\" \") }}'}\n")
    bench.transport.silent = ("ange.other",)
    run = bench.run(STOCK.hosts[0], STOCK.hosts[3])
    assert run.unreachable == ("ange.other",)
    assert messages(run, "ange.web1") == ["ange.web1"]
    assert run.reason("ange.other") == "make contact: no answer within 10 s"


def test_check_mode_shows_the_difference_and_writes_nothing(bench: Bench, tmp_path: Path) -> None:
    target = tmp_path / "target"
    bench.playbook(f"    - name: Write\n      ansible.builtin.copy: {{dest: {target}, content: 'new line'}}\n")
    run = bench.run(check=True)
    assert run.outcome("ange.web1") == "changed"
    assert "+new line" in run.results("ange.web1")[0].diff
    assert not target.exists()


@pytest.mark.parametrize("before", [None, "old line\n"])
def test_a_difference_stands_under_the_name_of_the_file_on_the_host(
    bench: Bench, tmp_path: Path, before: str | None
) -> None:
    target = tmp_path / "target"
    if before is not None:
        target.write_text(before)
    bench.playbook(
        "    - name: Write\n      ansible.builtin.copy: {dest: '{{ place }}', content: 'new line'}\n"
        f"      vars: {{place: {target}}}\n"
    )
    lines = bench.run(check=True).results("ange.web1")[0].diff.splitlines()
    assert lines[:2] == [f"--- {target} (now)", f"+++ {target} (after)"]
    assert "+new line" in lines


def test_a_loop_shows_the_difference_of_each_of_its_items(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("old line\n")
    bench.playbook(
        "    - name: Write\n      ansible.builtin.copy: {dest: '{{ item }}', content: 'new line'}\n"
        f"      loop: [{tmp_path}/one, {tmp_path}/two]\n"
    )
    lines = bench.run(check=True).results("ange.web1")[0].diff.splitlines()
    assert [line for line in lines if line.startswith("+++")] == [
        f"+++ {tmp_path}/{name} (after)" for name in ("one", "two")
    ]
    assert lines.count("+new line") == 2


def test_a_loop_that_hides_its_items_shows_no_difference(bench: Bench, tmp_path: Path) -> None:
    bench.playbook(
        f"    - name: Write\n      ansible.builtin.copy: {{dest: {tmp_path}/one, content: '{{{{ item }}}}'}}\n"
        f"      loop: [{SECRET}]\n      no_log: true\n"
    )
    run = bench.run(check=True)
    assert run.outcome("ange.web1") == "changed"
    assert SECRET not in repr(run)


# --- content that lets one host decide over others ----------------------------------------------------------------

FAIL_WEB = "    - name: Fail on one\n      ansible.builtin.assert: {that: inventory_hostname != 'ange.web1'}\n"
WORK = "    - name: Work\n      ansible.builtin.command: 'true'\n"


@pytest.mark.parametrize(
    "play",
    [
        "  any_errors_fatal: true\n  tasks:\n" + FAIL_WEB + WORK,
        "  max_fail_percentage: 0\n  tasks:\n" + FAIL_WEB + WORK,
        "  any_errors_fatal: true\n  force_handlers: true\n  tasks:\n"
        "    - name: Notify\n      ansible.builtin.command: 'true'\n      notify: Follow\n" + FAIL_WEB + WORK
        + "  handlers:\n    - name: Follow\n      ansible.builtin.command: 'true'\n",
        "  tasks:\n" + WORK + "- hosts: all\n  gather_facts: false\n  serial: 1\n  tasks:\n" + FAIL_WEB + WORK,
    ],
    ids=["any_errors_fatal", "max_fail_percentage", "force_handlers", "serial"],
)  # fmt: skip
def test_a_host_that_a_play_left_behind_is_not_done(bench: Bench, play: str) -> None:
    file = bench.settings.workspace / "playbooks" / "try.yml"
    file.write_text("- hosts: all\n  gather_facts: false\n" + play, encoding="utf-8")
    run = bench.run(STOCK.hosts[0], STOCK.hosts[3])
    assert (run.failed, run.unknown) == (("ange.web1",), ("ange.other",))
    assert "before it came to its end here" in run.reason("ange.other")


def test_a_host_that_goes_on_past_another_ones_failure_is_done(bench: Bench) -> None:
    bench.playbook(FAIL_WEB + WORK)
    run = bench.run(STOCK.hosts[0], STOCK.hosts[3])
    assert (run.failed, run.changed) == (("ange.web1",), ("ange.other",))


def test_a_host_that_content_lets_end_early_is_done(bench: Bench) -> None:
    bench.playbook("    - ansible.builtin.meta: end_host\n      when: inventory_hostname == 'ange.web1'\n" + WORK)
    run = bench.run(STOCK.hosts[0], STOCK.hosts[3])
    assert run.changed == ("ange.other",)
    assert not run.failed


def test_nothing_of_the_callers_ansible_settings_is_inherited(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ansible.cfg").write_text("[defaults]\nstdout_callback = nothing_like_it\nroles_path = /nonexistent\n")
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "ANSIBLE_STDOUT_CALLBACK": "oneline",
        "ANSIBLE_BECOME": "false",
        "ANSIBLE_FORKS": "none",
    }.items():
        monkeypatch.setenv(name, value)
    bench.playbook("    - name: Speak\n      ansible.builtin.debug: {msg: hej}\n")
    assert messages(bench.run(), "ange.web1") == ["hej"]


# --- tenants ----------------------------------------------------------------------------------------------------


def test_variables_of_a_tenant_apply_to_its_own_hosts_alone(bench: Bench) -> None:
    bench.playbook(
        "    - name: Say\n      ansible.builtin.debug:\n"
        "        msg: \"{{ [a, b, c, d, only_ange | default('-')] | join(' ') }}\"\n"
    )
    for tenant in ("ange", "sundsvall"):
        bench.write(
            f"{tenant}/group_vars/all.yml", f"{{a: {tenant}-all, b: {tenant}-all, c: {tenant}-all, d: {tenant}-all}}\n"
        )
        bench.write(f"{tenant}/group_vars/web.yml", f"{{b: {tenant}-role, c: {tenant}-role, d: {tenant}-role}}\n")
        bench.write(f"{tenant}/group_vars/early.yml", f"{{c: {tenant}-ring, d: {tenant}-ring}}\n")
        bench.write(f"{tenant}/host_vars/web1.yml", f"{{d: {tenant}-host}}\n")
    bench.write("ange/host_vars/web1.yml", "{d: ange-host, only_ange: 'yes'}\n")
    run = bench.run(*STOCK.hosts[:2])
    assert messages(run, "ange.web1") == ["ange-all ange-role ange-ring ange-host yes"]
    assert messages(run, "sundsvall.web1") == ["sundsvall-all sundsvall-role sundsvall-ring sundsvall-host -"]


def test_a_wholly_vaulted_file_changes_nothing_of_what_the_inventory_says(bench: Bench) -> None:
    plain = "inventory_role: evil\ninventory_port: 1\ninventory_ssh_groups: [evil]\ninventory_tags: [evil]\nown: kept\n"
    for name in ("group_vars/all", "group_vars/web", "group_vars/early", "host_vars/web1"):
        bench.write(f"ange/{name}.yml", vaulted(plain))
    bench.playbook(
        "    - name: Say\n      ansible.builtin.debug:\n"
        '        msg: "{{ [inventory_role, inventory_port, own | length, inventory_ssh_groups is defined,'
        " inventory_tags | default('-')] | join(' ') }}\"\n"
        "    - name: Need what nobody gave\n      ansible.builtin.command: echo {{ inventory_ssh_groups }}\n"
    )
    run = bench.run()
    assert messages(run, "ange.web1")[0] == "web 22 4 False -"
    assert "inventory_ssh_groups: nobody gave it" in run.reason("ange.web1")


def test_what_a_host_may_lack_is_known_by_name() -> None:
    """Were one of these names forgotten, a vaulted file could still bring it in."""
    full = host("web1", address6="2001:db8::1", region="x", tags=("a",), custom='{"a": 1}', context="[1]")
    given = Tenant(
        name="ange", title="Ånge", accounts=(), ssh_groups=(), management_networks=(), package_sources=(),
        time_servers=(), log_host="log.example", log_retention_days=1,
    )  # fmt: skip
    assert set(foreign_variables(full, Inventory(tenants=(given,), hosts=(full,)))) == set(
        last_word(STOCK.hosts[0], STOCK)
    )


def test_foreign_values_are_never_templated(bench: Bench) -> None:
    trap = Path("/tmp/opsctl-was-here")
    trap.unlink(missing_ok=True)
    evil = host("web1", site=EVIL, owner=EVIL, cluster=EVIL, services=(Service(name=EVIL, port=80, url=EVIL),))
    stock = Inventory(tenants=(Tenant(name="ange", title=EVIL, ssh_groups=(EVIL,)),), hosts=(evil,))
    bench.playbook(
        "    - name: Say\n      ansible.builtin.debug:\n        msg: '{{ inventory_site }}|{{ inventory_services }}'\n"
        "    - name: Say it in a shell's words\n      ansible.builtin.command:\n"
        "        argv: [echo, '{{ inventory_services[0].url }}', '{{ inventory_ssh_groups[0] }}']\n"
        "      register: said\n"
        "    - name: Say it back\n      ansible.builtin.debug: {msg: '{{ said.stdout }}'}\n"
    )
    run = bench.run(evil, inventory=stock)
    assert run.good, run.reason("ange.web1")
    said = messages(run, "ange.web1")
    assert said[0].startswith(EVIL + "|")
    assert said[2] == f"{EVIL} {EVIL}"
    assert not trap.exists()


# --- secrets ----------------------------------------------------------------------------------------------------


def vaulted(text: str) -> str:
    from ansible.parsing.vault import VaultLib, VaultSecret

    made: bytes = VaultLib([("default", VaultSecret(PASSWORD.encode()))]).encrypt(text)
    return made.decode()


def process_list() -> bytes:
    """Arguments and environments of every process of this machine."""
    found = b""
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                found += (process / name).read_bytes()
            except OSError:
                continue
    return found


def everything_in(*folders: Path) -> bytes:
    return b"".join(file.read_bytes() for folder in folders for file in folder.rglob("*") if file.is_file())


def test_vault_password_and_vaulted_values_are_found_nowhere(bench: Bench, tmp_path: Path) -> None:
    bench.write("ange/group_vars/all.yml", "secret: !vault |\n" + "".join(f"  {x}\n" for x in vaulted(SECRET).split()))
    bench.write("ange/host_vars/web1.yml", vaulted(f"other: {SECRET}-too\n"))
    bench.playbook(
        "    - name: Hide\n      ansible.builtin.command: {argv: [grep, -c, canary], stdin: '{{ secret }}'}\n"
        "      no_log: true\n"
        "    - name: Hide in a loop\n      ansible.builtin.command: {argv: [grep, -c, canary], stdin: '{{ item }}'}\n"
        "      loop: ['{{ secret }}', '{{ other }}']\n      no_log: true\n"
        "    - name: Fail\n      ansible.builtin.command: {argv: [sh, -c, 'cat; exit 1'], stdin: '{{ secret }}'}\n"
        "      no_log: true\n"
    )
    processes: list[bytes] = []
    run = bench.run(on_event=lambda _: processes.append(process_list()))
    assert [event.outcome for event in run.results("ange.web1")] == ["changed", "changed", "failed"]
    assert run.reason("ange.web1") == "Fail: hidden by no_log"
    kept = repr(run).encode() + b"".join(processes)
    left = everything_in(bench.settings.workspace, tmp_path / "run") if (tmp_path / "run").exists() else b""
    assert not list(SHARED_MEMORY.glob(f"opsctl-*-{bench.settings.id}/*"))
    for canary in (SECRET, PASSWORD):
        assert canary.encode() not in kept
        assert canary.encode() not in left


@pytest.mark.parametrize("whole", [False, True])
def test_a_task_that_does_not_hide_what_the_vault_holds_shows_none_of_it(
    bench: Bench, tmp_path: Path, whole: bool
) -> None:
    """In the difference of a file, in base64 too, and in a message; what the vault does not hold is shown."""
    sealed = vaulted(SECRET).split()
    given = "secret: !vault |\n" + "".join(f"  {line}\n" for line in sealed)
    bench.write("ange/group_vars/all.yml", vaulted(f"secret: {SECRET}\n") if whole else given)
    bench.write("ange/group_vars/web.yml", "open: not-from-the-vault\n")
    bench.playbook(
        f"    - name: Write\n      ansible.builtin.copy: {{dest: {tmp_path / 'target'}, content: '{{{{ text }}}}'}}\n"
        "      vars: {text: 'a={{ secret }} b={{ secret | b64encode }} c={{ open }}'}\n"
        "    - name: Say\n      ansible.builtin.debug: {msg: 'it is {{ secret }}'}\n"
    )
    run = bench.run(check=True)
    shown = run.results("ange.web1")[0].diff
    assert "+a=[redacted] b=[redacted]" in shown
    assert "c=not-from-the-vault" in shown
    assert messages(run, "ange.web1")[1] == "it is [redacted]"


def test_a_task_that_prints_the_vault_password_does_not_bring_it_out(bench: Bench) -> None:
    bench.write("ange/group_vars/all.yml", "secret: !vault |\n" + "".join(f"  {x}\n" for x in vaulted(SECRET).split()))
    bench.playbook(f"    - name: Fail\n      ansible.builtin.fail: {{msg: 'it is {PASSWORD}'}}\n")
    told: list[RunEvent] = []
    run = bench.run(on_event=told.append)
    assert run.reason("ange.web1") == "Fail: it is [redacted]"
    assert PASSWORD not in repr((run, told))


def test_extra_variables_are_in_no_argument(bench: Bench) -> None:
    bench.playbook(
        "    - name: Use\n      ansible.builtin.command: {argv: [grep, -c, canary], stdin: '{{ secret }}'}\n"
    )
    processes: list[bytes] = []
    run = bench.run(extra_vars={"secret": SECRET}, on_event=lambda _: processes.append(process_list()))
    assert run.good, run.reason("ange.web1")
    assert SECRET.encode() not in b"".join(processes)


def test_a_password_command_that_fails_says_so_without_its_output(bench: Bench) -> None:
    bench.playbook("    - ansible.builtin.debug:\n")
    bench.write("ange/group_vars/all.yml", vaulted("a: b"))
    failing = ("sh", "-c", f"echo {PASSWORD}; exit 4")
    bench.settings = config.load(bench.settings.workspace, {}, {"vault.password_command": failing})
    with pytest.raises(ConfigError, match="ended with 4") as caught:
        bench.run()
    assert PASSWORD not in str(caught.value)


# --- stopping ---------------------------------------------------------------------------------------------------


def test_ctrl_c_stops_ansible_and_says_which_hosts_are_unknown(bench: Bench, tmp_path: Path) -> None:
    mark = f"{100_000 + os.getpid()}"
    bench.playbook(f"    - name: Wait\n      ansible.builtin.command: sleep {mark}\n")
    seen: list[RunEvent] = []

    def stop(event: RunEvent) -> None:
        seen.append(event)
        if len(seen) == 1:
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(Interrupted, match=r"not known of: ange\.web1, sundsvall\.web1"):
        bench.run(*STOCK.hosts[:2], on_event=stop)
    assert time.monotonic() - started < 20
    assert not list(SHARED_MEMORY.glob(f"opsctl-*-{bench.settings.id}/*"))
    assert b"ansible-playbook" not in b"".join(
        line for line in process_list().split(b"\0") if bench.settings.id.encode() in line
    )


def test_a_worker_that_ansible_left_behind_is_stopped_as_well(bench: Bench) -> None:
    bench.playbook("    - name: Wait\n      ansible.builtin.command: sleep 60\n")
    left: list[subprocess.Popen[bytes]] = []

    def stop(_event: RunEvent) -> None:
        if not left:
            (private,) = SHARED_MEMORY.glob(f"opsctl-*-{bench.settings.id}/run-*")
            words = [sys.executable, "-c", "import time; time.sleep(60)", f"{private}/inventory.yml"]
            left.append(subprocess.Popen(words, start_new_session=True))
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        bench.run(on_event=stop)
    try:
        assert left[0].wait(60) == -signal.SIGKILL
    finally:
        left[0].kill()


def test_a_run_stops_when_opsctl_is_killed(bench: Bench, tmp_path: Path) -> None:
    """Nobody reads the pipe any more: the next event ends the run, and the task after it never starts."""
    flag = tmp_path / "second-task-ran"
    bench.playbook(
        "    - name: First\n      ansible.builtin.command: sleep 0.5\n"
        "    - name: Second\n      ansible.builtin.command: sleep 0.5\n"
        f"    - name: Third\n      ansible.builtin.command: touch {flag}\n"
    )
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from opsctl import config\n"
        "from tests.unit.test_ansible_runner import STOCK, Bench, FakeTransport\n"
        "bench = Bench(settings=config.load(Path(sys.argv[1]), {}), transport=FakeTransport(config_file=Path('/x')))\n"
        "bench.run(on_event=lambda _: os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    root = str(Path(__file__).parents[2])
    ended = subprocess.run(
        [sys.executable, "-c", program, str(bench.settings.workspace), root], check=False, timeout=60
    )
    assert ended.returncode == -signal.SIGKILL
    left = list(SHARED_MEMORY.glob(f"opsctl-*-{bench.settings.id}/run-*"))
    assert left, "a killed run leaves its folder"
    deadline = time.monotonic() + 30
    while any(str(left[0]).encode() in line for line in process_list().split(b"\0")):
        assert time.monotonic() < deadline, "ansible-playbook still runs"
        time.sleep(0.1)
    assert not flag.exists()
    bench.playbook("    - ansible.builtin.debug:\n")
    bench.run()
    assert not list(SHARED_MEMORY.glob(f"opsctl-*-{bench.settings.id}/run-*")), "the next run removes it"


def test_folders_of_running_runs_are_left_alone(bench: Bench) -> None:
    with private_folder(bench.settings) as folder:
        assert remove_remains(folder.parent) == 0
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    assert not folder.parent.exists(), "nothing is left of the last run"


def test_without_a_folder_in_memory_nothing_runs(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="tmpfs"), private_folder(bench.settings, bases=(Path("/usr"),)):
        pass


def test_runs_at_the_same_time_do_not_take_each_others_folders(bench: Bench) -> None:
    def one(_: int) -> bool:
        with private_folder(bench.settings) as folder:
            (folder / "file").write_text("x")
            return (folder / "file").exists()

    with ThreadPoolExecutor(max_workers=8) as pool:
        assert all(pool.map(one, range(200)))
    assert not list(SHARED_MEMORY.glob(f"opsctl-*-{bench.settings.id}"))
