"""Runs of whole fleets, made up for tests and benches: the catalogue's own controls, hosts that differ as real ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from opsctl.compliance import catalogue
from opsctl.model.finding import Absent, Assessment, CheckResult, Control, Coverage, Evidence, Scope, ScopedHost

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TITLES = {"ange": "Ånge kommun", "sundsvall": "Sundsvalls kommun"}
ROLES = ("web", "database", "bastion", "file")


def fleet(
    hosts: int, *, tenant: str = "ange", away: int = 1, controls: int = 129, after: timedelta = timedelta()
) -> Assessment:
    """A run over so many hosts; the last `away` of them did not answer. The same arguments give the same run."""
    chosen = tuple(replace(control, built=True) for control in catalogue.load().controls[:controls])
    scoped = tuple(
        ScopedHost(
            key=f"{tenant}.{tenant}-{ROLES[n % 4]}{n:03}",
            tenant=TITLES[tenant],
            role=ROLES[n % 4],
            platform="debian-12",
        )
        for n in range(hosts)
    )
    reached, gone = scoped[: hosts - away], scoped[hosts - away :]
    started = NOW + after
    results = [result for host in reached for result in _results(host.key, chosen, started)]
    why = "no answer from 192.0.2.7 port 22: timed out"
    results += [
        CheckResult(control=control.id, host=host.key, result="notchecked", reason=why, at=started)
        for host in gone
        for control in chosen
    ]
    return Assessment(
        scope=_scope(chosen, scoped),
        started=started,
        ended=started + timedelta(seconds=42),
        coverage=Coverage(
            assessed=tuple(host.key for host in reached),
            unreachable=tuple(Absent(host=host.key, reason=why, last_good=NOW - timedelta(days=3)) for host in gone),
            excluded=(
                Absent(host=f"{tenant}.{tenant}-print1", reason="platform windows-2022 is not managed by opsctl"),
            ),
            quarantined=(Absent(host=f"{tenant}: vm 7", reason="the record has no primary address"),),
        ),
        results=tuple(results),
    )


def _scope(controls: tuple[Control, ...], hosts: tuple[ScopedHost, ...]) -> Scope:
    return Scope(
        profile="standard",
        profile_title="Standard",
        profile_title_sv="Standardprofil",
        benchmarks=catalogue.load().benchmarks,
        controls=controls,
        hosts=hosts,
        selection={"tenants": (), "limit": (), "roles": (), "rings": ()},
        deselected=(),
        operator="anna",
        control_node="node1",
        tool_version="0.1.0",
        catalogue_sha256="c" * 64,
        content_sha256="d" * 64,
        inventory_digest="e" * 64,
    )


def _results(host: str, controls: tuple[Control, ...], at: datetime) -> Iterator[CheckResult]:
    for place, control in enumerate(controls):
        dice = int.from_bytes(hashlib.sha256(f"{host} {control.id} {at:%Y-%m-%d}".encode()).digest()[:2])
        kind = "fail" if dice < 4_000 * (1 + place % 3) / 2 else "notapplicable" if dice < 9_000 else "pass"
        kind = "error" if dice > 65_300 else kind
        piece = _evidence(host, control, place, at)
        yield CheckResult(
            control=control.id,
            host=host,
            result=kind,
            at=at + timedelta(seconds=1 + place % 40),
            observed=f"{control.id.lower()} is set to {'no' if kind == 'fail' else 'yes'}"
            if kind in ("pass", "fail")
            else "",
            expected=f"{control.id.lower()} is set to yes" if kind in ("pass", "fail") else "",
            reason={
                "error": f"the file of {control.id} cannot be read",
                "notapplicable": "the service is not installed",
            }.get(kind, ""),
            evidence=(piece,) if kind != "notapplicable" else (),
        )


def _evidence(host: str, control: Control, place: int, at: datetime) -> Evidence:
    """Every eighth command is one that several controls share, and every tenth is asked live."""
    name = (
        f"sshd -T -C user=root,host=localhost,addr=127.0.0.1 # {place // 8}"
        if place % 8 == 0
        else f"stat -c '%a %U:%G' /etc/{control.id.lower()}.conf"
    )
    output = "".join(f"setting{n} of {host} is value {n * place}\n" for n in range(3 + place % 9))
    return Evidence(
        command=name,
        exit_code=0,
        output=output,
        sha256=hashlib.sha256(output.encode()).hexdigest(),
        at=at + timedelta(seconds=1 + place % 40),
        how="live" if place % 10 == 0 else "batch",
    )
