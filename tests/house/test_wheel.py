"""The wheel holds all that opsctl needs, and works outside of the clone."""

from __future__ import annotations

import json
import re
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from email.parser import Parser
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.house.repository import ROOT, files, imports, python_files, run, short

CONTENT = ("playbooks", "roles", "templates", "tests/compliance")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    answer = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    assert answer.returncode == 0, answer.stdout
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment outside of the clone: opsctl from the wheel, its dependencies as they are installed here.

    A line in a .pth file lends the dependencies without the clone: .pth files in there are not read in turn, and that
    is how the editable opsctl comes into the developer's environment.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv/bin/python"
    answer = run(
        sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel
    )
    assert answer.returncode == 0, answer.stdout
    (packages,) = (folder / "venv/lib").glob("python3*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n", encoding="utf-8")
    return folder


def opsctl(elsewhere: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # -P and an empty PYTHONPATH: nothing of the clone may leak in.
    return run(elsewhere / "venv/bin/opsctl", *arguments, cwd=elsewhere, PYTHONPATH="", OPSCTL_WORKSPACE="")


def test_every_file_of_package_and_content_is_in_the_wheel(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {short(path) for path in files() if path.is_relative_to(ROOT / "opsctl")}
    for name in CONTENT:
        wanted |= {f"opsctl/_content/{short(path)}" for path in files() if path.is_relative_to(ROOT / name)}
    wanted |= {short(path) for path in files() if path.is_relative_to(ROOT / "ansible_collections")}
    assert wanted <= inside
    extra = {name for name in inside - wanted if ".dist-info/" not in name}
    assert not extra


def test_the_wheel_names_its_licences_and_dependencies(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
        licences = {Path(found).name for found in archive.namelist() if ".dist-info/licenses/" in found}
    assert metadata["License-Expression"] == "EUPL-1.2"
    assert {"LICENSE", "GPL-3.0-or-later.txt"} <= licences
    locked = set(re.findall(r"(?m)^([A-Za-z0-9._-]+)==", (ROOT / "requirements/runtime.txt").read_text("utf-8")))
    required = metadata.get_all("Requires-Dist") or []
    declared = {_normal(re.split(r"[^A-Za-z0-9._-]", line)[0]) for line in required if "extra ==" not in line}
    assert declared
    assert declared <= {_normal(name) for name in locked}


def test_what_the_package_imports_is_declared() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    declared = {_normal(name) for name in re.findall(r'(?m)^  "([A-Za-z0-9_-]+)>=', text.partition("[project.opt")[0])}
    providers = packages_distributions()
    for path in python_files("opsctl", "tests/compliance"):
        for top in {name.partition(".")[0] for name in imports(path)} - {"opsctl"} - sys.stdlib_module_names:
            local = (path.parent / f"{top}.py").exists() or (path.parent / top).is_dir()
            found = {_normal(name) for name in providers.get(top, [])}
            assert local or found & declared, f"{short(path)} imports {top}, which is not declared"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_installed_package_is_the_one_from_the_wheel(elsewhere: Path) -> None:
    code = "import opsctl, opsctl.content as c; print(opsctl.__file__); print(c.shipped())"
    answer = run(elsewhere / "venv/bin/python", "-P", "-c", code, cwd=elsewhere, PYTHONPATH="")
    assert answer.returncode == 0, answer.stdout
    package, content = answer.stdout.split()
    assert Path(package).is_relative_to(elsewhere)
    assert Path(content) == Path(package).parent / "_content"


def test_help_is_shown_outside_of_the_clone(elsewhere: Path) -> None:
    answer = opsctl(elsewhere, "--help")
    assert answer.returncode == 0, answer.stdout
    assert "Every day" in answer.stdout


def test_a_workspace_is_made_and_its_hosts_are_listed_outside_of_the_clone(elsewhere: Path) -> None:
    answer = opsctl(elsewhere, "init", "workspace")
    assert answer.returncode == 0, answer.stdout
    assert (elsewhere / "workspace/opsctl.yml").is_file()
    answer = opsctl(elsewhere, "-C", "workspace", "inventory", "list")
    assert answer.returncode == 3, answer.stdout
    assert "the inventory holds no host yet" in answer.stdout
    shutil.copytree(ROOT / "inventories", elsewhere / "workspace/inventories", dirs_exist_ok=True)
    answer = opsctl(elsewhere, "-C", "workspace", "inventory", "list", "--output", "json")
    assert answer.returncode == 0, answer.stdout
    assert "ange-web1" in {host["name"] for host in json.loads(answer.stdout)["hosts"]}
