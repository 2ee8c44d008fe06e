"""Writing a report: its files one after another into a folder of the municipality, and the SHA-256 of each."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from opsctl.errors import OpsctlError
from opsctl.report import document, junit, oscal, pages, sheet
from opsctl.report.build import Report
from opsctl.report.formats import FORMATS, SPOKEN

# Characters of a text that are written at once.
CHUNK = 1 << 20


def write(
    report: Report, folder: Path, formats: Iterable[str], languages: Iterable[str], own: Path | None = None
) -> list[tuple[Path, str]]:
    """The files of a report, readable by their owner and group alone; each with its SHA-256.

    A fleet's report has thousands of files: none is held longer than it takes to write it. Raises OpsctlError.
    """
    chosen, spoken = set(formats), tuple(languages)
    return [
        written
        for kind in FORMATS
        if kind in chosen
        for name, content in _files(report, kind, spoken if kind in SPOKEN else ("",), own)
        for written in (_put(folder, name, content),)
    ]


def _files(
    report: Report, kind: str, languages: Iterable[str], own: Path | None
) -> Iterator[tuple[str, bytes | Iterable[str]]]:
    name = f"compliance-{report.run}"
    for language in languages:
        if kind == "html":
            yield from ((page, (text,)) for page, text in pages.files(report, language, own))
        elif kind == "pdf":
            from opsctl.report import paper

            yield f"{name}.{language}.pdf", paper.pdf(report, language, own)
        elif kind == "json":
            yield f"{name}.json", document.texts(report)
        elif kind == "junit":
            yield f"{name}.junit.xml", (junit.as_xml(report),)
        elif kind == "csv":
            yield f"{name}.csv", sheet.lines(report)
        elif kind == "oscal":
            yield f"{name}.oscal.json", (oscal.as_json(report),)


def put(texts: Mapping[str, str | bytes], folder: Path) -> list[tuple[Path, str]]:
    """Files by name, readable by their owner and group alone; each with its SHA-256. Raises OpsctlError."""
    return [_put(folder, name, text if isinstance(text, bytes) else (text,)) for name, text in texts.items()]


def _put(folder: Path, name: str, content: bytes | Iterable[str]) -> tuple[Path, str]:
    total = hashlib.sha256()
    try:
        written = _written(folder / name, _chunks(content), total.update)
    except OSError as error:
        raise OpsctlError(
            f"the report cannot be written to {folder}: {error.strerror}", hint="choose another --to"
        ) from error
    return written, total.hexdigest()


def _chunks(content: bytes | Iterable[str]) -> Iterator[bytes]:
    """The bytes piece by piece: the document of a fleet is never in memory twice."""
    if isinstance(content, bytes):
        yield content
        return
    for text in content:
        for start in range(0, len(text), CHUNK):
            yield text[start : start + CHUNK].encode()


def _written(file: Path, chunks: Iterable[bytes], count: Callable[[bytes], None]) -> Path:
    # Never readable by all, not for a moment; and no link that waits under the name is followed (`--to /tmp`).
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "wb") as stream:
            for chunk in chunks:
                stream.write(chunk)
                count(chunk)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return file
