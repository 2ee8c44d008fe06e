"""tenant.yml: what a municipality's hosts are held to. People write it; a sync never touches it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from opsctl.documents import Problems, Section, read
from opsctl.inventory import gatefile, handlingfile, publickey
from opsctl.inventory.words import (
    ACCOUNT,
    ACCOUNT_RULE,
    CLOCK,
    CLOCK_END,
    CLOCK_END_RULE,
    CLOCK_RULE,
    free_text,
    names,
    networks,
    read_days,
    read_zone,
    sound,
)
from opsctl.model.handling import Handling
from opsctl.model.host import (
    DEFAULT_RINGS,
    Account,
    Cluster,
    MappingsConfirmed,
    Mirror,
    Organisation,
    OutLimit,
    PatchPolicy,
    Site,
    Tenant,
    Window,
)

HOST_REFERENCE = re.compile(r"[a-z0-9][a-z0-9-]*(\.[a-z0-9][a-z0-9-]*)?")
ADDRESS = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~{}+-]+)*/?")
DAY = re.compile(r"20\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
LOG_HOST = re.compile(rf"{_NAME}(:[1-9]\d{{0,4}})?")
TIME_SERVER = re.compile(rf"{_NAME}|[0-9A-Fa-f:]+")
SOURCE = re.compile(r"(https?|mirror\+\w+|file|copy|cdrom):\S+( \S+)+")


@dataclass(frozen=True, kw_only=True)
class TenantFile:
    """A tenant, and file:line of what can have faults that show only together with the hosts."""

    tenant: Tenant
    lines: Mapping[Site | Cluster | OutLimit | Handling, str]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_Entry = TypeVar("_Entry", bound=_Named)


def read_tenant(path: Path, problems: Problems) -> TenantFile:
    """The tenant of one file; its name must be its folder's."""
    document = read(path, problems)
    document.number("version", 1, low=1, high=1)
    name = document.name("name", required=True)
    if name and name != path.parent.name:
        document.wrong("name", f"name: {name!r} stands in the folder {path.parent.name!r}", "both must be the same")
    lines: dict[Site | Cluster | OutLimit | Handling, str] = {}
    groups, rings = _groups(document, "ssh_groups"), names(document, "rings", DEFAULT_RINGS)
    tenant = Tenant(
        name=path.parent.name,
        title=free_text(document, "title", path.parent.name),
        operator=document.name("operator"),
        organisations=_entries(document, "organisations", _organisation),
        sites=_entries(document, "sites", lambda section: _site(section, lines)),
        clusters=_entries(document, "clusters", lambda section: _cluster(section, lines)),
        limits=_entries(document, "limits", lambda section: _limit(section, lines)),
        rings=rings,
        windows=_entries(document, "windows", _window),
        gates=gatefile.gates(document, path.parent.name, rings),
        failure_budget=gatefile.budget(document, "failure_budget"),
        wave_budget=gatefile.budget(document, "wave_budget"),
        handling=_entries(document, "handling", lambda section: _handling(section, lines)),
        management_networks=networks(document, "management_networks"),
        ssh_groups=groups,
        accounts=_accounts(document, groups),
        package_sources=_package_sources(document),
        time_servers=_time_servers(document),
        log_host=document.text("log_host", pattern=LOG_HOST, allowed="NAME or NAME:PORT, the name in its certificate"),
        log_retention_days=document.number("log_retention_days", 0, low=1, high=3660) or None,
        patch_policy=_patch_policy(document),
        approval=_approval(document, rings),
        mirrors=_entries(document, "mirrors", _mirror),
        mappings_confirmed=_mappings_confirmed(document),
        profile=document.name("profile"),
    )
    document.done()
    return TenantFile(tenant=tenant, lines=lines)


def _entries(document: Section, key: str, make: Callable[[Section], _Entry]) -> tuple[_Entry, ...]:
    """The entries of a list by name, each name once, in the order of their names."""
    found: dict[str, _Entry] = {}
    for section in document.sections(key):
        entry = make(section)
        section.done()
        if entry.name in found:
            section.wrong("name", f"{key}: {entry.name!r} is there twice")
        elif entry.name:
            found[entry.name] = entry
    return tuple(found[name] for name in sorted(found))


def _organisation(section: Section) -> Organisation:
    name = section.name("name", required=True)
    return Organisation(name=name, title=free_text(section, "title", name))


def _site(section: Section, lines: dict[Site | Cluster | OutLimit | Handling, str]) -> Site:
    name = section.name("name", required=True)
    jump = section.text("jump", pattern=HOST_REFERENCE, allowed="a host's name, or TENANT.HOST")
    site = Site(name=name, title=free_text(section, "title", name), jump=jump)
    lines[site] = section.line_of("jump")
    return site


def _cluster(section: Section, lines: dict[Site | Cluster | OutLimit | Handling, str]) -> Cluster:
    name = section.name("name", required=True)
    minimum = section.number("minimum", 1, low=0, high=10_000)
    cluster = Cluster(name=name, minimum=minimum, primary=section.name("primary"))
    lines[cluster] = section.line_of("primary")
    return cluster


def _limit(section: Section, lines: dict[Site | Cluster | OutLimit | Handling, str]) -> OutLimit:
    limit = OutLimit(
        role=section.name("role"),
        site=section.name("site"),
        max_out=section.number("max_out", 0, low=1, high=10_000) or None,
        max_out_percent=section.number("max_out_percent", 0, low=1, high=100) or None,
    )
    if not limit.name:
        section.wrong("role", "a limit names neither a role nor a site", "role, site or both")
    if not section.has("max_out") and not section.has("max_out_percent"):
        section.wrong("max_out", f"the limit of {limit.name} says no number", "max_out: N, or max_out_percent: N")
    lines[limit] = section.where
    return limit


