"""The catalogue and the profiles: what is shipped is sound, and what is wrong is told with its line."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from opsctl import content
from opsctl.compliance import catalogue as catalogues
from opsctl.compliance import profiles
from opsctl.errors import ConfigError, UnknownName
from opsctl.model.finding import Catalogue

HEAD = "version: 1\nname: own\ntitle: Own\ncontrols:\n"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return catalogues.load()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A workspace's content root with checks of its own, a copy of those that are shipped."""
    shutil.copytree(content.folder(catalogues.FOLDER), tmp_path / catalogues.FOLDER)
    return tmp_path


def write(own: Path, text: str) -> Path:
    file = own / catalogues.FOLDER / "profiles" / "own.yml"
    file.write_text(text, encoding="utf-8")
    return file


def faults(own: Path, catalogue: Catalogue) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        profiles.load("own", catalogue, own)
    return [str(problem) for problem in caught.value.problems]


def test_the_catalogue_holds_129_controls_and_says_which_can_be_checked(catalogue: Catalogue) -> None:
    assert len(catalogue.controls) == 129
    assert sum(control.built for control in catalogue.controls) >= 30


def test_every_control_that_can_be_checked_speaks_swedish_too(catalogue: Catalogue) -> None:
    for control in catalogue.controls:
        assert bool(control.title_sv and control.check_sv) == control.built, control.id


def test_every_mapping_names_a_benchmark_of_the_catalogue(catalogue: Catalogue) -> None:
    for control in catalogue.controls:
        assert set(control.maps) <= set(catalogue.benchmarks), control.id
        assert control.maps, control.id


def test_the_profile_standard_leaves_out_only_what_an_ordinary_server_cannot_meet(catalogue: Catalogue) -> None:
    chosen = [control.id for control in profiles.load("standard", catalogue).controls]
    left_out = {control.id for control in catalogue.controls if control.built and control.id not in chosen}
    assert left_out <= {"FS-09"}
    assert chosen == [control.id for control in catalogue.controls if control.id in chosen]


def test_every_role_that_a_checked_control_names_is_there(catalogue: Catalogue) -> None:
    roles = {path.name for path in content.folder("roles").iterdir()}
    assert {c.remediation_role for c in catalogue.controls if c.built} <= roles


def test_every_remediation_variable_is_a_default_of_its_role(catalogue: Catalogue) -> None:
    for control in catalogue.controls:
        if control.remediation_variable:
            text = (content.folder("roles") / control.remediation_role / "defaults/main.yml").read_text()
            assert re.search(rf"(?m)^{control.remediation_variable}:", text), control.id


def test_a_profile_tailors_a_value(own: Path, catalogue: Catalogue) -> None:
    write(own, HEAD + "  - {id: SSH-06, values: {interval_max: 60}}\n  - id: SSH-01\n")
    found = profiles.load("own", catalogue, own)
    assert [control.id for control in found.controls] == ["SSH-01", "SSH-06"]
    assert dict(found.controls[1].values) == {"interval_max": 60, "count_max": 3}


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("  - id: SSH-99\n", "no control is called 'SSH-99'"),
        ("  - {id: SSH-06, values: {interval: 60}}\n", "SSH-06 has no value 'interval'"),
        ("  - {id: SSH-06, values: {interval_max: soon}}\n", "'soon' is of another kind"),
        ("  - {id: SSH-01, severity: low}\n", "'severity' is not known here"),
        ("  - id: SSH-01\n  - id: SSH-01\n", "SSH-01 is chosen twice"),
        ("  []\n", "no control is chosen"),
    ],
)
def test_a_fault_in_a_profile_is_told_with_its_line(own: Path, catalogue: Catalogue, entry: str, told: str) -> None:
    file = write(own, HEAD + entry)
    found = faults(own, catalogue)
    assert told in found[0]
    assert re.match(re.escape(str(file)) + r":\d+: ", found[0])


def test_a_control_without_a_check_function_cannot_be_claimed(own: Path, catalogue: Catalogue) -> None:
    write(own, HEAD + "  - id: SSH-04\n")
    unbuilt = tuple(replace(control, built=control.id != "SSH-04") for control in catalogue.controls)
    assert "SSH-04 has no check function yet" in faults(own, replace(catalogue, controls=unbuilt))[0]


def test_an_unknown_profile_names_those_that_are_there(catalogue: Catalogue) -> None:
    with pytest.raises(UnknownName, match="no profile is called 'strictest'") as caught:
        profiles.load("strictest", catalogue)
    assert "standard" in caught.value.hint


def test_narrowing_says_what_was_left_out(catalogue: Catalogue) -> None:
    profile, left = profiles.narrow(profiles.load("standard", catalogue), ["SSH-01", "SSH-01"])
    assert [control.id for control in profile.controls] == ["SSH-01"]
    assert len(left) == len(profiles.load("standard", catalogue).controls) - 1
    with pytest.raises(UnknownName):
        profiles.narrow(profile, ["SSH-02"])


def test_a_setting_tailors_a_value_unless_the_profile_does(own: Path, catalogue: Catalogue) -> None:
    standard = profiles.load("standard", catalogue)
    tailored = profiles.tailor(standard, catalogue, "PAT-04", "max_age_days", 3)
    assert next(c for c in tailored.controls if c.id == "PAT-04").values["max_age_days"] == 3
    write(own, HEAD + "  - {id: PAT-04, values: {max_age_days: 2}}\n")
    strict = profiles.tailor(profiles.load("own", catalogue, own), catalogue, "PAT-04", "max_age_days", 3)
    assert strict.controls[0].values["max_age_days"] == 2


def test_a_check_without_an_entry_in_the_catalogue_is_a_fault(own: Path) -> None:
    (own / catalogues.FOLDER / "check_more.py").write_text('@pytest.mark.control("SSH-77")\n')
    with pytest.raises(ConfigError) as caught:
        catalogues.load(own)
    assert "SSH-77 has a check function and no entry" in str(caught.value.problems[0])
