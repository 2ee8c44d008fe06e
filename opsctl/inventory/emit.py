"""hosts.yml and tenant.yml as text: one fixed schema in a fixed order, so that two syncs of one source are equal.

Written here and not by PyYAML, which needs seconds for 5,000 hosts; a test holds that PyYAML reads back what went in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from functools import lru_cache

from opsctl.model.gate import Gate, GateKind
from opsctl.model.handling import Handling
from opsctl.model.host import (
    Account,
    Cluster,
    Host,
    Mirror,
    Organisation,
    OutLimit,
    Quarantined,
    Service,
    Site,
    Tenant,
    Window,
)

HEAD = "# Written by `opsctl inventory sync`; change the source, not this copy.\n"
HEAD_TENANT = "# What this tenant's hosts are held to. Written by people; a sync never touches it.\n"
HEAD_NOBODYS = "# Written by `opsctl inventory sync`: records of NetBox without a tenant of this workspace.\n"
HEAD_SOURCE = "# What the file source says: the hosts as they should be, written by people.\n"

# Words that YAML 1.1 reads as something else than text, and everything that is not plainly a word, are quoted.
_PLAIN = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_NOT_TEXT = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_PLAIN_ADDRESS = re.compile(r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}")
# What may stand unescaped in a double-quoted scalar (YAML 1.1, 5.1 and 5.4): printable, and no line break.
UNPRINTABLE = re.compile("[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")

_TEXTS = ("address", "role", "platform", "port", "ring", "organisation", "site", "cluster", "windows", "owner")
_NETBOX = ("address6", "region", "vm_cluster", "tags", "record", "stale", "custom", "context")
_DOCUMENTS = frozenset({"custom", "context"})
# One encoder for all: json.dumps makes a new one for each value.
_JSON = json.JSONEncoder(ensure_ascii=False)
_DEFAULTS = {"port": 22, "criticality": "normal", "status": "active"}
_SHOWN = tuple((name, _DEFAULTS.get(name)) for name in (
    *_TEXTS, "criticality", "status", "jump", "reboot", "balancer", *_NETBOX,
))  # fmt: skip


_Record = Organisation | Site | Cluster | OutLimit | Window | Handling | Mirror


def hosts_file(tenant: str, hosts: Iterable[Host], head: str = HEAD, quarantined: Iterable[Quarantined] = ()) -> str:
    """The text of a hosts.yml (or, with another first line, of a source.yml)."""
    lines = [head, "version: 1\n", f"tenant: {scalar(tenant)}\n"]
    ordered = sorted(hosts, key=lambda host: host.name)
    lines.append("hosts:\n" if ordered else "hosts: []\n")
    for host in ordered:
        _host(host, lines)
    lines.extend(_quarantined(quarantined))
    return "".join(lines)


def quarantine_file(quarantined: Iterable[Quarantined]) -> str:
    """The text of quarantined.yml: the records that belong to no tenant."""
    return "".join([HEAD_NOBODYS, "version: 1\n", *_quarantined(quarantined)])


def _quarantined(quarantined: Iterable[Quarantined]) -> list[str]:
    found = list(quarantined)
    lines = ["quarantined:\n"] if found else []
    for one in found:
        lines.append(f"  - record: {scalar(one.record)}\n")
        if one.name:
            lines.append(f"    name: {quoted(json.dumps(one.name))}\n")
        lines.append(f"    reason: {scalar(one.reason)}\n")
        if one.link:
            lines.append(f"    link: {scalar(one.link)}\n")
    return lines


def _host(host: Host, lines: list[str]) -> None:
    lines.append(f"  - name: {scalar(host.name)}\n")
    given = vars(host)
    for name, usual in _SHOWN:
        value = given[name]
        if not value or value == usual:
            continue
        # A managed host's ring is always shown: it decides when the host is touched.
        if name == "ring" and value == "broad" and not host.managed:
            continue
        # Documents may be large, and each host may have its own: no cache for them.
        lines.append(f"    {name}: {quoted(value)}\n" if name in _DOCUMENTS else _line(name, value))
    if host.services:
        lines.append("    services:\n")
        ordered = sorted(host.services, key=lambda s: (s.name, s.port, s.protocol))
        lines.extend(f"      - {{{_service(service)}}}\n" for service in ordered)


@lru_cache(maxsize=4096, typed=True)
def _line(name: str, value: str | int | tuple[str, ...]) -> str:
    """One value of a host: thousands of hosts share most of them."""
    return f"    {name}: {_flow(sorted(value)) if isinstance(value, tuple) else scalar(value)}\n"


@lru_cache(maxsize=4096)
def _service(service: Service) -> str:
    parts = [f"name: {scalar(service.name)}", f"port: {service.port}"]
    if service.protocol != "tcp":
        parts.append(f"protocol: {scalar(service.protocol)}")
    if service.url:
        parts.append(f"url: {scalar(service.url)}")
    if service.serves:
        parts.append(f"serves: {_flow(service.serves)}")
    return ", ".join(parts)


@lru_cache(maxsize=4096, typed=True)
def scalar(value: str | int) -> str:
    """One value as YAML: plain where it can only be read as itself, quoted elsewhere."""
    if isinstance(value, int):
        return str(value)
    if (_PLAIN.fullmatch(value) and value not in _NOT_TEXT) or _PLAIN_ADDRESS.fullmatch(value):
        return value
    text = _JSON.encode(value)
    return text if text.isascii() and text.isprintable() else UNPRINTABLE.sub(_escape, text)


def quoted(text: str) -> str:
    """JSON text, readable: in single quotes nothing but the quote itself means anything (YAML 1.1, 5.7)."""
    return "'" + text.replace("'", "''") + "'"


def _escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def tenant_file(tenant: Tenant, head: str = HEAD_TENANT) -> str:
    """The text of a tenant.yml; lists that nobody gave stay away."""
    lines = [head, "version: 1\n", f"name: {scalar(tenant.name)}\n", f"title: {scalar(tenant.title)}\n"]
    if tenant.operator:
        lines.append(f"operator: {scalar(tenant.operator)}\n")
    for key in ("organisations", "sites", "clusters", "limits"):
        _records(key, getattr(tenant, key), lines)
    lines.append(f"rings: {_flow(tenant.rings)}\n")
    if tenant.approval:
        lines.append(f"approval: {_flow(tenant.approval)}\n")
    _records("mirrors", tenant.mirrors, lines)
    _records("windows", tenant.windows, lines)
    if tenant.gates:
        lines.append("gates:\n")
    lines.extend(f"  - {{{_gate(gate)}}}\n" for gate in tenant.gates)
    budgets = {"failure_budget": tenant.failure_budget, "wave_budget": tenant.wave_budget}
    lines.extend(f"{key}: {scalar(value)}\n" for key, value in budgets.items() if value)
    _records("handling", tenant.handling, lines)
    given = {"management_networks": tenant.management_networks, "ssh_groups": tenant.ssh_groups}
    lines.extend(f"{key}: {_flow(values)}\n" for key, values in given.items() if values is not None)
    if tenant.accounts is not None:
        lines.append("accounts:\n" if tenant.accounts else "accounts: []\n")
        for account in tenant.accounts:
            _account(account, lines)
    for key in ("patch_policy", "mappings_confirmed"):
        if (part := getattr(tenant, key)) is not None:
            lines.append(f"{key}:\n")
            lines.extend(f"  {name}: {scalar(value)}\n" for name, value in vars(part).items() if value is not None)
    if tenant.package_sources is not None:
        lines.append("package_sources:\n" if tenant.package_sources else "package_sources: []\n")
        lines.extend(f"  - {scalar(line)}\n" for line in tenant.package_sources)
    if tenant.time_servers is not None:
        lines.append(f"time_servers: {_flow(tenant.time_servers)}\n")
    single = {name: getattr(tenant, name) for name in ("log_host", "log_retention_days", "profile")}
    lines.extend(f"{name}: {scalar(value)}\n" for name, value in single.items() if value)
    return "".join(lines)


def _records(key: str, records: Sequence[_Record], lines: list[str]) -> None:
    """A list of small entries, one a line."""
    if not records:
        return
    lines.append(f"{key}:\n")
    for record in records:
        every = {field.name: getattr(record, field.name) for field in fields(record)}
        given = {name: value for name, value in every.items() if value not in ("", None)}
        if isinstance(record, Handling):
            given = {name: value for name, value in given.items() if value}
        parts = (f"{name}: {_flow(v) if isinstance(v, tuple) else scalar(v)}" for name, v in given.items())
        lines.append(f"  - {{{', '.join(parts)}}}\n")


def _gate(gate: Gate) -> str:
    asked = {
        GateKind.SOAK: f"soak_minutes: {gate.seconds // 60}",
        GateKind.COMMAND: f"command: {_flow(gate.command)}",
        GateKind.HTTP: f"http: {scalar(gate.url)}, status: {gate.status}, text: {scalar(gate.text)}",
        GateKind.ALERTS: "alerts: true",
        GateKind.COMPLIANCE: f"compliance: {_flow(gate.controls)}",
    }
    parts = [f"name: {scalar(gate.name)}", asked[gate.kind]]
    parts += [f"after: {gate.after}"] if gate.kind is not GateKind.SOAK else []
    parts += [f"rings: {_flow(gate.rings)}"] if gate.rings else []
    parts += [f"seconds: {gate.seconds}"] if gate.seconds and gate.kind is not GateKind.SOAK else []
    return ", ".join(parts)


def _account(account: Account, lines: list[str]) -> None:
    lines.append(f"  - name: {scalar(account.name)}\n")
    if account.automation:
        lines.append("    automation: true\n")
    lines.append(f"    groups: {_flow(account.groups)}\n")
    lines.append("    keys:\n" if account.keys else "    keys: []\n")
    lines.extend(f"      - {scalar(key)}\n" for key in account.keys)


def _flow(values: Iterable[str]) -> str:
    return f"[{', '.join(scalar(value) for value in values)}]"
