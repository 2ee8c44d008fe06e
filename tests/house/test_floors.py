"""The floors of the house: that they are held by contracts, and what the contracts cannot say."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.house.repository import ROOT, imports, python_files, short

PURE = (
    "opsctl/errors.py",
    "opsctl/model",
    "opsctl/rollout/plan.py",
    "opsctl/rollout/machine.py",
    "opsctl/inventory/diff.py",
    "opsctl/compliance/waivers.py",
    "opsctl/takeover/steps.py",
)
CLOCKS = {"now", "utcnow", "today", "time", "monotonic", "perf_counter", "gmtime", "localtime"}
# One place that speaks with each third party.
IMPORTERS = {
    "ansible": ("opsctl/ansible/", "ansible_collections/opsctl/"),
    "apprise": ("opsctl/rollout/deliver.py",),
    "click": ("opsctl/cli/",),
    "cryptography": ("opsctl/state/reportkey.py",),
    "holidays": ("opsctl/inventory/calendars.py",),
    "icalendar": ("opsctl/inventory/icsfile.py", "opsctl/inventory/icsentry.py"),
    "jinja2": ("opsctl/report/", "opsctl/ansible/"),
    "paramiko": ("opsctl/ssh/",),
    "pynetbox": ("opsctl/inventory/netbox.py",),
    "pytest": ("opsctl/compliance/",),
    "recurring_ical_events": ("opsctl/inventory/icsfile.py",),
    "rich": ("opsctl/cli/output.py",),
    "sqlite3": ("opsctl/state/",),
    "testinfra": ("opsctl/compliance/",),
}


def contracts() -> list[dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return found


def test_the_contract_of_the_floors_is_exhaustive() -> None:
    (layers,) = [contract for contract in contracts() if contract["type"] == "layers"]
    assert layers["containers"] == ["opsctl"]
    assert layers["exhaustive"] is True
    # Everything else would be a way around it.
    assert set(layers["exhaustive_ignores"]) <= {"_content", "__main__"}
    assert "ignore_imports" not in layers


def test_every_room_stands_on_a_floor() -> None:
    (layers,) = [contract for contract in contracts() if contract["type"] == "layers"]
    placed = {name.strip(" ()") for floor in layers["layers"] for name in floor.split("|")}
    rooms = {path.relative_to(ROOT / "opsctl").parts[0].removesuffix(".py") for path in python_files("opsctl")}
    assert rooms - {"__init__", "__main__"} <= placed


def test_only_the_command_line_prints_and_exits() -> None:
    for path in python_files("opsctl"):
        # Programs of their own: what runs on hosts, what lies beside a report, what speaks to a machine's agent.
        programs = ("opsctl/report/verify.py", "opsctl/lab/vm/guest.py")
        if path.is_relative_to(ROOT / "opsctl" / "hostside") or short(path) in programs:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("sys.exit", "exit", "quit"):
                assert short(path) == "opsctl/cli/main.py", f"{short(path)}:{node.lineno} exits"


@pytest.mark.parametrize("package", sorted(IMPORTERS))
def test_each_third_party_has_its_one_place(package: str) -> None:
    for path in python_files("opsctl"):
        if any(name.partition(".")[0] == package for name in imports(path)):
            assert short(path).startswith(IMPORTERS[package]), f"{short(path)} imports {package}"


def test_pure_modules_never_look_at_the_clock() -> None:
    for path in _pure():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in CLOCKS, f"{short(path)}:{node.lineno} looks at the clock"


def test_pure_modules_do_no_input_or_output() -> None:
    forbidden = {"os", "pathlib", "socket", "sqlite3", "subprocess", "threading", "time", "urllib", "shutil", "yaml"}
    for path in _pure():
        assert not forbidden.intersection(name.partition(".")[0] for name in imports(path)), short(path)


def _pure() -> tuple[Path, ...]:
    return tuple(path for path in python_files("opsctl") if short(path).startswith(PURE))
