"""The head of a run for others to keep: what is told of it, and an authority's timestamp over that (RFC 3161).

Whoever keeps a head can see later that the run, and all before it, are as they were. It names no host and no finding,
so it may go to anybody. openssl asks and verifies: it takes what every authority sends, its own too.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from opsctl.config import Settings
from opsctl.errors import ConfigError, OpsctlError
from opsctl.report import build, seal, verify
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store, stamp

EVENT = "timestamp"
TEXT, TOKEN = verify.HEAD, verify.STAMP
_LARGEST = 1 << 18
_KIND = "application/timestamp-query"


@dataclass(frozen=True, kw_only=True)
class Stamped:
    """An authority's word: `text` is what it was asked to stamp, `response` its answer in DER, `at` its time."""

    text: str
    response: bytes
    at: datetime


def head(store: Store, ledger: Ledger, run: str) -> str:
    """What is told of a run: the same text each time. Raises UnknownName, or StoreError for one that was changed.

    A municipality's report is a part of the run with a hash and a chain of its own. Each part has a line, by which
    its report is tied to the head; only hashes, so none tells anything of another.
    """
    found = build.kept(store, ledger, run)
    built = build.report(found)
    links = seal.chain(ledger, run, built.sha256)
    parts = sorted(_line(ledger, build.report(found, tenant)) for tenant in found.tenants)
    ended = stamp(built.assessment.ended)
    return (
        f"opsctl compliance run {run}\nended {ended}\ndocument sha256 {built.sha256}\nchain {seal.head(links)}\n"
        f"runs {len(links)}\nledger {built.ledger_entry or 'not entered'}\n" + "".join(f"{one}\n" for one in parts)
    )


def _line(ledger: Ledger, part: build.Report) -> str:
    links = seal.chain(ledger, part.run, part.sha256, part.tenant)
    return verify.head_line(part.sha256, seal.head(links), len(links))


def stamped(text: str, settings: Settings) -> Stamped:
    """Ask the authority of comply.timestamp_url. Raises OpsctlError where no timestamp came that holds."""
    authorities = _authorities(settings)
    with tempfile.TemporaryDirectory(prefix="opsctl-stamp-") as name:
        folder = Path(name)
        (folder / TEXT).write_text(text, encoding="utf-8")
        _openssl(folder, "-query", "-data", TEXT, "-sha256", "-cert", "-out", "question")
        seconds = settings.number("notify.timeout")
        answer = _asked(settings.text("comply.timestamp_url"), (folder / "question").read_bytes(), seconds)
        (folder / TOKEN).write_bytes(answer)
        # The question holds a number of its own: an old answer, sent again, is none to it.
        _openssl(folder, "-verify", "-queryfile", "question", "-in", TOKEN, "-CAfile", str(authorities))
        return Stamped(text=text, response=answer, at=_told(_openssl(folder, "-reply", "-in", TOKEN, "-text")))


def _openssl(folder: Path, *words: str) -> str:
    """One command of openssl-ts(1). Raises OpsctlError with what it complains of."""
    try:
        done = subprocess.run(
            ["openssl", "ts", *words], cwd=folder, capture_output=True, text=True, errors="replace", check=False,
            stdin=subprocess.DEVNULL, timeout=60, env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OpsctlError("openssl does not work here, which verifies timestamps", hint="install openssl") from error
    if done.returncode:
        said = _last(done.stderr) or _last(done.stdout) or f"openssl ended with {done.returncode}"
        raise OpsctlError(
            f"the timestamp does not hold: {said}", hint="comply.timestamp_ca: are they its certificates?"
        )
    return done.stdout


def _last(text: str) -> str:
    """The reason in the last line that openssl prints: `...:error:CODE:library:function:reason:file:line:`."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    parts = lines[-1].split(":error:")[-1].split(":") if lines else [""]
    return (parts[3] if len(parts) > 4 else lines[-1] if lines else "")[:200]


def _told(text: str) -> datetime:
    """The authority's time, as openssl prints it: `Time stamp: Nov 22 12:00:00.5 2026 GMT`."""
    found = re.search(r"^Time stamp: (\w{3}) +(\d+) (\d\d:\d\d:\d\d)(?:\.\d+)? (\d{4}) GMT$", text, re.MULTILINE)
    if found is None:
        raise OpsctlError("the timestamp says no time")
    return datetime.strptime(" ".join(found.groups()) + " +0000", "%b %d %H:%M:%S %Y %z")


def _asked(url: str, question: bytes, seconds: int) -> bytes:
    import requests

    try:
        with requests.Session() as session:
            session.trust_env = False
            with session.post(
                url, data=question, headers={"Content-Type": _KIND}, timeout=seconds, allow_redirects=False, stream=True
            ) as answer:
                body: bytes = answer.raw.read(_LARGEST, decode_content=True)
                if answer.status_code != requests.codes.ok:
                    raise OpsctlError(f"the timestamp authority {url} answered {answer.status_code}")
                return body
    except requests.RequestException as error:
        raise OpsctlError(f"the timestamp authority {url} does not answer: {type(error).__name__}") from error


def _authorities(settings: Settings) -> Path:
    """The file of comply.timestamp_ca. Raises ConfigError where it holds no certificate."""
    name = settings.text("comply.timestamp_ca")
    path = settings.within(name).resolve()
    try:
        text = path.read_bytes() if name else b""
    except OSError as error:
        raise ConfigError(f"comply.timestamp_ca {path}: {error.strerror}") from error
    if b"-----BEGIN CERTIFICATE-----" not in text:
        raise ConfigError("comply.timestamp_ca names no certificate", hint="the authority's root, in PEM, as a file")
    return path


def keep(store: Store, run: str, found: Stamped, now: datetime) -> None:
    """Keep a timestamp with its run; a later one takes its place in reports."""
    document = {"text": found.text, "response": base64.b64encode(found.response).decode(), "at": stamp(found.at)}
    store.add_event(run, "", EVENT, json.dumps(document), now)


def kept(store: Store, run: str) -> dict[str, bytes]:
    """The files that a report gets of the run's timestamp; none where it has none."""
    for event in reversed(store.events(run)):
        if event.kind == EVENT and isinstance(event.detail, dict):
            try:
                token = base64.b64decode(str(event.detail["response"]), validate=True)
            except (KeyError, binascii.Error):
                continue
            return {TEXT: str(event.detail["text"]).encode(), TOKEN: token}
    return {}


def wanted(settings: Settings) -> bool:
    return bool(settings.text("comply.timestamp_url"))


def put(folder: Path, store: Store, run: str) -> None:
    """Write the timestamp of a run into its report, before that is sealed."""
    from opsctl.report import exports

    if files := kept(store, run):
        exports.put(files, folder)
