"""The roles keep the house's rules: specifications equal defaults, READMEs are current, names are prefixed."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.house.repository import ROOT

ROLES = sorted(path for path in (ROOT / "roles").iterdir() if (path / "meta").is_dir())
LOCKING = ("/etc/ssh/", "/etc/sudoers", "/etc/nftables", "{{")
PHASES = ("preflight", "install", "configure", "run")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


@pytest.fixture(params=ROLES, ids=lambda path: path.name)
def role(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def test_the_argument_specification_equals_the_defaults(role: Path) -> None:
    options = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert {name: option["default"] for name, option in options.items()} == load(role / "defaults/main.yml")


def test_every_variable_carries_the_roles_name(role: Path) -> None:
    assert all(name.startswith(f"{role.name}_") for name in load(role / "defaults/main.yml"))
    assert all(name.startswith(f"_{role.name}_") for name in load(role / "vars/main.yml") or {})


def test_every_option_says_what_it_is(role: Path) -> None:
    for name, option in load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"].items():
        assert option["description"].endswith("."), name


def test_the_readme_is_what_the_specification_says(role: Path) -> None:
    pages: dict[Path, str] = runpy.run_path(str(ROOT / "docs/roles.py"))["pages"]()
    text = {path.parent.name: text for path, text in pages.items()}[role.name]
    assert (role / "README.md").read_text(encoding="utf-8") == text, "make docs"


def test_the_phases_come_in_their_order(role: Path) -> None:
    imported = [
        task["ansible.builtin.import_tasks"].removesuffix(".yml")
        for task in load(role / "tasks/main.yml")
        if "ansible.builtin.import_tasks" in task
    ]
    assert imported == [phase for phase in PHASES if phase in imported]
    assert {path.stem for path in (role / "tasks").iterdir()} == {"main", *imported}


def test_every_file_that_could_lock_us_out_is_checked_before_it_is_put_in_place() -> None:
    checked = {
        "users/tasks/configure.yml": "visudo -cf %s",
        "ssh/tasks/configure.yml": "-t -f %s",
        "firewall/tasks/configure.yml": "nft -c -f %s",
    }
    for file, command in checked.items():
        tasks = load(ROOT / "roles" / file)
        given = [task["opsctl_file"] for task in tasks if "opsctl_file" in task]
        names = load(ROOT / "roles" / file.split("/")[0] / "vars/main.yml")
        files = [
            each
            for one in given
            for each in (names["_users_files"] if one.get("files", "")[:1] == "{" else one.get("files", [one]))
        ]
        locking = [each for each in files if each["path"].startswith(LOCKING)]
        assert locking
        for each in locking:
            assert each["validate"].endswith(command), each["path"]


def test_the_guard_comes_before_whatever_could_lock_us_out() -> None:
    roles = [entry["role"] for entry in load(ROOT / "playbooks/provision.yml")[0]["roles"]]
    guard = roles.index("guard")
    assert {"users", "ssh", "firewall", "kernel", "filesystem"} == set(roles[guard + 1 :])
    tags = load(ROOT / "playbooks/provision.yml")[0]["roles"][guard]["tags"]
    assert {"users", "ssh", "firewall", "kernel", "filesystem"} <= set(tags)
