"""Whose SSH signatures count: real keys and real signatures of ssh-keygen."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.errors import Refused
from opsctl.state import signing
from opsctl.state.signing import Entry, Operators

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
MESSAGE = "opsctl: approve patch-1, planned by anna, sha256 00\n"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key each for anna and bo, and one that nobody knows; bo has another one with a passphrase."""
    folder = tmp_path_factory.mktemp("keys")
    for name, passphrase in (("anna", ""), ("bo", ""), ("nobody", ""), ("locked", "secret")):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", str(folder / name)]
        subprocess.run(words, check=True)
    return folder


def operators(tmp_path: Path, keys: Path, *, bo: str = "") -> Operators:
    lines = [f"{name} {options} {(keys / name).with_suffix('.pub').read_text().strip()}".replace("  ", " ")
             for name, options in (("anna", ""), ("bo", bo))]  # fmt: skip
    (tmp_path / "operators").write_text("# who may approve\n\n" + "\n".join(lines) + "\n")
    return signing.load(tmp_path)


def test_a_signature_names_its_person_and_key(tmp_path: Path, keys: Path) -> None:
    known = operators(tmp_path, keys)
    found = signing.verify(known, MESSAGE, signing.sign(MESSAGE, keys / "bo"), NOW)
    assert (found.person, found.key) == ("bo", known.entries[1].key)
    assert found.key.startswith("SHA256:")


@pytest.mark.parametrize(
    ("signer", "message", "options", "told"),
    [
        ("nobody", MESSAGE, "", "is nobody's of"),
        ("bo", "another plan\n", "", "incorrect signature"),
        ("bo", MESSAGE, 'valid-before="20260101"', "key has expired"),
        ("bo", MESSAGE, 'valid-after="20270101"', "not yet valid"),
        ("bo", MESSAGE, 'namespaces="git,file"', "not permitted"),
    ],
)
def test_a_signature_that_does_not_count_is_refused_with_the_reason(
    tmp_path: Path, keys: Path, signer: str, message: str, options: str, told: str
) -> None:
    known = operators(tmp_path, keys, bo=options)
    with pytest.raises(Refused) as caught:
        signing.verify(known, MESSAGE, signing.sign(message, keys / signer), NOW)
    assert told in caught.value.message


def test_one_for_another_purpose_is_refused(tmp_path: Path, keys: Path) -> None:
    words = ["ssh-keygen", "-Y", "sign", "-n", "git", "-f", str(keys / "bo")]
    made = subprocess.run(words, input=MESSAGE, capture_output=True, text=True, check=True).stdout
    with pytest.raises(Refused, match="for 'git', not for 'opsctl'"):
        signing.verify(operators(tmp_path, keys), MESSAGE, made, NOW)


def test_a_revoked_key_is_refused(tmp_path: Path, keys: Path) -> None:
    known, made = operators(tmp_path, keys), signing.sign(MESSAGE, keys / "bo")
    signing.verify(known, MESSAGE, made, NOW)
    (tmp_path / "operators.revoked").write_text((keys / "bo.pub").read_text())
    with pytest.raises(Refused, match="does not hold"):
        signing.verify(known, MESSAGE, made, NOW)


@pytest.mark.parametrize("text", ["", "hello", signing._BEGIN + "\nxx\n" + signing._END, "\x1b[2J" + signing._BEGIN])
def test_what_is_no_signature_is_refused(tmp_path: Path, keys: Path, text: str) -> None:
    with pytest.raises(Refused, match="SSH signature"):
        signing.verify(operators(tmp_path, keys), MESSAGE, text, NOW)


@given(noise=st.text(max_size=200))
def test_noise_within_the_armour_is_refused_and_nothing_else(noise: str) -> None:
    with pytest.raises(Refused):
        signing.verify(Operators(path=Path("operators")), MESSAGE, f"{signing._BEGIN}\n{noise}\n{signing._END}", NOW)


