"""The plain texts of the catalogue, and the versions of its checks."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from opsctl.compliance import catalogue
from opsctl.errors import ConfigError

CHECKS = Path(__file__).parents[1] / "compliance"


def own(tmp_path: Path) -> Path:
    shutil.copytree(CHECKS, tmp_path / "tests" / "compliance", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def append(file: Path) -> None:
    file.write_text(file.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")


def test_every_control_says_in_plain_words_what_it_means_in_both_languages() -> None:
    controls = catalogue.load().controls
    for texts in ([c.plain for c in controls], [c.plain_sv for c in controls]):
        assert len(set(texts)) == len(controls), "each its own text"
        for text in texts:
            assert 1 <= len(re.findall(r"[.!?](?: |$)", text)) <= 2, text
            assert 60 <= len(text) <= 320, text
            assert not re.search(r"[`/_=]|\b(?:sysctl|sshd|UID|PAM|umask|TLS|daemon)\b", text), text
    assert all(control.plain != control.plain_sv for control in controls)
    assert any(set("åäö") & set(control.plain_sv) for control in controls)


def test_a_control_without_its_plain_text_makes_the_catalogue_unusable(tmp_path: Path) -> None:
    root = own(tmp_path)
    path = root / "tests" / "compliance" / "catalogue.yml"
    path.write_text(re.sub(r"\n    plain_sv: [^\n]*", "", path.read_text(encoding="utf-8"), count=1), encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        catalogue.load(root)
    assert [problem.what for problem in refused.value.problems] == ["plain_sv is missing"]


def test_a_check_has_another_version_once_its_file_or_a_shared_one_is_changed(tmp_path: Path) -> None:
    root = own(tmp_path)
    before = catalogue.load(root).by_id
    folder = root / "tests" / "compliance"
    append(folder / "check_users.py")
    after = catalogue.load(root).by_id
    assert before["USR-01"].check_version != after["USR-01"].check_version
    assert before["SSH-01"].check_version == after["SSH-01"].check_version != ""
    append(folder / "judging.py")
    assert catalogue.load(root).by_id["SSH-01"].check_version != before["SSH-01"].check_version
    assert all(bool(control.check_version) == control.built for control in after.values())
