"""Packages: where they come from, whether updates wait, whether the database is whole."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from check_base import release, support
from judging import CannotJudge, Expectations, Verdict, listed, not_applicable
from machine import red_hat
from reading import container, lines

# The simulation writes nothing: no lock, no caches.
_APT = "LC_ALL=C apt-get -o Debug::NoLocking=true -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache="
_SIMULATED = f"{_APT} -s --ignore-hold -o APT::Get::Always-Include-Phased-Updates=true dist-upgrade"
_SOURCES = (
    f"{_APT} indextargets --no-release-info --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages'"
)
# When apt last put a new list in place, or last succeeded: the files themselves bear the mirror's times.
_LISTS = (
    "date +%s; ls /var/lib/apt/lists/*Release > /dev/null 2>&1 && "
    "stat -c %Y /var/lib/apt/lists /var/lib/apt/periodic/update-success-stamp 2> /dev/null | sort -n | tail -n 1; true"
)
_SOURCE_FILES = (
    "grep -rHnEi '(trusted|allow-insecure|allow-weak|allow-downgrade-to-insecure)[[:space:]]*[:=]' "
    "/etc/apt/sources.list /etc/apt/sources.list.d --include=sources.list --include='*.list' --include='*.sources'"
)
_AHEAD_DAYS = 1 / 24
_NO_LISTS = "there are no package lists"
_UNSIGNED = ("AllowUnauthenticated", "AllowInsecureRepositories", "AllowDowngradeToInsecureRepositories")
_YES = ("1", "true", "yes", "on", "with", "enable")


def only_apt(host: Any) -> None:
    """The checks of this file read apt and dpkg; other package systems are not built yet."""
    if host.run("command -v dpkg-query").rc != 0:
        not_applicable("this host does not use dpkg, and the check is not built for its package system yet")


def sources(host: Any) -> set[tuple[str, str, str]]:
    """(URI, suite, component) of each active source, downloaded or not."""
    found = set()
    for line in lines(host, _SOURCES):
        uri, suite, component = line.split(" ")
        found.add((uri.rstrip("/"), suite.rstrip("/"), component))
    return found


def age_of_lists(host: Any) -> float:
    """Days since the package lists were fetched; infinite where there is none."""
    printed = lines(host, _LISTS)
    age = (float(printed[0]) - float(printed[1])) / 86400 if len(printed) > 1 else float("inf")
    if age < -_AHEAD_DAYS:
        raise CannotJudge(f"the package lists are of a time {-age:.1f} days from now: how old they are is not known")
    return age


def security(suite: str) -> bool:
    return suite.endswith(("-security", "/updates")) or "-security/" in suite


def refuse_end_of_life(host: Any, supported: tuple[str, ...]) -> None:
    name = release(host)
    found = support(supported, name)
    if found is None or datetime.now(UTC).date() > found[0]:
        raise CannotJudge(f"{name} has no support {f'since {found[0]}' if found else 'that is known'} (BAS-01)")


@pytest.mark.control("PAT-01")
def check_no_security_update_waits(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    only_apt(host)
    refuse_end_of_life(host, expectations.of("BAS-01").texts("supported_until"))
    longest, age = expectations.of("PAT-04").number("max_age_days"), age_of_lists(host)
    if age > longest:
        found = (
            _NO_LISTS if age == float("inf") else f"the package lists are {age:.1f} days old (at most {longest} days)"
        )
        raise CannotJudge(f"{found}: run apt-get update (provision does)")
    if not any(security(suite) for _, suite, _ in sources(host)):
        raise CannotJudge("no security source is configured: nothing would be listed")
    waiting = []
    for line in lines(host, _SIMULATED):
        # Inst NAME [OLD] (NEW ORIGIN:VERSION/SUITE, ... [ARCH])
        update = re.match(r"Inst (\S+) (?:\[[^]]*\] )?\((\S+) ([^)]*)\)", line)
        if update and re.search(r"-security\b|Debian-Security", update[3]):
            waiting.append(f"{update[1]} {update[2]}")
    verdict(not waiting, observed=f"{len(waiting)} waiting: {listed(waiting)}", expected="0 waiting")


def _approves(line: str, source: tuple[str, str, str]) -> bool:
    """URI SUITE COMPONENT...; without components, or without a suite, every one of that URI is approved."""
    uri, *rest = line.split()
    suite, components = (rest[0], rest[1:]) if rest else ("", [])
    return (
        source[0] == uri.rstrip("/")
        and source[1] == (suite.rstrip("/") or source[1])
        and (not components or source[2] in components)
    )


@pytest.mark.control("PAT-02")
def check_sources_are_approved(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    only_apt(host)
    approved = expectations.texts("package_sources")
    active = sources(host)
    others = [source for source in active if not any(_approves(line, source) for line in approved)]
    verdict(
        bool(active) and not others,
        observed=f"not approved: {listed(map(' '.join, others))}; {len(active)} active",
        expected=f"only {listed(approved)}",
    )


@pytest.mark.control("PAT-03")
def check_signatures_are_checked(host: Any, verdict: Verdict) -> None:
    only_apt(host)
    wrong = []
    for line in lines(host, "apt-config dump"):
        name, _, value = line.partition(" ")
        if name.rpartition("::")[2] in _UNSIGNED and value.strip(' ";').lower() in _YES:
            wrong.append(line.strip())
    # 2: a file that is not there.
    for line in lines(host, _SOURCE_FILES, ok=(0, 1, 2)):
        place, text = line.rsplit(":", 1) if ":" not in line else line.split(":", 2)[::2]
        if not text.lstrip().startswith("#") and re.search(rf"(?i)[:=]\s*({'|'.join(_YES)})\b", text):
            wrong.append(f"{text.strip()} ({place})")
    verdict(not wrong, observed=f"unsigned is allowed by: {listed(wrong)}", expected="nothing allows unsigned packages")


@pytest.mark.control("PAT-04")
def check_lists_are_fresh(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    only_apt(host)
    longest, age = expectations.number("max_age_days"), age_of_lists(host)
    verdict(
        age <= longest,
        observed=_NO_LISTS if age == float("inf") else f"package lists {max(age, 0):.1f} days old",
        expected=f"at most {longest} days old",
    )


# The kernels of /boot in the order of their versions, the newest last.
_KERNELS = "uname -r; ls -v /boot | sed -n 's/^vmlinuz-//p'"


@pytest.mark.control("PAT-06")
def check_no_reboot_is_pending(host: Any, verdict: Verdict) -> None:
    if red_hat(host):
        found = host.run("needs-restarting -r")
        verdict(found.rc == 0, observed=f"needs-restarting -r ends with {found.rc}", expected="it ends with 0")
        return
    wanted = host.run("test -e /run/reboot-required").rc == 0
    running, *installed = lines(host, _KERNELS)
    # A container runs the kernel of the machine below, and one that boots from elsewhere has none of its own.
    newest = "" if container(host) or not installed else installed[-1]
    verdict(
        not wanted and newest in ("", running),
        observed=f"/run/reboot-required {'is there' if wanted else 'absent'}"
        + (f"; kernel {running} runs, the newest is {newest}" if newest else "; no kernel of its own"),
        expected="/run/reboot-required absent; the newest installed kernel runs",
    )


@pytest.mark.control("PAT-07")
def check_nothing_is_held(host: Any, verdict: Verdict) -> None:
    only_apt(host)
    # What `apt-mark showhold` reads as well; that one writes apt's cache anew, and an audit changes nothing.
    selected = lines(host, "dpkg-query -W -f '${db:Status-Want} ${Package}\\n'")
    held = [line.partition(" ")[2] for line in selected if line.startswith("hold ")]
    verdict(not held, observed=f"held: {listed(held)}", expected="held: none")


@pytest.mark.control("PAT-08")
def check_package_database_is_whole(host: Any, verdict: Verdict) -> None:
    only_apt(host)
    told = lines(host, "dpkg --audit", ok=(0, 1))
    clean = "dpkg --audit prints nothing"
    verdict(not told, observed=" ".join(told)[:300] or clean, expected=clean)
