"""The seal of a report folder: the hash of every file, the chain of runs, and a signature over both.

`seal` is called once, after everything else is in the folder. What it writes is judged by `verify.py`, a copy of which
lies in each report: Python's standard library alone. `VERIFY.txt` says the same with sha256sum and openssl.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from opsctl import content
from opsctl.errors import Refused
from opsctl.report import verify
from opsctl.state.ledger import Ledger
from opsctl.state.reportkey import ReportKey

PROGRAM, STEPS = "verify.py", "VERIFY.txt"
# Lies in a folder from before its first file until it is sealed: what a kill leaves behind is no report.
UNSEALED = ".unsealed"
OURS = (verify.SUMS, verify.SIGNATURE, verify.SIGNER, verify.SEAL, verify.CHAIN, PROGRAM, STEPS)

Link = tuple[str, str]  # a run's name, and the SHA-256 of its document


@dataclass(frozen=True, kw_only=True)
class Seal:
    """What was written: `chain` is the head to keep, `signer` the fingerprint of the key, empty where unsigned."""

    files: tuple[tuple[Path, str], ...]
    chain: str
    signer: str


def chain(ledger: Ledger, run: str, digest: str, tenant: str = "") -> tuple[Link, ...]:
    """Every compliance run up to this one with its document's hash, in the order of the ledger.

    `tenant`: only runs that were about it, each with the hash of its part, where the ledger holds parts. A run that was
    killed before the ledger could enter its end stands at the end of its own chain alone.
    """
    links: list[Link] = []
    for entry in ledger.entries(verb="comply"):
        kept = _part(entry.detail, tenant) if entry.phase == "finished" else ""
        if kept:
            links.append((str(entry.detail["run"]), kept))
        if entry.detail.get("run") == run:
            break
    return tuple(links) if links and links[-1] == (run, digest) else (*links, (run, digest))


def _part(detail: Mapping[str, object], tenant: str) -> str:
    """The hash of what a run said, of one municipality where it is told apart; empty for what was no run of it."""
    parts = detail.get("parts")
    if tenant and isinstance(parts, Mapping):
        part = parts.get(tenant)
        return str(part["report_sha256"]) if isinstance(part, Mapping) and "report_sha256" in part else ""
    return str(detail.get("report_sha256", ""))


def head(links: Iterable[Link]) -> str:
    found = verify.START
    for run, digest in links:
        found = verify.link(found, run, digest)
    return found


def refuse_other_files(folder: Path) -> None:
    """Raise Refused for a folder with files that no report of ours has put there: they would be sealed with it."""
    if not folder.exists():
        return
    sealed = set(OURS) | {
        line.partition("  ")[2] for file in (folder / verify.SUMS,) if file.is_file() for line in _lines(file)
    }
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        if (name := path.relative_to(folder).as_posix()) not in sealed:
            raise Refused(f"{folder} holds {name}, which is no part of a report", hint="choose an empty folder: --to")


def clear(folder: Path) -> None:
    """Make the folder ready: an earlier report of ours goes, so that nothing of it is sealed again unseen.

    One that was begun and never sealed is moved aside. Raises Refused for a folder with other files.
    """
    if (folder / UNSEALED).exists():
        folder.rename(folder.with_name(f"{folder.name}.unfinished-{secrets.token_hex(4)}"))
    refuse_other_files(folder)
    _put(folder / UNSEALED, "This report is not finished: do not use it.\n")
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        elif path != folder / UNSEALED:
            path.unlink()


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8", errors="replace").splitlines()


def seal(folder: Path, *, run: str, links: Sequence[Link], key: ReportKey | None, own: Path | None = None) -> Seal:
    """Seal all files that lie in the folder, and below it. The same files and key give the same bytes."""
    known = head(links)
    _put(folder / verify.CHAIN, "".join(f"{name} {digest}\n" for name, digest in links))
    _put(folder / PROGRAM, Path(verify.__file__).read_text(encoding="utf-8"))
    document = {"format": verify.FORMAT, "version": verify.VERSION, "run": run, "chain": known}
    document |= {"previous": {"run": links[-2][0], "chain": head(links[:-1])} if len(links) > 1 else None}
    document |= {"report_sha256": links[-1][1], "signer": _signer(key)}
    _put(folder / verify.SEAL, json.dumps(document, indent=1, sort_keys=True) + "\n")
    line = verify.head_line(links[-1][1], known, len(links))
    head_of_run = folder / verify.HEAD
    stamped = head_of_run.is_file() and line in _lines(head_of_run)
    _put(folder / STEPS, _steps(run, known, line, key, own, stamped=stamped))
    if key is not None:
        _put(folder / verify.SIGNER, key.public)
    else:
        for name in (verify.SIGNER, verify.SIGNATURE):
            (folder / name).unlink(missing_ok=True)
    sums = {name: verify.digest(folder / name) for name in _names(folder)}
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    _put(folder / verify.SUMS, text)
    if key is not None:
        _put(folder / verify.SIGNATURE, key.sign(text.encode()))
    (folder / UNSEALED).unlink(missing_ok=True)
    written = tuple((folder / name, verify.digest(folder / name)) for name in OURS if (folder / name).exists())
    return Seal(files=written, chain=known, signer=_signer(key))


def _signer(key: ReportKey | None) -> str:
    return verify.fingerprint(verify.public_key(key.public.encode())) if key else ""


def _names(folder: Path) -> list[str]:
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(name for name in names if name not in (verify.SUMS, verify.SIGNATURE, UNSEALED))


def _put(file: Path, text: str | bytes) -> None:
    from opsctl.report import exports

    exports.put({file.name: text}, file.parent)


def _steps(run: str, known: str, line: str, key: ReportKey | None, own: Path | None, *, stamped: bool) -> str:
    base = content.folder("templates", own)
    names = ("verify.txt", "verify-stamp.txt") if stamped else ("verify.txt",)
    template = Template("\n".join((base / name).read_text(encoding="utf-8") for name in names))
    signer = _signer(key) or "(this report is not signed)"
    return template.substitute(run=run, chain=known, line=line, signer=signer)
