"""The fleet as a tree - tenant, site, cluster, host - for a terminal and as SVG. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from opsctl.model.host import Host, Inventory

_Inner = Callable[[Sequence[Host]], "tuple[Node, ...]"]
_ROW, _STEP, _WIDTH, _MARGIN = 22, 28, 900, 16


@dataclass(frozen=True, kw_only=True)
class Node:
    """One line of the tree; `note` says more about it."""

    label: str
    note: str = ""
    below: tuple[Node, ...] = ()


def tree(inventory: Inventory, hosts: Sequence[Host]) -> tuple[Node, ...]:
    """One root a tenant that has a host; a tenant's hosts stand below their site and cluster, where they have one."""
    roots = []
    for tenant in inventory.tenants:
        ours = [host for host in hosts if host.tenant == tenant.name]
        if ours:
            below = _grouped(ours, "site", lambda inner: _grouped(inner, "cluster", _leaves))
            roots.append(Node(label=tenant.name, note=f"{tenant.title}, {_count(ours)}", below=below))
    return tuple(roots)


def _grouped(hosts: Sequence[Host], field: str, inner: _Inner) -> tuple[Node, ...]:
    names = sorted({getattr(host, field) for host in hosts} - {""})
    nodes = []
    for name in names:
        members = [host for host in hosts if getattr(host, field) == name]
        nodes.append(Node(label=f"{field} {name}", note=_count(members), below=inner(members)))
    return (*nodes, *inner([host for host in hosts if not getattr(host, field)]))


def _leaves(hosts: Sequence[Host]) -> tuple[Node, ...]:
    return tuple(Node(label=host.name, note=_said(host)) for host in sorted(hosts, key=lambda host: host.name))


def _said(host: Host) -> str:
    parts = [host.role, host.platform, f"ring {host.ring}" if host.managed else f"not managed: {host.why_not_managed}"]
    parts.extend(f"{one.name} for {' and '.join(one.serves)}" for one in host.services if one.serves)
    if host.jump:
        parts.append(f"through {host.jump}")
    if host.stale:
        parts.append("kept as it was")
    return ", ".join(parts)


def _count(hosts: Sequence[Host]) -> str:
    return f"{len(hosts)} host{'' if len(hosts) == 1 else 's'}"


def as_text(roots: Iterable[Node]) -> str:
    """The tree with lines, as `tree` draws it."""
    return "".join(f"{line}\n" for root in roots for line in (_line(root), *_below(root, "")))


def _line(node: Node) -> str:
    return f"{node.label}  ({node.note})" if node.note else node.label


def _below(node: Node, indent: str) -> Iterator[str]:
    for number, child in enumerate(node.below, start=1):
        last = number == len(node.below)
        yield f"{indent}{'└── ' if last else '├── '}{_line(child)}"
        yield from _below(child, indent + ("    " if last else "│   "))


def as_svg(roots: Sequence[Node]) -> str:
    """The tree as one SVG image with a title; text stays text, so that it can be searched and read aloud."""
    rows = list(_rows(roots, 0))
    height = _MARGIN * 2 + _ROW * max(len(rows), 1)
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n',
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"',
        ' role="img" aria-labelledby="title" font-family="sans-serif" font-size="14">\n',
        '<title id="title">Hosts by tenant, site and cluster</title>\n',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>\n',
    ]
    places: list[int] = []
    for number, (depth, node) in enumerate(rows):
        x, y = _MARGIN + depth * _STEP, _MARGIN + number * _ROW + 15
        del places[depth:]
        if depth:
            parts.append(
                f'<path d="M{x - _STEP + 6} {places[depth - 1] + 5}V{y - 5}H{x - 4}" fill="none" stroke="#767676"/>\n'
            )
        places.append(y)
        weight = "bold" if node.below else "normal"
        parts.append(
            f'<text x="{x}" y="{y}"><tspan font-weight="{weight}">{_shown(node.label)}</tspan>'
            f'<tspan fill="#595959" dx="10">{_shown(node.note)}</tspan></text>\n'
        )
    return "".join((*parts, "</svg>\n"))


def _rows(nodes: Iterable[Node], depth: int) -> Iterator[tuple[int, Node]]:
    for node in nodes:
        yield depth, node
        yield from _rows(node.below, depth + 1)


def _shown(text: str) -> str:
    """Text as XML can hold it (XML 1.0, 2.2: no control characters)."""
    return escape("".join(char for char in text if char.isprintable()))
