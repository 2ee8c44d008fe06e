"""The inventory in other programs' forms: JSON, CSV for a spreadsheet, ssh_config for people. Pure.

Ansible's and Prometheus's forms belong to the rooms that speak with them.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence

from opsctl.inventory.document import encode_host, encode_quarantined
from opsctl.model.host import Host, Inventory, Service

COLUMNS = (
    "key", "tenant", "name", "address", "address6", "port", "role", "platform", "ring", "organisation", "site",
    "region", "cluster", "vm_cluster", "windows", "owner", "criticality", "services", "tags", "jump", "reboot",
    "balancer", "status", "managed", "record", "stale",
)  # fmt: skip
# A spreadsheet takes a cell that begins so for a formula, and runs it (OWASP, CSV injection). Where the decimal mark is
# a comma, as in Sweden, it splits lines at semicolons: then what follows one begins a cell too.
_FORMULA = re.compile(r"(?:^|(?<=[;\t]))(?=[\s\"']*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20])")


def as_json(inventory: Inventory, hosts: Iterable[Host]) -> str:
    """Every field of the hosts, the quarantined records, and the inventory's hash."""
    document = {
        "inventory": inventory.digest,
        "hosts": [{"key": host.key, **encode_host(host), "managed": host.managed} for host in hosts],
        "quarantined": encode_quarantined(inventory.quarantined),
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def as_csv(hosts: Iterable[Host]) -> str:
    """One line a host (RFC 4180). No cell can be taken for a formula: an apostrophe stands before it."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for host in hosts:
        writer.writerow([_cell(host, column) for column in COLUMNS])
    return text.getvalue()


def _cell(host: Host, column: str) -> str:
    if column == "services":
        found = " ".join(_service(service) for service in host.services)
    elif column == "managed":
        found = "yes" if host.managed else f"no: {host.why_not_managed}"
    else:
        value = getattr(host, column)
        found = " ".join(value) if isinstance(value, tuple) else str(value)
    return _FORMULA.sub("'", found)


def _service(service: Service) -> str:
    """`web:tcp/443`, and for whom where that is said: `web:tcp/443:ange+sundsvall`."""
    port = f"{service.protocol}/{service.port}"
    return ":".join(filter(None, (service.name, port, "+".join(service.serves))))


def as_ssh_config(inventory: Inventory, hosts: Sequence[Host], user: str) -> str:
    """Blocks for a person's own ssh_config, jump hosts included. Names and addresses were checked when they came in."""
    wanted = {step.key: step for host in hosts if host.address for step in (*inventory.jumps(host), host)}
    blocks = ["# Written by `opsctl inventory export --format ssh-config`.\n"]
    for host in wanted.values():
        lines = [
            f"Host {host.key}",
            f"  HostName {host.address}",
            f"  Port {host.port}",
            f"  User {user}",
            # Two municipalities may use one address: the key belongs to the name.
            f"  HostKeyAlias {host.key}",
        ]
        if jumps := inventory.jumps(host):
            lines.append(f"  ProxyJump {jumps[-1].key}")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)