def _handling(section: Section, lines: dict[Site | Cluster | OutLimit | Handling, str]) -> Handling:
    one = handlingfile.handling(section)
    lines[one] = section.where
    return one


def _approval(document: Section, rings: tuple[str, ...]) -> tuple[str, ...]:
    """The rings that a second person approves: a name that is none would leave a ring without."""
    found = names(document, "approval")
    for name in found:
        if name not in rings:
            document.wrong("approval", f"approval: {name!r} is no ring of this tenant", f"one of: {', '.join(rings)}")
    return tuple(sorted(found))


def _mirror(section: Section) -> Mirror:
    mirror = section.text("mirror", required=True, pattern=ADDRESS, allowed="http(s)://HOST/PATH")
    snapshot = section.text(
        "snapshot", required=True, pattern=ADDRESS, allowed="http(s)://HOST/PATH with {time} or {date}"
    )
    if snapshot and not sound_template(snapshot):
        section.wrong(
            "snapshot", f"snapshot: {snapshot!r} names no moment", "{time} (20261122T031500Z) or {date} (20261122)"
        )
    return Mirror(mirror=mirror.rstrip("/"), snapshot=snapshot.rstrip("/"))


def sound_template(text: str) -> bool:
    """Each brace belongs to {time} or {date}, and there is at least one of them."""
    bare = text.replace("{time}", "").replace("{date}", "")
    return bare != text and not set(bare) & {"{", "}"}


def _window(section: Section) -> Window:
    name = section.name("name", required=True)
    days = read_days(section)
    start = section.text("start", required=True, pattern=CLOCK, allowed=CLOCK_RULE)
    end = section.text("end", required=True, pattern=CLOCK_END, allowed=CLOCK_END_RULE)
    if start and start == end:
        section.wrong("end", f"end: the window ends when it starts, at {start}")
    return Window(name=name, days=days, start=start, end=end, zone=read_zone(section))


def _patch_policy(document: Section) -> PatchPolicy | None:
    given, section = document.has("patch_policy"), document.section("patch_policy")
    days = section.number("security_days", 0, low=1, high=365)
    critical = section.number("critical_days", 0, low=1, high=365)
    if given and not section.has("security_days"):
        document.wrong("patch_policy", "patch_policy says no security_days", "security_days: N")
    if critical > days > 0:
        section.wrong("critical_days", "critical_days: critical hosts would have more time than the others")
    section.done()
    return PatchPolicy(security_days=days, critical_days=critical or None) if days else None


def _mappings_confirmed(document: Section) -> MappingsConfirmed | None:
    """Who has confirmed the mappings: a name, a day and the catalogue that it was, or nobody yet."""
    given, section = document.has("mappings_confirmed"), document.section("mappings_confirmed")
    found = MappingsConfirmed(
        by=free_text(section, "by", ""),
        on=section.text("on", required=given, pattern=DAY, allowed="YYYY-MM-DD"),
        catalogue_sha256=section.text(
            "catalogue_sha256", required=given, pattern=SHA256, allowed="the SHA-256 that the report tells"
        ),
    )
    if given and not found.by:
        section.wrong("by", "mappings_confirmed says nobody", "by: who confirmed it")
    section.done()
    return found if found.by and found.on and found.catalogue_sha256 else None


def _groups(document: Section, key: str) -> tuple[str, ...] | None:
    given = document.has(key)
    found = names(document, key, pattern=ACCOUNT, rule=ACCOUNT_RULE)
    return tuple(sorted(found)) if given else None


def _accounts(document: Section, ssh_groups: tuple[str, ...] | None) -> tuple[Account, ...] | None:
    """The approved accounts. The automation's own must stay able to log in, or a run would lock itself out."""
    if not document.has("accounts"):
        document.texts("accounts")
        return None
    accounts = _entries(document, "accounts", _account)
    ours = [account for account in accounts if account.automation]
    if len(ours) != 1:
        document.wrong(
            "accounts", f"accounts: {len(ours)} have automation: true", "exactly one account is the automation's"
        )
    for account in ours:
        if not account.keys:
            document.wrong("accounts", f"accounts: the automation account {account.name} has no key")
        if ssh_groups is not None and not set(account.groups) & set(ssh_groups):
            document.wrong(
                "accounts",
                f"accounts: the automation account {account.name} is in none of ssh_groups: it could not log in",
                "one of: " + ", ".join(ssh_groups),
            )
    return accounts


def _account(section: Section) -> Account:
    name = section.text("name", required=True, pattern=ACCOUNT, allowed=ACCOUNT_RULE)
    keys = section.texts("keys")
    for key in keys:
        if what := publickey.fault(key) or ("" if sound(key) else "the key holds control characters"):
            section.wrong("keys", f"keys of {name}: {what}", publickey.RULE)
    return Account(
        name=name,
        keys=tuple(sorted(keys)),
        groups=tuple(sorted(names(section, "groups", pattern=ACCOUNT, rule=ACCOUNT_RULE))),
        automation=section.flag("automation", default=False),
    )


def _package_sources(document: Section) -> tuple[str, ...] | None:
    given = document.has("package_sources")
    found = document.texts("package_sources")
    for line in found:
        if not SOURCE.fullmatch(line) or not sound(line):
            document.wrong("package_sources", f"package_sources: {line!r} is not allowed", "URI SUITE [COMPONENT ...]")
    return tuple(sorted(found)) if given else None


def _time_servers(document: Section) -> tuple[str, ...] | None:
    given = document.has("time_servers")
    found = document.texts("time_servers")
    for name in found:
        if not TIME_SERVER.fullmatch(name):
            document.wrong("time_servers", f"time_servers: {name!r} is not allowed", "a host's name or address")
    return tuple(sorted(found)) if given else None
