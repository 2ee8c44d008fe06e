"""Who the ledger says that it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsctl.state.login import who

NOBODY = 65534


@pytest.fixture(name="unset")
def _unset(tmp_path: Path) -> Path:
    file = tmp_path / "loginuid"
    file.write_text("4294967295")
    return file


def test_the_environment_alone_names_nobody(unset: Path) -> None:
    assert who({"LOGNAME": "anna", "USER": "anna"}, uid=NOBODY, login=unset) == "nobody"


def test_an_account_that_claims_to_be_somebody_else_is_named_too(unset: Path) -> None:
    assert who({"SUDO_USER": "anna"}, uid=NOBODY, login=unset) == "anna as nobody"


def test_root_is_who_called_sudo(unset: Path) -> None:
    assert who({"SUDO_USER": "anna"}, uid=0, login=unset) == "anna"
    assert who({}, uid=0, login=unset) == "root"


def test_the_login_wins_over_what_is_claimed(tmp_path: Path) -> None:
    (tmp_path / "loginuid").write_text(str(NOBODY))
    assert who({"SUDO_USER": "anna"}, uid=0, login=tmp_path / "loginuid") == "nobody"


@pytest.mark.parametrize("claim", ["", "anna\nroot", "\x1b[31m", "a b", "x" * 200])
def test_a_name_that_cannot_be_is_no_name(claim: str, unset: Path) -> None:
    assert who({"SUDO_USER": claim}, uid=NOBODY, login=unset) == "nobody"


def test_an_account_without_a_name_and_a_machine_without_login_uids_still_answer(tmp_path: Path) -> None:
    assert who({}, uid=4_000_000, login=tmp_path / "none") == "4000000"
