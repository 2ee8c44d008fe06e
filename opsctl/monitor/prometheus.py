"""Targets for Prometheus: one file_sd file a tenant, written in one move, and never emptied by mistake.

The format is Prometheus's own: a list of `{"targets": ["address:9100"], "labels": {...}}`
(prometheus.io/docs/prometheus/latest/configuration, file_sd_config). Prometheus reads a changed file by itself.
"""

from __future__ import annotations

import ipaddress
import json
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from opsctl.errors import ConfigError, FuseTripped, OpsctlError
from opsctl.model.host import Host

EXPORTER_PORT = 9100
Change = Literal["new", "changed", "same", "stale"]


@dataclass(frozen=True, kw_only=True)
class TargetFile:
    """One tenant's file: what it should hold, and how that compares with what is there.

    `stale`: a file of a tenant without hosts now; it is left as it is, for nothing is emptied without a person.
    """

    tenant: str
    path: Path
    text: str
    hosts: int
    change: Change
    before: int = 0

    @property
    def to_write(self) -> bool:
        return self.change in ("new", "changed")


def plan(folder: Path, tenants: Iterable[str], hosts: Iterable[Host]) -> tuple[TargetFile, ...]:
    """What each tenant's file should be, held against what is in the folder now."""
    by_tenant: dict[str, list[Host]] = {tenant: [] for tenant in tenants}
    for host in hosts:
        if host.managed and host.tenant in by_tenant:
            by_tenant[host.tenant].append(host)
    return tuple(_compare(folder / f"{tenant}.json", tenant, chosen) for tenant, chosen in sorted(by_tenant.items()))


def render(hosts: Iterable[Host]) -> str:
    """The text of one file_sd file, in a fixed order; the last newline belongs to it."""
    entries = [
        {
            "targets": [_target(host)],
            "labels": {
                "host": host.name,
                "tenant": host.tenant,
                "role": host.role,
                "ring": host.ring,
                **({"site": host.site} if host.site else {}),
                **({"cluster": host.cluster} if host.cluster else {}),
                "criticality": host.criticality,
            },
        }
        for host in sorted(hosts, key=lambda host: host.key)
    ]
    return json.dumps(entries, ensure_ascii=False, indent=2) + "\n"


def write(files: Iterable[TargetFile]) -> tuple[TargetFile, ...]:
    """Write what is new or changed; raises FuseTripped before anything is written when a file would become empty."""
    chosen = tuple(files)
    emptied = [one for one in chosen if one.change == "stale"]
    for one in emptied:
        raise FuseTripped(
            f"{one.path} names {one.before} targets and would name none: not written, nor anything else",
            hint=f"is the inventory of {one.tenant} complete? If the tenant is gone for good, remove the file by hand",
        )
    done = tuple(one for one in chosen if one.to_write)
    for one in done:
        _put(one.path, one.text)
    return done


def _compare(path: Path, tenant: str, hosts: list[Host]) -> TargetFile:
    text = render(hosts)
    before = _targets_in(path)
    change: Change
    if before is None:
        change = "new" if hosts else "same"
    elif not hosts and before:
        change = "stale"
    else:
        change = "same" if path.read_text(encoding="utf-8") == text else "changed"
    return TargetFile(tenant=tenant, path=path, text=text, hosts=len(hosts), change=change, before=before or 0)


def _targets_in(path: Path) -> int | None:
    """How many targets a file names; None where there is no file. One that cannot be read counts as not empty."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return sum(len(entry["targets"]) for entry in found)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    except (ValueError, TypeError, KeyError):
        return 1


def _target(host: Host) -> str:
    try:
        address = ipaddress.ip_address(host.address)
    except ValueError:
        return f"{host.address}:{EXPORTER_PORT}"
    return f"[{address}]:{EXPORTER_PORT}" if address.version == 6 else f"{address}:{EXPORTER_PORT}"


def _put(path: Path, text: str) -> None:
    # The folder may be Prometheus's own: a name that nobody could have put a link under, and "x" follows none.
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("x", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.chmod(0o644)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise OpsctlError(f"{path} could not be written: {error}", hint="the earlier file is as it was") from None
