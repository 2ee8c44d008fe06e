"""SSH signatures and the people whose keys count: `inventories/operators`, in OpenSSH's format of allowed signers.

ssh-keygen makes and judges the signatures (ssh-keygen(1), ALLOWED SIGNERS), always in the namespace `opsctl`, so that
one made for something else, a git commit or a file, is none of ours. Keys that are revoked stand in
`inventories/operators.revoked`: a key revocation list, or public keys, one a line.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from opsctl.errors import Problem, Refused

NAMESPACE = "opsctl"
FILE, REVOKED = "operators", "operators.revoked"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_LONGEST = 20_000
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+\\-]{0,99}")
_KEY_TYPE = re.compile(r"(ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+")
# One word of a line; blanks may stand within double quotes.
_WORD = re.compile(r'(?:[^\s"]|"[^"]*")+')
_RULE = 'NAME[,NAME...] [namespaces="opsctl",valid-before="YYYYMMDD"] KEYTYPE KEY'
_PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line: the names of one person, and one key of theirs. `public` is the key as .pub files write it."""

    names: tuple[str, ...]
    key: str
    public: str


@dataclass(frozen=True, kw_only=True)
class Operators:
    """Everybody whose signature counts. Lines that share a name or a key are one person's."""

    path: Path
    entries: tuple[Entry, ...] = ()

    @property
    def people(self) -> tuple[tuple[str, ...], ...]:
        """The names of each person, in the order of the file."""
        found: list[tuple[set[str], list[str]]] = []
        for entry in self.entries:
            marks = {entry.key, *map(plain, entry.names)}
            same = [one for one in found if one[0] & marks]
            names = [name for one in same for name in one[1]]
            found = [one for one in found if one not in same]
            found.append((marks.union(*(one[0] for one in same)), list(dict.fromkeys([*names, *entry.names]))))
        return tuple(tuple(names) for _, names in found)

    def same_person(self, one: str, other: str) -> bool:
        """Whether two names are, or may be, one person's: in doubt they are."""
        if plain(one) == plain(other):
            return True
        return any({plain(one), plain(other)} <= set(map(plain, names)) for names in self.people)


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Whose key made a signature that holds."""

    person: str
    key: str


def plain(name: str) -> str:
    """A name without its domain: `SUNDSVALL\\anna`, `anna@sundsvall.se` and `Anna` may be the same."""
    return name.rpartition("\\")[2].partition("@")[0].casefold()


def fingerprint(blob: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def load(inventories: Path) -> Operators:
    """The operators of a workspace; nobody where there is no such file. Raises Refused, naming the line."""
    path = inventories / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Operators(path=path)
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path} cannot be read: {error}") from error
    entries, problems = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            entries.append(_entry(line))
        except ValueError as error:
            problems.append(Problem(where=f"{path}:{number}", what=str(error), allowed=_RULE))
    if problems:
        raise Refused(f"{path} cannot be used", hint="mend the lines above", problems=tuple(problems))
    return Operators(path=path, entries=tuple(entries))


def _entry(line: str) -> Entry:
    words = _WORD.findall(line)
    if len(words) > 1 and not _KEY_TYPE.fullmatch(words[1]):
        if "cert-authority" in words[1].lower():
            raise ValueError("an authority that makes signers is not taken: each key has a line of its own")
        del words[1]
    if len(words) < 3 or not _KEY_TYPE.fullmatch(words[1]):
        raise ValueError("this is no allowed signer")
    names = tuple(words[0].split(","))
    if wrong := [name for name in names if not _NAME.fullmatch(name)]:
        raise ValueError(f"{wrong[0]!r} is no name of one person")
    try:
        blob = base64.b64decode(words[2], validate=True)
        kind, _ = _string(blob)
    except (binascii.Error, ValueError):
        raise ValueError("its key cannot be read") from None
    if kind != words[1].encode():
        raise ValueError(f"its key is no {words[1]}")
    return Entry(names=names, key=fingerprint(blob), public=f"{words[1]} {words[2]}")


# --- verifying -----------------------------------------------------------------------------------------------------


def verify(operators: Operators, message: str, signature: str, now: datetime) -> Signer:
    """Whose signature over `message` this is. Raises Refused, saying why, for one that does not count at `now`."""
    key, namespace = _made_with(signature)
    if namespace != NAMESPACE:
        raise Refused(f"the signature is for {namespace!r}, not for {NAMESPACE!r}", hint="ssh-keygen -Y sign -n opsctl")
    names = [entry.names[0] for entry in operators.entries if entry.key == key]
    if not names:
        raise Refused(
            f"the key {key} is nobody's of {operators.path}",
            hint=f"somebody who may change that file adds a line: {_RULE}",
        )
    said = ""
    with tempfile.NamedTemporaryFile("w", encoding="ascii", suffix=".sig") as file:
        file.write(signature)
        file.flush()
        for name in dict.fromkeys(names):
            words = ["-Y", "verify", "-f", str(operators.path), "-I", name, "-n", NAMESPACE, "-s", file.name]
            words += ["-O", f"verify-time={now.astimezone(UTC):%Y%m%d%H%M%S}Z"]
            revoked = operators.path.with_name(REVOKED)
            words += ["-r", str(revoked)] if revoked.exists() else []
            done = _keygen(words, message)
            if done.returncode == 0:
                return Signer(person=name, key=key)
            said = _last_line(done)
    raise Refused(f"the signature of {names[0]} ({key}) does not hold: {said}")


def _made_with(signature: str) -> tuple[str, str]:
    """Key and namespace of an armored signature (PROTOCOL.sshsig). Raises Refused for what is none."""
    text = signature.strip()
    if len(text) > _LONGEST or not (text.isascii() and text.startswith(_BEGIN) and text.endswith(_END)):
        raise Refused("this is no SSH signature", hint=f"it begins with {_BEGIN}")
    try:
        blob = base64.b64decode("".join(text[len(_BEGIN) : -len(_END)].split()), validate=True)
        if not blob.startswith(b"SSHSIG"):
            raise ValueError
        key, rest = _string(blob[10:])
        namespace, _ = _string(rest)
    except (binascii.Error, ValueError, struct.error):
        raise Refused("this SSH signature cannot be read") from None
    return fingerprint(key), namespace.decode("utf-8", "replace")


def _string(blob: bytes) -> tuple[bytes, bytes]:
    """The first length-prefixed string of an SSH blob, and what follows it (RFC 4251, 5)."""
    length = int.from_bytes(blob[:4], "big")
    if len(blob) < 4 + length or not length:
        raise ValueError("too short")
    return blob[4 : 4 + length], blob[4 + length :]


# --- signing -------------------------------------------------------------------------------------------------------


def sign(message: str, key: Path) -> str:
    """A signature with a key file, or with the agent for a .pub file. ssh-keygen asks for a passphrase itself."""
    done = _keygen(["-Y", "sign", "-n", NAMESPACE, "-f", str(key)], message, asks=True)
    if done.returncode:
        raise Refused(
            f"{key} could not sign: {_last_line(done)}", hint="ssh-add KEY, or sign elsewhere and use --signature FILE"
        )
    return done.stdout


def sign_with_agent(message: str, entries: Iterable[Entry]) -> str:
    """A signature with the first of these keys that the agent holds. Raises Refused where it holds none."""
    tried = tuple(entries)
    for entry in tried:
        with tempfile.NamedTemporaryFile("w", encoding="ascii", suffix=".pub") as file:
            file.write(entry.public + "\n")
            file.flush()
            done = _keygen(["-Y", "sign", "-U", "-n", NAMESPACE, "-f", file.name], message)
        if done.returncode == 0:
            return done.stdout
    why = f"none of the {len(tried)} keys" if tried else "nobody's key"
    raise Refused(
        f"the ssh agent signs with {why} that may approve this", hint="--key FILE, ssh-add KEY, or --signature FILE"
    )


def command(message: str, to: str) -> str:
    """The command line that signs a message on a machine that has the key."""
    return f"printf '%s\\n' '{message.rstrip()}' | ssh-keygen -Y sign -n {NAMESPACE} -f ~/.ssh/id_ed25519 > {to}"


def _keygen(words: Iterable[str], message: str, *, asks: bool = False) -> subprocess.CompletedProcess[str]:
    """Without a person at a terminal ssh-keygen has nobody to ask, and fails at once."""
    alone = not (asks and sys.stdin is not None and sys.stdin.isatty())
    try:
        return subprocess.run(
            ["ssh-keygen", *words],
            input=message, capture_output=True, text=True, check=False, encoding="utf-8", errors="replace",
            timeout=_PATIENCE if alone else None, start_new_session=alone, env=_environment(alone=alone),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused(f"ssh-keygen does not work here: {error}") from error


def _environment(*, alone: bool) -> Mapping[str, str]:
    import os

    kept = ("PATH", "HOME", "SSH_AUTH_SOCK", *(() if alone else ("TERM", "DISPLAY", "SSH_ASKPASS")))
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C.UTF-8"}


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    """What ssh-keygen complains of, without its own last word that it could not."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    told = [one for one in lines if not one.startswith(("Signing data", "Could not verify", "Couldn't sign"))]
    return (told or lines or [f"ssh-keygen ended with {done.returncode}"])[-1]
