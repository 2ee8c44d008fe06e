"""Fingerprints of host keys, and the files in which their owner hands them over.

Two forms are read: `NAME SHA256:...` and what `ssh-keygen -lf` prints (`256 SHA256:... root@NAME (ED25519)`). NAME is
the host's name or `tenant.host`. The fingerprint is OpenSSH's: SHA-256 of the key, base64 without padding.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from opsctl.errors import ConfigError, UsageError
from opsctl.model.host import Host

_DIGEST = r"SHA256:[A-Za-z0-9+/]{43}"
_FINGERPRINT = re.compile(_DIGEST)
_NAMED = re.compile(rf"(?P<name>\S+)\s+(?P<digest>{_DIGEST})=?(?:\s+\((?P<kind>[A-Za-z0-9-]+)\))?")
_KEYGEN = re.compile(rf"\d+\s+(?P<digest>{_DIGEST})\s+(?P<comment>.*?)\s*\((?P<kind>[A-Za-z0-9-]+)\)")
# What ssh-keygen prints in brackets -> the kinds of host keys of that family.
_FAMILIES = {"ED25519": "ssh-ed25519", "ECDSA": "ecdsa-sha2-", "RSA": "ssh-rsa"}


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """One fingerprint that a person handed over; `name` or `family` are empty where the line does not tell."""

    digest: str
    name: str = ""
    family: str = ""
    source: str = ""

    def is_for(self, host: Host) -> bool:
        return self.name in ("", host.name, host.key)

    def is_of_kind(self, kind: str) -> bool:
        """Whether a key of this kind (ssh-ed25519, ...) may carry it."""
        return not self.family or kind.startswith(_FAMILIES.get(self.family, self.family))


def of_key(base64_key: str) -> str:
    """The fingerprint of a public key in OpenSSH's base64 form. Raises ValueError when it is not base64."""
    try:
        blob = base64.b64decode(base64_key, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def parse(text: str) -> Fingerprint:
    """A fingerprint typed on the command line. Raises UsageError."""
    digest = text.strip().rstrip("=")
    if not _FINGERPRINT.fullmatch(digest):
        raise UsageError(
            f"{text!r} is not a fingerprint", hint="SHA256: and 43 characters, as ssh-keygen -lf KEY.pub prints it"
        )
    return Fingerprint(digest=digest, source="the command line")


def read(path: Path) -> tuple[Fingerprint, ...]:
    """Every fingerprint of a file. Raises ConfigError naming the first line that is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    found = [
        _of_line(line.strip(), f"{path}:{number}")
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.strip().startswith("#")
    ]
    if not found:
        raise ConfigError(f"{path} holds no fingerprint")
    return tuple(found)


def _of_line(line: str, where: str) -> Fingerprint:
    if match := _KEYGEN.fullmatch(line):
        comment = match["comment"].rpartition("@")[2].strip()
        name = "" if comment == "no comment" else comment
    elif match := _NAMED.fullmatch(line):
        name = match["name"]
    else:
        raise ConfigError(
            f"{where}: not a fingerprint", hint="lines are: NAME SHA256:..., or what ssh-keygen -lf prints"
        )
    return Fingerprint(digest=match["digest"], name=name, family=(match["kind"] or "").upper(), source=where)
