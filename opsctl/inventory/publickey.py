"""Is this line an OpenSSH public key? Asked before a key reaches an account's authorized_keys.

The blob is taken apart as RFC 4253, section 6.6 lays it out: a cut, doubled or private key is told from a good one.
"""

from __future__ import annotations

import base64
import binascii
import re

# Fields of the blob after the type: RFC 4253 (rsa), RFC 5656 (ecdsa), RFC 8709 (ed25519), PROTOCOL.u2f (sk-).
FIELDS = {
    "ssh-ed25519": 1,
    "ssh-rsa": 2,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "sk-ssh-ed25519@openssh.com": 2,
    "sk-ecdsa-sha2-nistp256@openssh.com": 3,
}
RULE = "the one line of a .pub file: TYPE BASE64 [COMMENT]"


def fault(line: str) -> str:
    """What is wrong with a public key line; empty for a good one. Options before the type are not allowed."""
    kind, _, rest = line.partition(" ")
    encoded = rest.split(" ", 1)[0]
    if "PRIVATE KEY" in line:
        return "this is a private key: replace it everywhere, it is no secret any more"
    if kind not in FIELDS:
        return f"{kind[:40]!r} is no key type that is accepted; these are: {', '.join(FIELDS)}"
    if not re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", encoded):
        return "the key is not base64"
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return "the key is not base64; has a part been cut off?"
    fields = _fields(blob)
    if fields is None or not fields or fields[0] != kind.encode():
        return "the key does not hold what its type says; has a part been cut off?"
    if len(fields) != FIELDS[kind] + 1 or (kind == "ssh-ed25519" and len(fields[1]) != 32):
        return f"the key is not a whole {kind} key"
    return ""


def _fields(blob: bytes) -> list[bytes] | None:
    """The length-prefixed strings of a key blob; None where the lengths do not add up."""
    found: list[bytes] = []
    while blob:
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size:
            return None
        found.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    return found
