"""What evidence must not hold: secrets, and data about people that no control needs.

Names of accounts stay, for the findings are about them. Hashes of passwords, full names and telephone numbers of
/etc/passwd, comments of keys and mail addresses go, each replaced by `[redacted]`. The SHA-256 of a piece of evidence
is over what the host printed, before this.
"""

from __future__ import annotations

import re

from opsctl.state.redaction import HIDDEN, Redactor

# name:hash:last change:... of /etc/shadow (shadow(5)); `!`, `*` and an empty field say something and are no secret.
_SHADOW = re.compile(r"^([a-z_][\w.-]*\$?:)(!{0,2})([^:\s!*][^:\s]{3,})(?=:|$)", re.MULTILINE | re.IGNORECASE)
_DAY = re.compile(r":\d*:")
# name:x:uid:gid:GECOS:home:shell (passwd(5)).
_PASSWD = re.compile(r"^([a-z_][\w.-]*\$?:[^:\n]*:\d+:\d+:)([^:\n]+)(?=:/)", re.MULTILINE | re.IGNORECASE)
_SYSTEM_UIDS = 1000
# The comment behind a public key, as in authorized_keys; and what `ssh-keygen -l` prints of it.
_KEY = re.compile(r"((?:ssh-[a-z0-9]+|ecdsa-sha2-[a-z0-9-]+|sk-[a-z0-9@.-]+) AAAA[A-Za-z0-9+/=]+)[ \t]+[^\n]+")
_LISTED = re.compile(r"(\bSHA256:[A-Za-z0-9+/]{43}) (?!\[redacted\])[^\n(]+(?= \([A-Z0-9-]+\))")
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}\b")
# Algorithms are named like mail addresses (RFC 4250, 4.6.1).
_ALGORITHMS = ("@openssh.com", "@libssh.org", "@lysator.liu.se", "@ssh.com", "@lists.freedesktop.org")
_REDACTOR = Redactor()


def redacted(text: str) -> str:
    """Evidence as it may be kept and shown."""
    text = _REDACTOR.text(text)
    if ":" in text:
        text = _SHADOW.sub(_hash, text)
        text = _PASSWD.sub(_gecos, text)
    if "AAAA" in text or "SHA256:" in text:
        text = _LISTED.sub(rf"\1 {HIDDEN}", _KEY.sub(rf"\1 {HIDDEN}", text))
    if "@" in text:
        text = _MAIL.sub(_mail, text)
    return text


def _hash(found: re.Match[str]) -> str:
    value = found[3]
    # A hash of crypt(5): $id$..., or 13 characters of the oldest kind before a day. Else it is some other `name:word`.
    oldest = re.fullmatch(r"[A-Za-z0-9./]{13}", value) and _DAY.match(found.string, found.end())
    secret = value.startswith(("$", "_")) or oldest
    return f"{found[1]}{found[2]}{HIDDEN}" if secret else found[0]


def _gecos(found: re.Match[str]) -> str:
    uid = int(found[1].split(":")[2])
    return f"{found[1]}{HIDDEN}" if uid >= _SYSTEM_UIDS and found[2].strip(",") else found[0]


def _mail(found: re.Match[str]) -> str:
    return found[0] if found[0].lower().endswith(_ALGORITHMS) else HIDDEN
