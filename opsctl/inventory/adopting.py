"""`inventory import`: read what a municipality has, and write it beside its tenant.yml for a person to review."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl.ansible import foreign
from opsctl.documents import NAME, Problems
from opsctl.errors import OpsctlError, Refused, UsageError
from opsctl.inventory import emit, files
from opsctl.inventory.adopt import Adopted, adopt, fingerprint_lines
from opsctl.inventory.hostfile import PLATFORM, read_hosts

if TYPE_CHECKING:
    from opsctl.config import Settings
    from opsctl.state.ledger import Ledger

FINGERPRINTS = "fingerprints.imported"


@dataclass(frozen=True, kw_only=True)
class Import:
    """What would be written, and where from."""

    tenant: str
    source: Path
    known_hosts: Path | None
    adopted: Adopted
    texts: Mapping[Path, str]


def plan(
    settings: Settings,
    tenant: str,
    source: Path,
    known_hosts: Path | None,
    *,
    roles: Sequence[str],
    role: str,
    platform: str,
) -> Import:
    """Raises UsageError, InventoryError, and Refused where the tenant's source lists hosts already."""
    if not PLATFORM.fullmatch(platform) or not NAME.fullmatch(role):
        raise UsageError("--platform is FAMILY-VERSION, --role a plain name", hint="as debian-12, web")
    target = settings.path("inventory.path") / tenant / files.SOURCE
    if target.exists() and read_hosts(target, tenant, Problems()):
        raise Refused(f"{target} lists hosts already; nothing was written", hint="empty it, or add the hosts by hand")
    adopted = adopt(foreign.read(source), tenant, platform=platform, role=role, roles=roles)
    texts = {target: emit.hosts_file(tenant, adopted.hosts, emit.HEAD_SOURCE)}
    if known_hosts is not None:
        lines = fingerprint_lines(adopted, known_hosts.read_text(encoding="utf-8", errors="replace"), str(known_hosts))
        texts[settings.inventories / tenant / FINGERPRINTS] = "\n".join(lines) + "\n"
    return Import(tenant=tenant, source=source, known_hosts=known_hosts, adopted=adopted, texts=texts)


def write(planned: Import, ledger: Ledger, who: str, now: Callable[[], datetime]) -> None:
    """Write the files, and enter where they come from in the ledger."""
    detail = {
        "tenant": planned.tenant,
        "from": str(planned.source),
        "known_hosts": str(planned.known_hosts or ""),
        "left_out": len(planned.adopted.left),
    }
    with ledger.act("inventory import", [host.key for host in planned.adopted.hosts], detail, who, now):
        try:
            for path, text in planned.texts.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise OpsctlError(f"{error.filename} could not be written: {error.strerror}") from error
