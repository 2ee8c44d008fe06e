"""Names that belong to the machine where somebody works, and not into the repository; and licences."""

from __future__ import annotations

import configparser
import os
import re
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.house.repository import ROOT, files, imports, python_files, run, short

# Names that everybody has; a machine's own mirror is none of them.
PUBLIC = {"deb.debian.org", "security.debian.org", "pypi.org", "files.pythonhosted.org", "localhost", "127.0.0.1", ""}
FOLDERS_OF_EVERYBODY = {"/", "/root", "/home", "/srv", "/opt", "/tmp", "/usr", "/var", "/builds", "/src", "/app"}
LOCKS = ("requirements/runtime.txt", "requirements/dev.txt")


def _texts() -> list[tuple[Path, str]]:
    return [(path, path.read_bytes().decode("utf-8", "replace")) for path in files()]


def _hosts_of_this_machine() -> set[str]:
    """Where this machine gets its packages from, as pip, uv, apt and npm are told."""
    settings = [value for name, value in os.environ.items() if re.match(r"(?i)(pip|uv|npm_config|https?|all)_", name)]
    settings.append(run("python", "-m", "pip", "config", "list").stdout)
    apt = Path("/etc/apt")
    settings += [path.read_text("utf-8", "replace") for path in apt.rglob("*") if path.suffix in (".list", ".sources")]
    settings += [path.read_text("utf-8", "replace") for path in apt.glob("apt.conf.d/*") if path.is_file()]
    urls = re.findall(r"(?<![\w+])https?://[^\s'\"\]>;]+", "\n".join(settings))
    return {urlsplit(url).hostname or "" for url in urls} - PUBLIC


def test_no_file_names_the_package_mirrors_of_this_machine() -> None:
    hosts = _hosts_of_this_machine()
    for path, text in _texts():
        for host in hosts:
            assert host not in text, f"{short(path)} names {host}"


def test_no_file_holds_a_path_of_this_machine() -> None:
    paths = [path for path in (ROOT, ROOT.parent, Path.home()) if str(path) not in FOLDERS_OF_EVERYBODY]
    for path, text in _texts():
        for local in paths:
            assert not re.search(rf"(?<![\w.]){re.escape(str(local))}/", text), f"{short(path)} holds {local}"


@pytest.mark.parametrize("lock", LOCKS)
def test_the_locks_hold_versions_and_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"(?m)^\s*--?(index-url|extra-index-url|find-links|trusted-host|i|f)\b", text)
    requirements = re.findall(r"(?m)^[A-Za-z0-9].*(?:\n +--hash.*)*", text)
    assert len(requirements) > 10
    for requirement in requirements:
        assert "==" in requirement.splitlines()[0], requirement
        assert "--hash=sha256:" in requirement, requirement


def test_both_locks_agree_on_every_version() -> None:
    def pins(lock: str) -> dict[tuple[str, str], str]:
        found = re.findall(
            r"(?m)^([A-Za-z0-9._-]+)==(\S+)(?: *; *python_full_version ([<>=]+ '[0-9.]+'))?", _lock(lock)
        )
        return {(name, python): version for name, version, python in found}

    runtime, development = (pins(lock) for lock in LOCKS)
    for (name, python), version in runtime.items():
        # What opsctl needs on some versions of Python alone, development may need on all.
        assert version == development.get((name, python), development.get((name, ""))), name


def _lock(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_no_file_ends_a_line_with_what_a_merge_left() -> None:
    for path, text in _texts():
        assert not re.search(r"(?m)^(<{7} |>{7} |={7}$)", text), short(path)


# Licences.


def test_the_package_is_under_the_eupl_with_both_licence_texts() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "EUPL-1.2"
    assert "EUROPEAN UNION PUBLIC LICENCE" in (ROOT / "LICENSE").read_text(encoding="utf-8").upper()
    gpl = (ROOT / "LICENSES/GPL-3.0-or-later.txt").read_text(encoding="utf-8")
    assert "GNU GENERAL PUBLIC LICENSE" in gpl


def test_files_that_import_ansible_itself_carry_its_licence_and_only_they() -> None:
    mark = "SPDX-License-Identifier: GPL-3.0-or-later"
    marked = {short(path) for path in python_files() if mark in path.read_text(encoding="utf-8")[:300]}
    using = {short(path) for path in python_files() if any(n.partition(".")[0] == "ansible" for n in imports(path))}
    assert marked == using


def test_pip_configuration_is_not_part_of_the_repository() -> None:
    names = {path.name for path in files()}
    assert not names & {"pip.conf", ".pypirc", ".npmrc", "sources.list", "uv.toml"}
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert not setup.sections()
