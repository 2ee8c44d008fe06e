"""Verify a compliance report without opsctl: Python 3.9 or newer, its standard library, no network.

    python3 -I -S verify.py [FOLDER] [--key PUBLIC.pem] [--previous FOLDER-OR-CHAIN]

Checks the hash of every file of the folder, that no file was added or taken away, the Ed25519 signature (RFC 8032),
that the JSON holds what the chain names, and the chain of runs, also to an earlier report. Exit code 0: intact, and
signed with the key that you gave. Exit code 1: anything else. Only a key that came to you by another way than the
report proves who made it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

SUMS, SIGNATURE, SIGNER, SEAL, CHAIN = "SHA256SUMS", "SHA256SUMS.sig", "signer.pem", "seal.json", "CHAIN"
HEAD, STAMP = "HEAD.txt", "HEAD.tsr"
FORMAT, VERSION = "opsctl-seal", 1
START = "0" * 64
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*)")
_LINK = re.compile(r"([A-Za-z0-9._-]{1,100}) ([0-9a-f]{64})")
_JSON, _KEY = re.compile(r"compliance-[A-Za-z0-9_-]+\.json"), b' "assessment": '
_DIGITS = re.compile(r"[0-9a-f]{64}")
# SubjectPublicKeyInfo of an Ed25519 key without the key itself (RFC 8410).
_INFO = bytes.fromhex("302a300506032b6570032100")


class Verdict(NamedTuple):
    """What was found. `signer` is the fingerprint of the key that made the signature, empty where there is none that
    holds; `trusted`: it is the key that was given. `line` is this report's own in the head of its run, which others
    keep; `named`: the head that lies in the folder has it."""

    faults: list[str]
    files: int
    run: str
    chain: str
    signer: str
    trusted: bool
    previous: str
    line: str
    named: bool

    @property
    def message(self) -> str:
        if self.faults:
            return f"BROKEN: {len(self.faults)} fault{'' if len(self.faults) == 1 else 's'}"
        whole = f"{self.files} files of run {self.run}"
        if self.trusted:
            return f"verified: {whole}, signed with the key that you gave ({self.signer})"
        if self.signer:
            return f"intact, signer not verified: {whole}; signed with {self.signer}, give the key you trust with --key"
        return f"intact, not signed: {whole}; nothing proves who made it"


def verify(folder: Path, key: bytes | None = None, previous: str = "") -> Verdict:
    """Judge a report folder. `key`: the 32 bytes of the trusted key; `previous`: an earlier report, or its chain."""
    faults: list[str] = []
    text = _bytes(folder / SUMS, faults)
    sums = _sums(text, faults)
    _compare(folder, sums, faults)
    signer, trusted = _signature(folder, text, key, sums, faults)
    seal = _seal(folder, faults)
    heads = _chain(_bytes(folder / CHAIN, faults), faults)
    run, chain = str(seal.get("run", "")), str(seal.get("chain", ""))
    if heads and (heads[-1][0], heads[-1][1]) != (chain, run):
        faults.append(f"{CHAIN} does not end with this run")
    if heads and link(heads[-2][0] if len(heads) > 1 else START, run, str(seal.get("report_sha256"))) != chain:
        faults.append(f"{CHAIN} does not end with this report's document")
    _documents(folder, sums, str(seal.get("report_sha256")), faults)
    met = _earlier(previous, [head for head, _ in heads], faults) if previous else ""
    ours = head_line(str(seal.get("report_sha256", "")), chain, len(heads))
    named = HEAD in sums and _named(_bytes(folder / HEAD, faults), ours, faults)
    return Verdict(faults, len(sums), run, chain, signer, trusted, met, ours, named)


def _bytes(file: Path, faults: list[str]) -> bytes:
    try:
        if file.is_symlink():
            raise OSError(0, "is a link")
        return file.read_bytes()
    except OSError as error:
        faults.append(f"{file.name}: {error.strerror}")
        return b""


def _sums(text: bytes, faults: list[str]) -> dict[str, str]:
    """Name and hash of each file, as sha256sum writes them."""
    found: dict[str, str] = {}
    for line in text.decode("utf-8", "backslashreplace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None or match[2] in found or match[2] in (SUMS, SIGNATURE):
            faults.append(f"{SUMS} has a line that is none: {line[:80]!r}")
        else:
            found[match[2]] = match[1]
    if "".join(f"{digest}  {name}\n" for name, digest in found.items()).encode() != text:
        faults.append(f"{SUMS} is not written as it should be")
    return found


def _compare(folder: Path, sums: dict[str, str], faults: list[str]) -> None:
    """Every file that is named is there as it was, and no other."""
    there = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    for name, wanted in sums.items():
        path = there.get(name)
        if path is None or path.is_symlink() or not path.is_file():
            faults.append(f"{name} is missing")
        elif digest(path) != wanted:
            faults.append(f"{name} was changed")
    folders = {parent.as_posix() for name in sums for parent in Path(name).parents}
    for name, path in there.items():
        known = name in folders if path.is_dir() and not path.is_symlink() else name in (SUMS, SIGNATURE, *sums)
        if not known:
            faults.append(f"{name!a} is not part of the report")


def digest(path: Path) -> str:
    total = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            total.update(block)
    return total.hexdigest()


def _signature(
    folder: Path, text: bytes, key: bytes | None, sums: dict[str, str], faults: list[str]
) -> tuple[str, bool]:
    """The fingerprint of the key whose signature holds, and whether it is the given one."""
    if not (folder / SIGNATURE).exists() and SIGNER not in sums:
        if key is not None:
            faults.append("it is not signed")
        return "", False
    signature = _bytes(folder / SIGNATURE, faults)
    try:
        used = key or public_key(_bytes(folder / SIGNER, faults))
    except ValueError as error:
        faults.append(f"{SIGNER}: {error}")
        return "", False
    if not signature_holds(used, text, signature):
        whose = "the key that you gave" if key else SIGNER
        faults.append(f"the signature does not hold with {whose}")
        return "", False
    return fingerprint(used), key is not None


def _seal(folder: Path, faults: list[str]) -> dict[str, Any]:
    try:
        found = json.loads(_bytes(folder / SEAL, faults) or b"{}")
    except ValueError:
        found = None
    if not isinstance(found, dict) or (found.get("format"), found.get("version")) != (FORMAT, VERSION):
        faults.append(f"{SEAL} is not a seal that this program can read")
        return {}
    return found


def _chain(text: bytes, faults: list[str]) -> list[tuple[str, str]]:
    """The chain's head after each run, with that run's name."""
    heads, head = [], START
    for line in text.decode("utf-8", "backslashreplace").splitlines():
        match = _LINK.fullmatch(line)
        if match is None:
            faults.append(f"{CHAIN} has a line that is none: {line[:80]!r}")
            return []
        head = link(head, match[1], match[2])
        heads.append((head, match[1]))
    return heads


def link(head: str, run: str, digest: str) -> str:
    """The chain's head after one more run: SHA-256 over the head before it, the run's name and its document's hash."""
    return hashlib.sha256(f"{head} {run} {digest}\n".encode()).hexdigest()