def test_a_key_with_a_passphrase_fails_at_once_where_nobody_can_be_asked(keys: Path) -> None:
    with pytest.raises(Refused, match="could not sign"):
        signing.sign(MESSAGE, keys / "locked")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("* {key}", "no name of one person"),
        ("!bo {key}", "no name of one person"),
        ("bo cert-authority {key}", "an authority"),
        ("bo ssh-ed25519 AAAA", "cannot be read"),
        ("bo", "no allowed signer"),
    ],
)
def test_a_line_that_names_nobody_is_a_fault_with_its_number(tmp_path: Path, keys: Path, line: str, told: str) -> None:
    text = line.format(key=(keys / "bo.pub").read_text().strip())
    (tmp_path / "operators").write_text(f"# ours\n{text}\n")
    with pytest.raises(Refused) as caught:
        signing.load(tmp_path)
    (problem,) = caught.value.problems
    assert problem.where.endswith("operators:2")
    assert told in problem.what


def test_without_the_file_nobody_may(tmp_path: Path) -> None:
    assert signing.load(tmp_path).entries == ()


def entry(names: str, key: str) -> Entry:
    return Entry(names=tuple(names.split(",")), key=key, public="")


def test_lines_that_share_a_name_or_a_key_are_one_person() -> None:
    known = Operators(
        path=Path("operators"),
        entries=(entry("anna,asv", "k1"), entry("bo", "k2"), entry("asv@sundsvall.se", "k3"), entry("anna2", "k3")),
    )
    assert known.people == (("bo",), ("anna", "asv", "asv@sundsvall.se", "anna2"))
    assert known.same_person("SUNDSVALL\\anna", "anna2")
    assert known.same_person("Bo", "bo@ange.se")
    assert not known.same_person("anna", "bo")


NAMES = st.sampled_from(["anna", "bo", "cia", "dan", "anna@ange.se"])


@given(st.lists(st.tuples(st.lists(NAMES, min_size=1, max_size=3), st.sampled_from("abcd")), max_size=6))
def test_who_is_the_same_person_does_not_depend_on_the_order_and_is_mutual(
    lines: list[tuple[list[str], str]],
) -> None:
    entries = tuple(Entry(names=tuple(names), key=key, public="") for names, key in lines)
    here, there = (Operators(path=Path("x"), entries=some) for some in (entries, entries[::-1]))
    everybody = ["anna", "bo", "cia", "dan"]
    for one in everybody:
        for other in everybody:
            assert here.same_person(one, other) == here.same_person(other, one) == there.same_person(one, other)
    for given_entry in entries:
        assert all(here.same_person(given_entry.names[0], name) for name in given_entry.names)


@pytest.fixture
def agent(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An ssh agent that holds bo's key alone."""
    with tempfile.TemporaryDirectory(prefix="a-") as folder:  # a socket needs a short path
        socket = Path(folder, "s")
        with subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL) as process:
            try:
                monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
                deadline = time.monotonic() + 30
                while not socket.exists():
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
                subprocess.run(["ssh-add", "-q", str(keys / "bo")], check=True)
                yield
            finally:
                process.terminate()


@pytest.mark.usefixtures("agent")
def test_the_agent_signs_with_the_first_of_the_keys_that_it_holds(tmp_path: Path, keys: Path) -> None:
    known = operators(tmp_path, keys)
    made = signing.sign_with_agent(MESSAGE, known.entries)
    assert signing.verify(known, MESSAGE, made, NOW).person == "bo"
    with pytest.raises(Refused, match="signs with none of the 1 keys that may approve this"):
        signing.sign_with_agent(MESSAGE, known.entries[:1])
    assert signing.verify(known, MESSAGE, signing.sign(MESSAGE, keys / "bo.pub"), NOW).person == "bo"


def test_without_an_agent_it_says_what_to_do(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(Refused) as caught:
        signing.sign_with_agent(MESSAGE, operators(tmp_path, keys).entries)
    assert "--signature FILE" in caught.value.hint
