"""Builds the lab's own packages: small, real .deb files with an old and a fixed version."""

from __future__ import annotations

import tempfile
from pathlib import Path

from opsctl.lab.command import run
from opsctl.lab.recipe import FIXED, OwnPackage


def build(package: OwnPackage, version: str, into: Path, *, scratch: Path | None = None) -> Path:
    """Builds one version into the folder `into` and returns the file; any version but the old one counts as fixed."""
    fixed = version >= FIXED
    with tempfile.TemporaryDirectory(dir=scratch, prefix="deb.") as folder:
        tree = Path(folder, package.name)
        _write(tree / "DEBIAN/control", control(package, version, fixed=fixed))
        conffile = f"/etc/{package.name}/{package.name}.conf"
        _write(tree / "DEBIAN/conffiles", conffile + "\n")
        _write(tree / conffile[1:], f"# default of {version}\n")
        _write(tree / f"usr/share/{package.name}/version", f"{package.name} {version}\n")
        for path, text in package.files:
            _write(tree / path, text)
        steps = "\n".join(filter(None, (package.postinst, package.postinst_when_fixed if fixed else "")))
        _write(tree / "DEBIAN/postinst", f"#!/bin/sh\nset -e\n{steps}\nexit 0\n", mode=0o755)
        for inner in (tree, *(path for path in tree.rglob("*") if path.is_dir())):
            inner.chmod(0o755)  # whatever the caller's umask
        into.mkdir(parents=True, exist_ok=True)
        target = into / f"{package.name}_{version}_all.deb"
        run("dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build", tree, target)
    return target


def control(package: OwnPackage, version: str, *, fixed: bool) -> str:
    depends = ", ".join(filter(None, (package.depends, package.depends_when_fixed if fixed else "")))
    fields = {
        "Package": package.name,
        "Version": version,
        "Architecture": "all",
        "Maintainer": "Lab <archive@lab.invalid>",
        "Section": "misc",
        "Priority": "optional",
        "Depends": depends,
        "Description": f"package of the lab: {package.name.removeprefix('opslab-')}",
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


def _write(path: Path, text: str, *, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
