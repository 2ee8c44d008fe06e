"""Units of systemd that a verb makes: shown, and written where they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from opsctl.cli.app import App
from opsctl.cli.output import line, note


def offer(app: App, texts: Mapping[str, str], into: Path | None, *, dry_run: bool, yes: bool) -> None:
    """Show the units by file name; write them into a folder, if one is named and the person agrees."""
    for name, text in texts.items():
        line(f"# {into / name if into else name}\n{text}")
    if into is None or dry_run:
        note("nothing was written")
        return
    app.confirm(f"Write {' and '.join(texts)} into {into}?", yes=yes)
    for name, text in texts.items():
        (into / name).write_text(text, encoding="utf-8")
    note(f"next: systemctl daemon-reload; systemctl enable --now {list(texts)[-1]}")
