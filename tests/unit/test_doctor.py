"""What the doctor says of machine, workspace, inventory, keys, state and hosts; and that it changes nothing."""

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opsctl import config
from opsctl.config import Settings
from opsctl.errors import HostFailed, HostKeyRefused, Unreachable
from opsctl.inventory import sync
from opsctl.model.host import Host
from opsctl.overview import doctor, examine_inventory, examine_keys, examine_workspace, support, workspace
from opsctl.overview.examination import AREAS, Look, listed
from opsctl.overview.examine_hosts import judge
from opsctl.overview.examine_machine import machine
from opsctl.state.store import Store

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampleX opsctl@example"
HOST = Host(name="web1", tenant="ange", address="192.0.2.11", role="web", platform="debian-12")


@pytest.fixture(name="settings")
def _settings(tmp_path: Path) -> Settings:
    """A workspace with one tenant, one host and no key."""
    folder = tmp_path / "ws"
    workspace.make(folder, [workspace.tenant_of("ange=Ånge kommun")])
    source = folder / "inventories/ange/source.yml"
    source.write_text(
        "version: 1\ntenant: ange\nhosts:\n  - {name: web1, address: 192.0.2.11, role: web, platform: debian-12}\n"
    )
    (folder / "inventories/ange/hosts.yml").write_text(source.read_text())
    return config.load(folder, {})


@pytest.fixture(name="with_key")
def _with_key(settings: Settings) -> Callable[[], Settings]:
    def make() -> Settings:
        path = settings.workspace / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
        return config.load(settings.workspace, {"OPSCTL_SSH_IDENTITY": "id"})

    return make


def found(looks: list[Look], name: str) -> Look:
    return next(look for look in looks if look.name == name)


def test_this_machine_has_what_opsctl_needs() -> None:
    looks = list(machine())
    assert {look.verdict for look in looks} == {"ok"}
    assert {"python", "ssh", "ssh-keygen", "ansible", "testinfra"} <= {look.name for look in looks}


def test_a_program_that_is_missing_is_bad_and_says_which_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    look = found(list(machine()), "ssh")
    assert (look.verdict, look.mend) == ("bad", "apt-get install openssh-client")


def test_a_workspace_without_its_file_is_a_verdict_and_not_a_crash(tmp_path: Path) -> None:
    looks = list(doctor.examine(lambda: config.load(config.find_workspace(tmp_path, {}), {}), NOW))
    assert looks[-1].verdict == "bad"
    assert "opsctl init" in looks[-1].mend


def test_each_fault_of_the_settings_is_a_line(settings: Settings) -> None:
    (settings.workspace / "opsctl.yml").write_text("version: 1\nssh: {colour: blue, parallel: many}\n")
    examined = doctor.examine(lambda: config.load(settings.workspace, {}), NOW)
    looks = [look for look in examined if look.area == "workspace"]
    assert [look.verdict for look in looks] == ["bad", "bad"]


def test_a_look_around_leaves_the_workspace_as_it_was(settings: Settings) -> None:
    before = {path: path.stat().st_mtime_ns for path in settings.workspace.rglob("*")}
    looks = list(doctor.examine(lambda: settings, NOW))
    assert {path: path.stat().st_mtime_ns for path in settings.workspace.rglob("*")} == before
    assert {look.area for look in looks} == set(AREAS) - {"hosts"}
    assert all(look.mend for look in looks if look.verdict != "ok")


def test_hosts_without_a_key_lists_that_are_missing_and_a_changed_source_are_told(settings: Settings) -> None:
    source = settings.inventories / "ange/source.yml"
    source.write_text(source.read_text().replace("192.0.2.11", "192.0.2.12"))
    looks = list(examine_inventory.inventory(settings, NOW))
    assert "1 host without an approved key: ange.web1" in found(looks, "host keys").seen
    assert "ange has no accounts, ssh_groups" in found(looks, "tenant").seen
    assert found(looks, "source").mend == "opsctl inventory sync"
    assert sync.plan(settings).diff


def test_a_fault_of_the_inventory_is_bad_with_its_line(settings: Settings) -> None:
    path = settings.inventories / "ange/hosts.yml"
    path.write_text(path.read_text().replace("192.0.2.11", "127.0.0.1"))
    looks = list(examine_inventory.inventory(settings, NOW))
    assert looks[0].verdict == "bad"
    assert "hosts.yml:4: address: 127.0.0.1 is a loopback address" in looks[0].seen


