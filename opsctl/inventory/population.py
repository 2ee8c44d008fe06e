"""An independent list of machines (a hypervisor's, a monitoring system's) as CSV, read with the line of every fault.

The first line names the columns; names and addresses are looked for under the words that such lists use, in any case.
A cell may hold several addresses. Excel's semicolons and its `sep=` line, and PowerShell's UTF-16, are read too.
"""

from __future__ import annotations

import csv
import io
import ipaddress
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from opsctl.errors import Problem, SetupError

# The first that is there is the name: `host` comes last, since it may be the hypervisor.
NAMES = ("name", "vm", "vm name", "hostname", "host name", "dns name", "fqdn", "instance", "host")
ADDRESSES = ("address", "addresses", "ip", "ip address", "ip addresses", "primary ip", "primary ip address",
             "guest ip", "ipv4", "ipv4 address", "ipv6", "ipv6 address")  # fmt: skip
MOST_PROBLEMS = 20


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One machine of the list: its line, its name as it stands there, its addresses in their normal form."""

    line: int
    name: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Columns:
    width: int
    name: int | None
    addresses: tuple[int, ...]


def read(path: Path) -> tuple[Machine, ...]:
    """The machines of a file. Raises SetupError where it is no such list, with file:line of every fault."""
    try:
        return parse(_text(path), str(path))
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from error


def _text(path: Path) -> str:
    raw = path.read_bytes()
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise SetupError(f"{path}:{line}: not UTF-8", hint="save it as `CSV UTF-8`, as Excel calls it") from error


def parse(text: str, where: str) -> tuple[Machine, ...]:
    """The machines of a text; `where` names it in faults."""
    skipped = re.match(r"sep=([,;\t])\r?\n", text)
    body = text[skipped.end() :] if skipped else text
    first = body.partition("\n")[0]
    delimiter = skipped[1] if skipped else max(",;\t", key=first.count)
    rows = _rows(body, delimiter, where, first_line=2 if skipped else 1)
    columns = _columns(next(rows, (1, []))[1], where)
    found: list[Machine] = []
    problems: list[Problem] = []
    for line, cells in rows:
        try:
            found.append(_machine(line, cells, columns))
        except ValueError as fault:
            problems.append(Problem(where=f"{where}:{line}", what=str(fault)))
    if problems:
        more = len(problems) - MOST_PROBLEMS
        rest = (Problem(where=where, what=f"{more} lines more"),) if more > 0 else ()
        raise SetupError(f"{where} cannot be used", problems=(*problems[:MOST_PROBLEMS], *rest),
                         hint="mend or take out these lines; half a list would make hosts look lost")  # fmt: skip
    if not found:
        raise SetupError(f"{where} lists no machine", hint="an empty list would make every host look lost")
    return tuple(found)


def _rows(text: str, delimiter: str, where: str, *, first_line: int) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the line on which it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begins = first_line
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begins, cells
            begins = first_line + reader.line_num
    except csv.Error as error:
        raise SetupError(f"{where}:{begins}: not CSV: {error}", hint="is a quotation mark left open?") from error


def _columns(header: Sequence[str], where: str) -> _Columns:
    names = [" ".join(re.findall(r"\w+", cell.replace("_", " ").casefold())) for cell in header]
    name = next((names.index(word) for word in NAMES if word in names), None)
    addresses = tuple(place for place, word in enumerate(names) if word in ADDRESSES)
    if name is None and not addresses:
        raise SetupError(
            f"{where}:1 names no column with a name or an address",
            hint="call one of them name or address; docs/reference/drift.md has the other names that are understood",
        )
    return _Columns(width=len(header), name=name, addresses=addresses)


def _machine(line: int, cells: Sequence[str], columns: _Columns) -> Machine:
    """Raises ValueError with what is wrong."""
    if len(cells) < columns.width or any(cell.strip() for cell in cells[columns.width :]):
        raise ValueError(f"the first line names {columns.width} columns, this one has {len(cells)}")
    name = unicodedata.normalize("NFC", cells[columns.name]).strip() if columns.name is not None else ""
    words = [word for place in columns.addresses for word in re.split(r"[\s,;|]+", cells[place]) if word]
    # Monitoring knows targets: `host:9100`, and hosts that have no other name than their address.
    name = re.sub(r"^\[(.*)\](:\d+)?$|^([^:]*):\d+$", lambda match: match[1] or match[3] or "", name)
    if _is_address(name):
        words, name = [*words, name], ""
    addresses = tuple(dict.fromkeys(one for word in words if (one := _address(word))))
    if not name and not addresses:
        raise ValueError("names no machine: neither a name nor an address that others can reach")
    return Machine(line=line, name=name, addresses=addresses)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return True


def _address(text: str) -> str:
    """In its normal form; empty for one that says nothing of who it is (a link's own, loopback). Raises ValueError."""
    try:
        found = ipaddress.ip_interface(text).ip
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None
    plain = (found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None) or found
    return "" if plain.is_link_local or plain.is_loopback or plain.is_unspecified else str(plain)
