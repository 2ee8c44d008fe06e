"""The system as a whole: its release, scheduled jobs, banners."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

import pytest
from judging import CannotJudge, Expectations, Verdict, listed, not_applicable
from machine import os_release, red_hat, units
from reading import lines


def release(host: Any) -> str:
    """ID-VERSION of os-release(5); of Red Hat's family the major version, by which support goes."""
    fields = os_release(host)
    version = fields.get("VERSION_ID", "")
    return f"{fields.get('ID', '')}-{version.partition('.')[0] if red_hat(host) else version}"


def support(supported: tuple[str, ...], name: str) -> tuple[date, str] | None:
    """The last day of a release's support, and which kind of support that is (`RELEASE YYYY-MM-DD KIND`)."""
    known = [entry.split() for entry in supported]
    ends = [(date.fromisoformat(words[1]), " ".join(words[2:])) for words in known if words[0] == name]
    return max(ends, default=None)


@pytest.mark.control("BAS-01")
def check_release_is_supported(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    supported = expectations.texts("supported_until")
    name = release(host)
    found = support(supported, name)
    known = sorted({entry.split()[0] for entry in supported})
    expected = f"one of {listed(known)}, before the end of its support"
    if found is None:
        verdict(False, observed=f"{name}: no support that is known", expected=expected)
        return
    until, kind = found
    today = datetime.now(UTC).date()
    verdict(
        today <= until,
        observed=f"{name}: {kind} support {'ends' if today <= until else 'ended'} {until}",
        expected=expected,
    )


_JOBS = ("/etc/crontab", *(f"/etc/cron.{when}" for when in ("hourly", "daily", "weekly", "monthly", "d")))


@pytest.mark.control("BAS-03")
def check_scheduled_jobs_are_roots(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    there = [unit for unit in units(host, "cron.service", "crond.service") if unit.there]
    if not there:
        not_applicable("cron is not installed")
    # 1: one of them is not there, which opens nothing.
    found = lines(host, "stat -c '%F:%U:%G:%a:%n' " + " ".join(_JOBS), ok=(0, 1))
    wrong = [shown for shown in map(_job, found) if _too_open(shown, expectations)]
    runs = any(unit.active == "active" for unit in there)
    verdict(
        runs and not wrong,
        observed=f"cron {'active' if runs else there[0].active}; open: {listed(' '.join(one[1:]) for one in wrong)}",
        expected=f"cron active; {_JOBS[0]} root:root {expectations.text('file_mode')} or stricter, "
        f"the folders /etc/cron.* root:root {expectations.text('folder_mode')} or stricter",
    )


def _job(line: str) -> tuple[str, str, str, str]:
    """Kind, path, owner:group, mode."""
    kind, user, group, mode, path = line.split(":", 4)
    return kind, path, f"{user}:{group}", mode


def _too_open(shown: tuple[str, str, str, str], expectations: Expectations) -> bool:
    kind, _, owner, mode = shown
    allowed = int(expectations.text("folder_mode" if kind == "directory" else "file_mode"), 8)
    return owner != "root:root" or bool(int(mode, 8) & ~allowed)


_BANNERS = "grep -H '' /etc/motd /etc/issue /etc/issue.net"


@pytest.mark.control("BAS-04")
def check_banners_give_nothing_away(host: Any, verdict: Verdict) -> None:
    fields = os_release(host)
    names = {fields.get(name, "").lower() for name in ("ID", "NAME", "PRETTY_NAME", "VERSION_CODENAME")} - {""}
    if not names:
        raise CannotJudge("/etc/os-release names no release")
    telling, filled = [], False
    for line in lines(host, _BANNERS, ok=(0, 1, 2)):
        file, _, text = line.partition(":")
        words = re.findall(r"\\[mrsvS]", text) + [
            name for name in names if re.search(rf"\b{re.escape(name)}\b", text.lower())
        ]
        telling += [f"{word} in {file}" for word in words]
        filled |= file == "/etc/issue.net" and bool(text.strip())
    verdict(
        filled and not telling,
        observed=f"given away: {listed(telling)}; /etc/issue.net {'has a text' if filled else 'is empty or missing'}",
        expected="given away: none; /etc/issue.net has a text",
    )
