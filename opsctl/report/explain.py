"""What is known of one control: its text, its check, its mend, its mappings, and which hosts fail it now."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from opsctl.compliance import catalogue as catalogues
from opsctl.compliance import profiles, record, waivers
from opsctl.errors import UnknownName
from opsctl.model.finding import Catalogue, Control, Setting
from opsctl.model.nearest import nearest
from opsctl.report import build
from opsctl.state.store import Store


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the latest whole run says of one host: the result, how a failure is judged, and what was observed."""

    host: str
    result: str
    disposition: str
    said: str


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """`source` is file and function of the check, `profiles` the values of each profile that asks for it.

    `judged_by`: each tenant's profile. `run` is the run that `hosts` are from (several, with commas, where tenants have
    profiles of their own), empty where none is kept or none asked for this control.
    """

    control: Control
    source: str
    profiles: Mapping[str, Mapping[str, Setting]]
    benchmarks: Mapping[str, str]
    judged_by: Mapping[str, str] = field(default_factory=dict)
    run: str = ""
    hosts: tuple[Seen, ...] = ()

    def with_result(self, *words: str) -> tuple[Seen, ...]:
        return tuple(seen for seen in self.hosts if seen.result in words)


def explain(
    name: str,
    *,
    own: Path | None,
    store: Store | None,
    profile: str,
    inventories: Path | None = None,
    judged_by: Mapping[str, str] | None = None,
) -> Explanation:
    """Raises UnknownName, with the nearest control.

    The latest whole run of `profile` tells of the hosts, of tenants that are `judged_by` another one that one's.
    """
    catalogue = catalogues.load(own)
    control = catalogue.by_id.get(name.upper())
    if control is None:
        hint = " ".join(filter(None, (nearest(name.upper(), catalogue.by_id), "opsctl comply controls lists them")))
        raise UnknownName(f"no control is called {name!r}", hint=hint)
    judges = judged_by or {}
    seen = [_now(store, control.id, one, profile, judges) for one in _in_use(profile, judges)] if store else []
    return Explanation(
        control=control,
        source=_source(catalogues.folder(own), control.id),
        profiles=_profiles(control.id, catalogue, own, inventories),
        benchmarks=catalogue.benchmarks,
        judged_by=judges,
        run=", ".join(run for run, _ in seen if run),
        hosts=tuple(host for _, hosts in seen for host in hosts),
    )


def _in_use(profile: str, judged_by: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((profile, *judged_by.values())))


def _source(checks: Path, name: str) -> str:
    """`check_ssh.py: check_root_cannot_log_in`; empty where there is no check function yet."""
    for file in sorted(checks.glob("check_*.py")):
        text = file.read_text(encoding="utf-8")
        if found := re.search(rf'@pytest\.mark\.control\("{re.escape(name)}"\)\s+def (\w+)', text):
            return f"{catalogues.FOLDER}/{file.name}: {found[1]}"
    return ""


def _profiles(
    name: str, catalogue: Catalogue, own: Path | None, inventories: Path | None
) -> dict[str, Mapping[str, Setting]]:
    found = {}
    for profile in profiles.names(own, inventories):
        for control in profiles.load(profile, catalogue, own, inventories).controls:
            if control.id == name:
                found[profile] = control.values
    return found


def _now(
    store: Store, name: str, profile: str, usual: str, judged_by: Mapping[str, str]
) -> tuple[str, tuple[Seen, ...]]:
    try:
        run, _ = build.latest(store, profile)
    except UnknownName:
        return "", ()
    assessment = record.read(store, run)[1]
    results = [
        result
        for result in assessment.results
        if result.control == name and judged_by.get(result.host.partition(".")[0], usual) == profile
    ]
    findings = waivers.judge(results, assessment.waivers, assessment.ended)
    judged = {finding.result.host: finding.disposition for finding in findings}
    return run if results else "", tuple(
        Seen(host=r.host, result=r.result, disposition=judged.get(r.host, ""), said=r.reason or r.observed)
        for r in results
    )
