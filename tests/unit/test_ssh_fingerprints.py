"""Fingerprints as owners hand them over: both forms of lines, and what is refused."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.errors import ConfigError, UsageError
from opsctl.model.host import Host
from opsctl.ssh import fingerprints

# ssh-keygen -lf printed the second for the first.
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIH/Sxinhm1mXfkn2HmCikqY9VnaaARdbXG6lEGZvieDt"
DIGEST = "SHA256:DXQljoOmLuEXfDyFYv9EhungR9Br2e5nl3ziskXlUjw"
WEB1 = Host(name="ange-web1", tenant="ange", address="192.0.2.11", role="web", platform="debian-12")
WEB2 = Host(name="ange-web2", tenant="ange", address="192.0.2.12", role="web", platform="debian-12")


def test_the_fingerprint_is_the_one_that_ssh_keygen_prints() -> None:
    assert fingerprints.of_key(KEY) == DIGEST


def test_what_is_not_base64_has_no_fingerprint() -> None:
    with pytest.raises(ValueError, match="base64"):
        fingerprints.of_key("not a key")


@given(st.binary(min_size=1, max_size=600))
def test_every_key_has_a_fingerprint_that_can_be_typed(blob: bytes) -> None:
    digest = fingerprints.of_key(base64.b64encode(blob).decode())
    assert fingerprints.parse(f" {digest} ").digest == digest


@pytest.mark.parametrize(
    ("line", "name", "family"),
    [
        (f"ange-web1 {DIGEST}", "ange-web1", ""),
        (f"ange.ange-web1   {DIGEST}=", "ange.ange-web1", ""),
        (f"ange-web1 {DIGEST} (ED25519)", "ange-web1", "ED25519"),
        (f"256 {DIGEST} root@ange-web1 (ED25519)", "ange-web1", "ED25519"),
        (f"3072 {DIGEST} ange-web1 (RSA)", "ange-web1", "RSA"),
        (f"256 {DIGEST} no comment (ECDSA)", "", "ECDSA"),
    ],
)
def test_both_forms_of_lines_are_read(tmp_path: Path, line: str, name: str, family: str) -> None:
    file = tmp_path / "fingerprints"
    file.write_text(f"# from the owner, by telephone\n\n{line}\n")
    (found,) = fingerprints.read(file)
    assert (found.digest, found.name, found.family) == (DIGEST, name, family)
    assert found.source == f"{file}:3"


@pytest.mark.parametrize("line", ["ange-web1", f"ange-web1 {KEY}", "ange-web1 MD5:00:11", f"{DIGEST[:-1]}", "\x00"])
def test_a_line_that_is_no_fingerprint_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "fingerprints"
    file.write_text(f"ange-web2 {DIGEST}\n{line}\n")
    with pytest.raises(ConfigError, match=f"{file}:2"):
        fingerprints.read(file)


def test_an_empty_or_missing_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# nothing\n")
    with pytest.raises(ConfigError, match="no fingerprint"):
        fingerprints.read(tmp_path / "empty")
    with pytest.raises(ConfigError, match="cannot be read"):
        fingerprints.read(tmp_path / "missing")


@pytest.mark.parametrize("text", ["", "yes", DIGEST[7:], DIGEST + "x", f"-o{DIGEST}", f"{DIGEST} {DIGEST}"])
def test_what_is_typed_must_be_one_whole_fingerprint(text: str) -> None:
    with pytest.raises(UsageError):
        fingerprints.parse(text)


def test_a_fingerprint_is_only_for_the_host_that_it_names(tmp_path: Path) -> None:
    file = tmp_path / "fingerprints"
    file.write_text(f"ange-web1 {DIGEST}\nbollnas.ange-web1 {DIGEST}\n256 {DIGEST} no comment (ED25519)\n")
    named, foreign, nameless = fingerprints.read(file)
    assert named.is_for(WEB1)
    assert not named.is_for(WEB2)
    assert not foreign.is_for(WEB1)
    assert nameless.is_for(WEB1)
    assert nameless.is_for(WEB2)
