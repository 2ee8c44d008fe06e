"""The catalogue of controls: read from tests/compliance, and which of them have a check function there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from opsctl import content
from opsctl.documents import Problems, Section, read
from opsctl.errors import ConfigError
from opsctl.model.finding import SEVERITIES, Catalogue, Control

FOLDER = "tests/compliance"
ID = re.compile(r"[A-Z]{2,4}-\d{2,3}")
_MARK = re.compile(r'@pytest\.mark\.control\("([A-Z]+-\d+)"\)')


def folder(own: Path | None = None) -> Path:
    """Where the checks and the catalogue lie; `own` is the workspace's content root."""
    return content.folder(FOLDER, own)


def load(own: Path | None = None) -> Catalogue:
    """Every control. Raises ConfigError with file:line for each fault."""
    path = folder(own) / "catalogue.yml"
    problems = Problems()
    document = read(path, problems)
    document.number("version", 1, low=1, high=1)
    names = document.section("benchmarks")
    benchmarks = {key: names.text(key) for key in names.keys()}  # noqa: SIM118 - a Section is no dict
    built = _versions(folder(own))
    controls = tuple(_control(entry, built) for entry in document.sections("checks"))
    document.done()
    _refuse_twice(controls, path, problems)
    for missing in sorted(built.keys() - {control.id for control in controls}):
        problems.note(str(path), f"{missing} has a check function and no entry")
    problems.finish(ConfigError, "the catalogue of controls is not usable")
    return Catalogue(controls=controls, benchmarks=benchmarks, digest=hashlib.sha256(path.read_bytes()).hexdigest())


def _versions(checks: Path) -> dict[str, str]:
    """The controls that a check function names in its marker, each with the version of what it is made of.

    That is its own file and those that all checks share: another helper may judge in another way.
    """
    shared = hashlib.sha256()
    for file in sorted(checks.glob("*.py")):
        if not file.name.startswith("check_"):
            shared.update(file.read_bytes())
    found: dict[str, str] = {}
    for file in sorted(checks.glob("check_*.py")):
        text = file.read_bytes()
        version = hashlib.sha256(shared.digest() + text).hexdigest()[:16]
        found |= dict.fromkeys(_MARK.findall(text.decode("utf-8")), version)
    return found


def _control(entry: Section, built: Mapping[str, str]) -> Control:
    maps = entry.section("maps")
    control = Control(
        id=entry.text("id", required=True, pattern=ID),
        title=entry.text("title", required=True),
        title_sv=entry.text("title_sv"),
        severity=entry.one_of("severity", SEVERITIES, "high"),
        check=entry.text("check", required=True),
        check_sv=entry.text("check_sv"),
        plain=entry.text("plain", required=True),
        plain_sv=entry.text("plain_sv", required=True),
        remediation_role=entry.name("remediation_role", required=True),
        remediation_variable=entry.text("remediation_variable"),
        where=entry.one_of("where", ("host", "control"), "host"),
        maps={name: maps.texts(name) for name in maps.keys()},  # noqa: SIM118 - a Section is no dict
        values=entry.section("values").values(),
        moves=entry.flag("moves", default=False),
    )
    entry.done()
    return replace(control, built=control.id in built, check_version=built.get(control.id, ""))


def _refuse_twice(controls: tuple[Control, ...], path: Path, problems: Problems) -> None:
    seen: set[str] = set()
    for control in controls:
        if control.id in seen:
            problems.note(str(path), f"{control.id} is given twice")
        seen.add(control.id)
