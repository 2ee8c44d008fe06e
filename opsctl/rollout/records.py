"""The records of controls that no host can answer for: patch runs, what monitoring sees, backups.

Read once for a whole run, for the hosts that it is about. What cannot be read is a record too, with its fault: the
control ends in an error then, never in a pass.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta

from opsctl.compliance.records import BACKUP, MONITORING, PATCHED, Known, Record, record
from opsctl.config import Settings
from opsctl.errors import OpsctlError
from opsctl.model.host import Host
from opsctl.model.rollout import Stage
from opsctl.monitor.alerts import Labels
from opsctl.monitor.remote import Remote
from opsctl.monitor.samples import samples
from opsctl.rollout.journal import Journal
from opsctl.state.store import Store

LOOK_BACK = timedelta(days=120)
_PATIENCE = 60
_LARGEST = 32 * 1024 * 1024
Source = Callable[[tuple[Host, ...], Settings, Store, datetime], Mapping[str, Record]]


def gather(hosts: Iterable[Host], controls: Iterable[str], settings: Settings, store: Store, now: datetime) -> Known:
    """What these controls need to be judged by, for each host."""
    chosen, wanted = tuple(hosts), set(controls)
    found: dict[str, dict[str, Record]] = {host.key: {} for host in chosen}
    for control, (name, read) in _SOURCES.items():
        if control in wanted and chosen:
            for key, one in read(chosen, settings, store, now).items():
                found[key][name] = one
    return found


def _all(hosts: Iterable[Host], one: Record) -> dict[str, Record]:
    return {host.key: one for host in hosts}


def _patched(hosts: tuple[Host, ...], _settings: Settings, store: Store, now: datetime) -> Mapping[str, Record]:
    """The last rollout of patches that brought each host to its end."""
    ended: dict[str, tuple[datetime, str]] = {}
    for state in Journal(store).begun_between("patch", now - LOOK_BACK, now):
        for one in state.hosts:
            if one.stage is Stage.DONE:
                ended[one.host] = max(ended.get(one.host, (one.at, state.plan.id)), (one.at, state.plan.id))
    source = f"opsctl's store: rollouts of patches of the last {LOOK_BACK.days} days"
    found = {}
    for host in hosts:
        last = ended.get(host.key)
        said = {"last_success": last[0].isoformat(), "rollout": last[1]} if last else {"last_success": ""}
        found[host.key] = record(source, now, said)
    return found


def _monitored(hosts: tuple[Host, ...], settings: Settings, _store: Store, now: datetime) -> Mapping[str, Record]:
    where = "Prometheus"
    try:
        source = Remote.of(settings, "prometheus")
        if source is None:
            return _all(hosts, Record(source=where, at=now, fault="monitor.prometheus is not set in opsctl.yml"))
        where = f"{source.address}/api/v1/query: up, timestamp(up)"
        seen = samples(source, Labels.of(settings), hosts)
    except OpsctlError as error:
        return _all(hosts, Record(source=where, at=now, fault=error.message))
    return {
        key: record(where, now, {"targets": [{**asdict(one), "at": one.at.isoformat()} for one in found]})
        for key, found in seen.items()
    }


def _backed_up(hosts: tuple[Host, ...], settings: Settings, _store: Store, now: datetime) -> Mapping[str, Record]:
    """What the command says: `{"version": 1, "hosts": {"TENANT.HOST": {"last_success": "2026-11-28T01:30:00Z"}}}`."""
    words = settings.texts("backup.command")
    if not words:
        return _all(hosts, Record(source="backup server", at=now, fault="backup.command is not set in opsctl.yml"))
    where = f"backup.command {words[0]}"
    try:
        told = _told(words)
    except (OSError, ValueError, TypeError, KeyError, subprocess.SubprocessError) as error:
        return _all(hosts, Record(source=where, at=now, fault=_why(error)))
    return {host.key: record(where, now, _entry(told.get(host.key))) for host in hosts}


def _told(words: tuple[str, ...]) -> Mapping[str, object]:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=True)
    if len(done.stdout) > _LARGEST:
        raise ValueError(f"it printed more than {_LARGEST} bytes")
    answer = json.loads(done.stdout)
    if answer["version"] != 1 or not isinstance(answer["hosts"], dict):
        raise ValueError("it is not in form 1")
    return dict(answer["hosts"])


def _entry(told: object) -> dict[str, object]:
    """A host that the backup server does not know has no backup: that is known, and no fault."""
    return {"last_success": str(told.get("last_success") or "") if isinstance(told, dict) else ""}


def _why(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer within {_PATIENCE} seconds"
    if isinstance(error, subprocess.CalledProcessError):
        return f"it ended with {error.returncode}"
    if isinstance(error, OSError):
        return error.strerror or "it cannot be started"
    return f"its answer is not what it should be: {type(error).__name__}: {error}"[:200]


_SOURCES: Mapping[str, tuple[str, Source]] = {
    "PAT-05": (PATCHED, _patched),
    "MON-03": (MONITORING, _monitored),
    "BAK-01": (BACKUP, _backed_up),
}