def head_line(digest: str, chain: str, runs: int) -> str:
    """What the head of a run says of one municipality's report: its document, its chain and how long that is."""
    return f"report sha256 {digest} chain {chain} runs {runs}"


def _named(text: bytes, ours: str, faults: list[str]) -> bool:
    """Whether the head of the run has the line of this report; heads of old have no such lines."""
    lines = [one for one in text.decode("utf-8", "backslashreplace").splitlines() if one.startswith("report ")]
    if lines and ours not in lines:
        faults.append(f"{HEAD} is the head of a run to which this report does not belong")
    return ours in lines


def _earlier(previous: str, heads: list[str], faults: list[str]) -> str:
    """The head of an earlier report, which must be one of this chain's."""
    wanted = previous.strip().lower()
    if not _DIGITS.fullmatch(wanted):
        earlier = Path(previous)
        try:
            seal = json.loads((earlier / SEAL if earlier.is_dir() else earlier).read_bytes())
            wanted = str(seal["chain"])
        except (OSError, ValueError, LookupError, TypeError):
            faults.append(f"{previous!r} is neither a report nor a chain of 64 digits")
            return ""
    if wanted not in heads:
        faults.append(f"the earlier chain {wanted} is not part of this one: runs were cut out or rewritten since")
        return ""
    return wanted


