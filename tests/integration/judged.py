"""A host that was provisioned, and what the checks say of it: for tests of single controls."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

from opsctl.ansible.runner import run_playbook
from opsctl.compliance import catalogue as catalogues
from opsctl.compliance import profiles
from opsctl.compliance.assess import Order, assess
from opsctl.compliance.records import Record
from opsctl.model.finding import Assessment, Catalogue, CheckResult, Profile
from opsctl.ssh.session import hostside_script
from tests.integration.ground import Ground


def provision(found: Ground, *tags: str, guard_seconds: int = 900) -> None:
    """Takes the one host of a lab through the real playbook, or through these roles of it, and confirms the guard."""
    (host,) = found.inventory
    found.write(
        "ange/group_vars/all.yml",
        "users_absent: [gammal-admin, konsult]\nusers_sudoers_absent: [gammal-admin]\n",
    )
    run = run_playbook(
        "provision",
        [host],
        transport=found.transport,
        inventory=found.inventory,
        settings=found.settings,
        tags=tags,
        extra_vars={"guard_seconds": guard_seconds, "guard_token": "test", "guard_claims": found.claims},
    )
    assert run.good, [event for event in run.results(host.key) if event.outcome in ("failed", "unreachable")] or run
    found.transport.fresh(host)
    found.transport.run(host, hostside_script("guard"), {"action": "confirm", "token": "test"}, timeout=120)


@cache
def shipped() -> tuple[Catalogue, Profile]:
    catalogue = catalogues.load()
    return catalogue, profiles.load("standard", catalogue)


@cache
def every() -> Profile:
    """Every control that has a check, with the catalogue's own values."""
    catalogue, standard = shipped()
    return replace(standard, controls=tuple(control for control in catalogue.controls if control.built))


def judge(
    place: Ground,
    *controls: str,
    profile: Profile | None = None,
    host: str = "",
    records: Mapping[str, Record] | None = None,
) -> Assessment:
    """An assessment of one host (of a lab of one: of that), by these controls of the profile (`standard`) or by all.

    `records`: what the control side hands in of it.
    """
    catalogue, standard = shipped()
    profile, left = profiles.narrow(profile or standard, controls)
    hosts = (place.host(host),) if host else tuple(place.inventory)
    order = Order(
        hosts=hosts,
        profile=profile,
        catalogue=catalogue,
        operator="test",
        selection={},
        deselected=left,
        records={one.key: records for one in hosts} if records else {},
    )
    return assess(
        order,
        transport=place.transport,
        inventory=place.inventory,
        settings=place.settings,
        now=lambda: datetime.now(UTC),
    )


def by_control(assessment: Assessment) -> dict[str, CheckResult]:
    assert assessment.complete, assessment.faults
    return {result.control: result for result in assessment.results}


def told(results: Mapping[str, CheckResult], elsewhere: Collection[str] = ()) -> dict[str, str]:
    """What did not pass and why, but for controls of `elsewhere` that say that they do not apply here."""
    return {
        name: f"{r.result}: {r.observed or r.reason}"
        for name, r in results.items()
        if r.result != "pass" and not (r.result == "notapplicable" and r.reason and name in elsewhere)
    }
