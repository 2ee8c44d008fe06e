"""What the host cannot say of itself: patch runs, backups, what inventory and monitoring server know.

The control side hands in a record for each host (`Records`): where it was read, when, and its text, which is the
evidence. On an ordinary run of pytest they come from the file of expectations.
"""

from __future__ import annotations

import ipaddress
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from check_base import release
from judging import CannotJudge, Expectations, Record, Records, Verdict, listed
from reading import output


def moment(text: object) -> datetime:
    """An ISO 8601 time; one without a zone is UTC, a bare day begins at midnight."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError as error:
        raise CannotJudge(f"{str(text)[:60]!r} is not a time") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def young(verdict: Verdict, record: Record, name: str, what: str, hours: float) -> None:
    """The time under a name in the record is younger than so many hours, seen from when the record was read."""
    last = record.fields().get(name)
    unit = (24, "days") if hours >= 48 else (1, "hours")
    expected = f"{what} less than {hours / unit[0]:g} {unit[1]} ago"
    if not last:
        verdict(False, observed=f"no {what} is known", expected=expected)
        return
    age = (record.at - moment(last)).total_seconds() / 3600
    verdict(-1 <= age < hours, observed=f"{what} {last}, {age / unit[0]:.1f} {unit[1]} ago", expected=expected)


@pytest.mark.control("BAK-01")
def check_backup_is_fresh(records: Records, verdict: Verdict, expectations: Expectations) -> None:
    young(verdict, records.of("backup"), "last_success", "last good backup", expectations.number("max_age_hours"))


@pytest.mark.control("BAK-02")
def check_restoring_was_tried(records: Records, verdict: Verdict, expectations: Expectations) -> None:
    hours = 24 * expectations.number("max_age_days")
    young(verdict, records.of("restore"), "restore_tested", "last test of restoring", hours)


@pytest.mark.control("PAT-05")
def check_host_was_patched(records: Records, verdict: Verdict, expectations: Expectations) -> None:
    hours = 24 * expectations.number("max_age_days")
    young(verdict, records.of("patched"), "last_success", "last good patch run", hours)


@pytest.mark.control("MON-03")
def check_monitoring_sees_the_host(records: Records, verdict: Verdict, expectations: Expectations) -> None:
    record, most = records.of("monitoring"), expectations.number("max_age_minutes")
    targets = record.fields().get("targets", [])
    if not isinstance(targets, list):
        raise CannotJudge("the monitoring server's record has no list of targets")
    shown, good = [], False
    for target in targets:
        age = (record.at - moment(target["at"])).total_seconds() / 60
        up = str(target["up"]) == "1"
        shown.append(f"{target['instance']} {'up' if up else 'down'}, {age:.1f} minutes old")
        good |= up and age < most
    verdict(
        good,
        observed=listed(shown, none="no target of this host"),
        expected=f"a target that is up, its sample less than {most} minutes old",
    )


@pytest.mark.control("BAS-02")
def check_host_is_what_the_inventory_says(host: Any, records: Records, verdict: Verdict) -> None:
    wanted = records.of("inventory").fields()
    addresses = _addresses(output(host, "ip -j address"))
    owner = host.run("cat /etc/opsctl/host.json")
    found: dict[str, object] = {
        "name": output(host, "uname -n").strip().partition(".")[0],
        "address": wanted["address"] if wanted["address"] in addresses else listed(addresses),
        "platform": release(host),
        "owner": _owner(owner.stdout) if owner.rc == 0 else "not told (/etc/opsctl/host.json is missing)",
    }
    others = [name for name, value in found.items() if value != wanted.get(name)]
    verdict(
        not others,
        observed="; ".join(f"{name} {found[name] or 'none'}" for name in (others or found)),
        expected="; ".join(f"{name} {wanted.get(name) or 'none'}" for name in (others or found)),
    )


def _addresses(printed: str) -> set[str]:
    return {
        str(ipaddress.ip_address(one["local"]))
        for link in json.loads(printed)
        for one in link.get("addr_info", ())
        if one.get("scope") == "global" and "local" in one
    }


def _owner(text: str) -> str:
    try:
        return str(json.loads(text)["owner"] or "")
    except (ValueError, KeyError, TypeError):
        return "not told (/etc/opsctl/host.json cannot be read)"