def _documents(folder: Path, sums: dict[str, str], wanted: str, faults: list[str]) -> None:
    """What the JSON tells was found is the document whose hash the chain, the ledger and the head of the run hold."""
    for name in sums:
        if not _JSON.fullmatch(name) or not (folder / name).is_file():
            continue
        with (folder / name).open("rb") as stream:
            # The canonical document stands alone on the second line: no line breaks, sorted keys.
            stream.readline()
            text = stream.readline()
        if text.startswith(_KEY) and hashlib.sha256(text[len(_KEY) :].rstrip(b",\n")).hexdigest() != wanted:
            faults.append(f"{name} does not hold the document of this run")


# --- keys ------------------------------------------------------------------------------------------------------------


def public_key(text: bytes) -> bytes:
    """The 32 bytes of an Ed25519 key in PEM (`-----BEGIN PUBLIC KEY-----`). Raises ValueError for any other."""
    lines = text.decode("ascii", "replace").split("-----")
    if len(lines) < 3 or lines[1] != "BEGIN PUBLIC KEY":
        raise ValueError("this is no public key in PEM")
    found = base64.b64decode("".join(lines[2].split()), validate=True)
    if len(found) != len(_INFO) + 32 or not found.startswith(_INFO):
        raise ValueError("this is no Ed25519 key")
    return found[len(_INFO) :]


def fingerprint(key: bytes) -> str:
    """SHA-256 over the key in DER: what `openssl pkey -pubin -outform DER | sha256sum` prints."""
    return hashlib.sha256(_INFO + key).hexdigest()


# --- Ed25519, RFC 8032, section 5.1: points as (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z --------------------------

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]


def _add(p: _Point, q: _Point) -> _Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]), (p[1] + p[0]) * (q[1] + q[0])
    c, d = 2 * p[3] * q[3] * _D, 2 * p[2] * q[2]
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(number: int, point: _Point) -> _Point:
    total = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = _add(total, point)
        point, number = _add(point, point), number >> 1
    return total


def _decoded(octets: bytes) -> _Point:
    """The point of 32 octets (5.1.3). Raises ValueError where there is none."""
    y = int.from_bytes(octets, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if y >= _P or (x * x - square) % _P or (sign and not x):
        raise ValueError("not a point of the curve")
    x = _P - x if x & 1 != sign else x
    return x, y, 1, x * y % _P


def _encoded(point: _Point) -> bytes:
    inverse = pow(point[2], _P - 2, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


_BASE = _decoded(bytes.fromhex("58" + "66" * 31))


def signature_holds(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is this key's over `message` (5.1.7)."""
    scalar = int.from_bytes(signature[32:], "little")
    if len(key) != 32 or len(signature) != 64 or scalar >= _L:
        return False
    try:
        x, y, _, _ = _decoded(key)
    except ValueError:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % _L
    minus = (-x % _P, y, 1, -x * y % _P)
    return _encoded(_add(_times(scalar, _BASE), _times(challenge, minus))) == signature[:32]


# --- command line ----------------------------------------------------------------------------------------------------


def main(words: list[str]) -> int:
    import argparse

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0], allow_abbrev=False)
    parser.add_argument("folder", nargs="?", default=str(Path(__file__).resolve().parent))
    parser.add_argument("--key", help="the public key that you trust, a PEM file")
    parser.add_argument("--previous", default="", help="an earlier report, or the chain that you kept of it")
    given = parser.parse_args(words)
    try:
        key = public_key(Path(given.key).read_bytes()) if given.key else None
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{given.key}: {error}\n")
        return 1
    found = verify(Path(given.folder), key, given.previous)
    told = [found.message, *(f"  {fault}" for fault in found.faults), f"chain: {found.chain}"]
    told += [f"{HEAD} names this report: {found.line}"] if found.named else []
    sys.stdout.write("".join(f"{text}\n" for text in told))
    return 0 if found.trusted and not found.faults else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
