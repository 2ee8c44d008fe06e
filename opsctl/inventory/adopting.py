"""`inventory import`: read what a municipality has, and write it for a person to review.

Either as the file source, beside its tenant.yml, or as records for NetBox, which `inventory push --from` makes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl.ansible import foreign
from opsctl.documents import NAME, Problems
from opsctl.errors import OpsctlError, Refused, UsageError
from opsctl.inventory import emit, files, wanted
from opsctl.inventory.adopt import Adopted, adopt, fingerprint_lines
from opsctl.inventory.hostfile import PLATFORM, read_hosts
from opsctl.inventory.rules import mapping_of
from opsctl.inventory.wanted import Place

if TYPE_CHECKING:
    from opsctl.config import Settings
    from opsctl.state.ledger import Ledger

FINGERPRINTS = "fingerprints.imported"


@dataclass(frozen=True, kw_only=True)
class Import:
    """What would be written, and where from. `left` are hosts that cannot be taken over, and files, with the reason.

    `trust` is the SHA-256 of the known_hosts file.
    """

    tenant: str
    source: Path
    known_hosts: Path | None
    trust: str
    adopted: Adopted
    left: Mapping[str, str]
    texts: Mapping[Path, str]


@dataclass(frozen=True, kw_only=True)
class ForNetBox:
    """The file of records that is to be written, and where the hosts stand in NetBox."""

    file: Path
    place: Place


def plan(
    settings: Settings,
    tenant: str,
    source: Path,
    known_hosts: Path | None,
    *,
    roles: Sequence[str],
    role: str,
    platform: str,
    netbox: ForNetBox | None = None,
) -> Import:
    """Raises UsageError, InventoryError, and Refused where what would be written is there already."""
    if not PLATFORM.fullmatch(platform) or not NAME.fullmatch(role):
        raise UsageError("--platform is FAMILY-VERSION, --role a plain name", hint="as debian-12, web")
    target = netbox.file if netbox else settings.path("inventory.path") / tenant / files.SOURCE
    if target.exists() and (netbox or read_hosts(target, tenant, Problems())):
        raise Refused(f"{target} lists hosts already; nothing was written", hint="empty it, or add the hosts by hand")
    found = foreign.read(source)
    adopted = adopt(found, tenant, platform=platform, role=role, roles=roles)
    left = {**adopted.left, **dict.fromkeys(found.sealed, "sealed by ansible-vault: what it says of hosts is left out")}
    if netbox:
        rules = mapping_of(settings)
        texts = {target: wanted.text(wanted.of_host(host, rules, netbox.place) for host in adopted.hosts)}
        left |= {host.key: why for host in adopted.hosts if (why := wanted.unsaid(host, rules))}
    else:
        texts = {target: emit.hosts_file(tenant, adopted.hosts, emit.HEAD_SOURCE)}
    trust = ""
    if known_hosts is not None:
        content = known_hosts.read_bytes()
        trust = hashlib.sha256(content).hexdigest()
        lines = fingerprint_lines(adopted, content.decode("utf-8", "replace"), f"{known_hosts} (SHA-256 {trust})")
        texts[settings.inventories / tenant / FINGERPRINTS] = "\n".join(lines) + "\n"
    return Import(
        tenant=tenant, source=source, known_hosts=known_hosts, trust=trust, adopted=adopted, left=left, texts=texts
    )


def write(planned: Import, ledger: Ledger, who: str, now: Callable[[], datetime]) -> None:
    """Write the files, and enter where they come from in the ledger."""
    detail = {
        "tenant": planned.tenant,
        "from": str(planned.source),
        "known_hosts": str(planned.known_hosts or ""),
        "known_hosts_sha256": planned.trust,
        "written": [str(path) for path in planned.texts],
        "left_out": len(planned.left),
    }
    with ledger.act("inventory import", [host.key for host in planned.adopted.hosts], detail, who, now):
        try:
            for path, text in planned.texts.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise OpsctlError(f"{error.filename} could not be written: {error.strerror}") from error
