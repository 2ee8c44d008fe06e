"""Writing a report: JSON for programs and verification, HTML pages for people; the SHA-256 of each file is told."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from opsctl.errors import OpsctlError
from opsctl.report import pages
from opsctl.report.build import Report
from opsctl.state.store import stamp

FORMAT = "opsctl-compliance-report"
VERSION = 1


def as_json(report: Report) -> str:
    """The report as JSON: the same run gives the same bytes.

    `assessment` is the kept document; `assessment_sha256` is the hash of its canonical form (sorted keys, no spaces,
    UTF-8). The ledger's entry `ledger_entry` holds it as well; `ledger_head` is the ledger's head before the run.
    """
    coverage = report.assessment.coverage
    document = {
        "format": FORMAT,
        "version": VERSION,
        "run": report.run,
        "outcome": report.outcome,
        "assessment": report.document,
        "assessment_sha256": report.sha256,
        "ledger_head": report.ledger_head,
        "ledger_entry": report.ledger_entry,
        "summary": {
            "hosts": {
                "total": coverage.total,
                "assessed": len(coverage.assessed),
                "unreachable": len(coverage.unreachable),
                "excluded": len(coverage.excluded),
                "quarantined": len(coverage.quarantined),
            },
            "results": report.counts,
        },
        "findings": [
            {
                "host": finding.result.host,
                "control": finding.result.control,
                "severity": report.controls[finding.result.control].severity,
                "disposition": finding.disposition,
                "observed": finding.result.observed,
                "expected": finding.result.expected,
                "at": stamp(finding.result.at),
                "waiver": _plain(asdict(finding.waiver)) if finding.waiver else None,
            }
            for finding in report.findings
        ],
    }
    return json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1) + "\n"


def _plain(waiver: dict[str, object]) -> dict[str, object]:
    return {**waiver, "expires": str(waiver["expires"])}


def write(
    report: Report, folder: Path, formats: Iterable[str], languages: Iterable[str], own: Path | None = None
) -> list[tuple[Path, str]]:
    """The files of a report, readable by their owner and group alone; each with its SHA-256."""
    texts: dict[str, str] = {}
    for kind in formats:
        if kind == "json":
            texts[f"compliance-{report.run}.json"] = as_json(report)
        else:
            texts |= {f"compliance-{report.run}.{lang}.html": pages.page(report, lang, own) for lang in languages}
    return put(texts, folder)


def put(texts: Mapping[str, str | bytes], folder: Path) -> list[tuple[Path, str]]:
    """Files by name, readable by their owner and group alone; each with its SHA-256. Raises OpsctlError."""
    contents = {name: text.encode() if isinstance(text, str) else text for name, text in texts.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [(_written(folder / name, content), _sha256(content)) for name, content in contents.items()]
    except OSError as error:
        raise OpsctlError(
            f"the report cannot be written to {folder}: {error.strerror}", hint="choose another --to"
        ) from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _written(file: Path, content: bytes) -> Path:
    # Never readable by all, not for a moment; and no link that waits under the name is followed (`--to /tmp`).
    part = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "wb") as stream:
            stream.write(content)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return file