def test_no_key_and_no_agent_is_bad(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    assert [look.verdict for look in examine_keys.keys(settings)] == ["bad"]


def test_a_key_that_others_can_read_is_bad_with_the_command_that_mends_it(with_key: Callable[[], Settings]) -> None:
    settings = with_key()
    path = settings.workspace / "id"
    assert [look.verdict for look in examine_keys.keys(settings)] == ["ok"]
    path.chmod(0o644)
    look = next(examine_keys.keys(settings))
    assert (look.verdict, look.mend) == ("bad", f"chmod 0600 {path}")


def test_a_file_that_is_no_private_key_or_not_there_is_bad(with_key: Callable[[], Settings]) -> None:
    settings = with_key()
    path = settings.workspace / "id"
    path.write_text("nonsense")
    assert next(examine_keys.keys(settings)).verdict == "bad"
    path.unlink()
    assert "is not there" in next(examine_keys.keys(settings)).seen


def test_a_tenant_that_would_lock_us_out_is_bad(with_key: Callable[[], Settings]) -> None:
    settings = with_key()
    tenant = settings.inventories / "ange/tenant.yml"
    tenant.write_text(
        "version: 1\nname: ange\nssh_groups: [ssh-login]\naccounts:\n"
        f"  - {{name: opsctl, automation: true, groups: [ssh-login], keys: ['{KEY}']}}\n"
    )
    looks = list(examine_keys.keys(settings))
    assert looks[-1].verdict == "bad"
    assert "would close our own way in" in looks[-1].seen
    ours = (settings.workspace / "id.pub").read_text().strip()
    tenant.write_text(tenant.read_text().replace(KEY, ours))
    assert [look.verdict for look in examine_keys.keys(settings)] == ["ok"]


def test_sealed_files_without_a_way_to_open_them_are_bad(settings: Settings) -> None:
    folder = settings.inventories / "ange/group_vars"
    folder.mkdir()
    (folder / "secret.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n00\n")
    look = found(list(examine_workspace.workspace(settings)), "vault")
    assert look.verdict == "bad"
    assert "ange/group_vars/secret.yml" in look.seen


def test_git_is_asked_whether_it_knows_the_workspace(settings: Settings) -> None:
    def git(*words: str) -> None:
        name = ["-c", "user.name=a", "-c", "user.email=a@ange.example"]
        subprocess.run(["git", "-C", str(settings.workspace), *name, *words], check=True, capture_output=True)

    def seen() -> list[str]:
        return [look.seen for look in examine_workspace.workspace(settings) if look.name == "git"]

    assert seen() == ["not in git: nobody sees who changed what"]
    git("init")
    assert "not committed" in seen()[0]
    git("add", ".")
    git("commit", "-m", "Begin")
    assert seen() == ["settings and inventories are committed"]
    (settings.workspace / ".gitignore").unlink()
    assert ".state is not ignored by git" in seen()[0]


def test_a_secret_that_git_would_take_or_has_taken_is_told(settings: Settings) -> None:
    def git(*words: str) -> None:
        name = ["-c", "user.name=a", "-c", "user.email=a@ange.example"]
        subprocess.run(["git", "-C", str(folder), *name, *words], check=True, capture_output=True)

    def seen() -> list[tuple[str, str]]:
        looks = list(examine_workspace.workspace(config.load(folder, {})))
        return [(look.verdict, look.seen) for look in looks if look.name == "git" and "secret" in look.seen]

    folder = settings.workspace
    with (folder / "opsctl.yml").open("a") as file:
        file.write("netbox: {token_file: '{tenant}.token'}\nmonitor: {token_file: ~/elsewhere.token}\n")
    for name in ("ange", "nobodys"):
        (folder / f"{name}.token").write_text("nbt_secret")
    (folder / ".gitignore").write_text(".state/\n")
    git("init")
    assert seen() == [("warn", "ange.token holds a secret, and git would take it")]
    git("add", ".")
    git("commit", "-m", "Begin")
    assert seen() == [("bad", "ange.token holds a secret, and it is in git")]
    git("rm", "--cached", "ange.token")
    (folder / ".gitignore").write_text(workspace.GITIGNORE)
    assert seen() == []


def test_the_store_is_looked_at_without_being_made(settings: Settings) -> None:
    assert [look.verdict for look in examine_workspace.state(settings)] == ["ok"]
    assert not settings.state.exists()
    Store.open(settings.state).close()
    assert {look.verdict for look in examine_workspace.state(settings)} == {"ok"}
    (settings.state / "store.db").write_bytes(b"not a database" * 100)
    looks = list(examine_workspace.state(settings))
    assert looks[0].verdict == "bad"
    assert "restore" in looks[0].mend


def test_own_content_is_listed_with_its_hash(settings: Settings) -> None:
    role = settings.workspace / "roles/base/tasks"
    role.mkdir(parents=True)
    (role / "main.yml").write_text("[]\n")
    own = config.load(settings.workspace, {"OPSCTL_WORKSPACE_CONTENT": "./"})
    names = {look.name: look.seen for look in examine_workspace.own_content(own)}
    assert "SHA-256" in names["roles/base"]


ANSWER = {"python": "3.11.2", "os": {"id": "debian", "version": "12"}}


@pytest.mark.parametrize(
    ("answer", "verdict", "seen"),
    [
        (ANSWER, "ok", "sudo gives root"),
        (ANSWER | {"python": "3.8.10"}, "bad", "Python is too old"),
        (ANSWER | {"os": {"id": "ubuntu", "version": "24.04"}}, "warn", "the inventory says debian-12"),
        (Unreachable("ange.web1", "no answer in time", hint="is it up?"), "bad", "no answer in time"),
        (HostKeyRefused("ange.web1", "no key is approved for it"), "bad", "no key is approved"),
        (HostFailed("ange.web1", "sudo: a password is required", hint="sudoers"), "bad", "a password is required"),
    ],
)
def test_a_host_is_judged_by_its_answer(answer: object, verdict: str, seen: str) -> None:
    look = judge(HOST, answer)
    assert look.verdict == verdict
    assert seen in look.seen
    assert bool(look.mend) == (verdict != "ok")


def test_every_verb_of_the_support_table_names_every_platform() -> None:
    assert all(len(row) == len(support.PLATFORMS) + 1 for row in support.rows())
    refused = [row[1 + support.PLATFORMS.index("windows")] for row in support.rows()]
    assert set(refused) == {"refused"}


def test_long_lists_are_cut() -> None:
    assert listed([str(n) for n in range(7)]) == "0, 1, 2, 3, 4 and 2 more"


def test_rings_that_wait_for_a_second_person_need_two_who_may_approve(settings: Settings) -> None:
    def look() -> Look | None:
        return next((one for one in examine_workspace.workspace(settings) if one.name == "operators"), None)

    assert look() is None
    tenant, operators = settings.inventories / "ange/tenant.yml", settings.inventories / "operators"
    tenant.write_text(tenant.read_text() + "approval: [broad]\n")
    lacking = look()
    assert lacking is not None
    assert (lacking.verdict, lacking.mend) == ("bad", f"add their keys to {operators}")
    assert lacking.seen == "ange: rings need a second person, and 0 persons may approve"
    operators.write_text("anna\n")
    broken = look()
    assert broken is not None
    assert f"{operators}:1" in broken.seen
    for name in ("anna", "bo"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(settings.workspace / name)], check=True
        )
    lines = [f"{name} {(settings.workspace / name).with_suffix('.pub').read_text()}" for name in ("anna", "bo")]
    operators.write_text("".join(lines))
    good = look()
    assert good is not None
    assert (good.verdict, good.seen) == ("ok", "2 persons may approve plans")


@pytest.mark.parametrize(("route", "verdict"), [("= drift", "ok"), ("= nobody", "bad"), ("evnt:end = drift", "bad")])
def test_routes_of_notifications_are_looked_at_and_no_address_is_shown(
    settings: Settings, route: str, verdict: str
) -> None:
    (settings.workspace / "targets.yml").write_text("drift: json://user:canary-12345@127.0.0.1:1/\n")
    (settings.workspace / "targets.yml").chmod(0o600)
    given = {**settings.values, "notify.routes": (route,), "notify.targets_file": "targets.yml"}
    looks = list(examine_workspace.workspace(Settings(workspace=settings.workspace, values=given)))
    assert found(looks, "notifications").verdict == verdict
    assert "canary-12345" not in str(looks)
