"""Style, types, imports and Ansible content are clean."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.repository import ROOT, run


def test_ruff_finds_nothing() -> None:
    answer = run("ruff", "check", "--output-format", "concise", ".")
    assert answer.returncode == 0, answer.stdout


def test_every_file_is_formatted() -> None:
    answer = run("ruff", "format", "--check", ".")
    assert answer.returncode == 0, answer.stdout


def test_the_types_hold() -> None:
    answer = run("mypy")
    assert answer.returncode == 0, answer.stdout


def test_imports_go_down_only() -> None:
    answer = run("lint-imports", "--no-cache")
    assert answer.returncode == 0, answer.stdout


def test_ansible_lint_finds_nothing_in_the_production_profile(tmp_path: Path) -> None:
    content = [name for name in ("playbooks", "roles") if any((ROOT / name).rglob("*.yml"))]
    if not content:
        pytest.fail("there is no Ansible content to look at")
    answer = run(
        *("ansible-lint", "--offline", "--strict", "--nocolor", "--profile", "production", *content),
        ANSIBLE_HOME=str(tmp_path),
        XDG_CACHE_HOME=str(tmp_path),
    )
    assert answer.returncode == 0, answer.stdout


def test_shell_scripts_are_sound() -> None:
    for script in (".ci/run", ".ci/system-packages"):
        answer = run("bash", "-n", script)
        assert answer.returncode == 0, answer.stdout
