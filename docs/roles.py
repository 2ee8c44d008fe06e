"""Write each role's README from its argument specification; `docs/generate.py` calls it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parent.parent / "roles"
GENERATED = "<!-- Written by docs/roles.py (make docs) from meta/argument_specs.yml: change that, not this page. -->\n"


def pages() -> dict[Path, str]:
    """Every role's README with its text."""
    return {role / "README.md": readme(role) for role in sorted(ROLES.iterdir()) if (role / "meta").is_dir()}


def readme(role: Path) -> str:
    spec = yaml.safe_load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]["main"]
    lines = [GENERATED, f"# {role.name}", "", spec["short_description"], "", *spec["description"], ""]
    lines += ["| variable | type | default | meaning |", "|---|---|---|---|"]
    lines += [row for name, option in spec["options"].items() for row in _rows(name, option)]
    return "\n".join(lines) + "\n"


def _rows(name: str, option: dict[str, Any]) -> Iterator[str]:
    kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
    default = "required" if option.get("required") else _shown(option["default"]) if "default" in option else ""
    yield f"| `{name}` | {kind} | {default} | {option['description']} |"
    for inner, each in option.get("options", {}).items():
        yield from _rows(f"{name}[].{inner}", each)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return "<br>".join(f"`{item}`" for item in value) or "none"
    if isinstance(value, dict):
        return "<br>".join(f"`{name}: {one}`" for name, one in value.items()) or "none"
    return f"`{' '.join(str(value).split())}`".replace("|", "\\|") if value != "" else "empty"


def write() -> None:
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
