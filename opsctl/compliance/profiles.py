"""Profiles: which controls hold, with which values, for whose hosts. YAML, checked before any host is touched.

Those that opsctl ships lie under tests/compliance/profiles; a tenant's own in `inventories/TENANT/profiles`. A profile
may extend a shipped one: it takes over its controls, adds and tailors some, and leaves some out, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from opsctl.compliance import catalogue as catalogues
from opsctl.documents import Problems, Section, read
from opsctl.errors import ConfigError, NothingMatches, Refused, UnknownName
from opsctl.model.finding import NOT_SELECTED, Catalogue, Control, Profile, Setting
from opsctl.model.host import Host, Inventory

FOLDER = "profiles"


def names(own: Path | None = None, inventories: Path | None = None) -> tuple[str, ...]:
    """Every profile that can be chosen."""
    return tuple(sorted(_files(own, inventories)))


def _files(own: Path | None, inventories: Path | None) -> Mapping[str, Path]:
    """Where each profile lies. Raises ConfigError where two are called the same: a run names its profile by name."""
    shipped = sorted((catalogues.folder(own) / FOLDER).glob("*.yml"))
    of_tenants = sorted(inventories.glob(f"*/{FOLDER}/*.yml")) if inventories else []
    problems, found = Problems(), dict[str, Path]()
    for file in (*shipped, *of_tenants):
        if file.stem in found:
            problems.note(str(file), f"the profile {file.stem!r} is there already: {found[file.stem]}")
        found.setdefault(file.stem, file)
    problems.finish(ConfigError, "two profiles have one name")
    return found


def load(name: str, catalogue: Catalogue, own: Path | None = None, inventories: Path | None = None) -> Profile:
    """A profile with its tailored controls. Raises UnknownName, or ConfigError with file:line for each fault."""
    files = _files(own, inventories)
    if name not in files:
        raise UnknownName(f"no profile is called {name!r}", hint="profiles: " + ", ".join(sorted(files)))
    problems = Problems()
    shipped = catalogues.folder(own) / FOLDER
    profile = _read(files[name], catalogue, shipped, problems, ())
    problems.finish(ConfigError, f"the profile {name} is not usable")
    return profile


def _read(file: Path, catalogue: Catalogue, shipped: Path, problems: Problems, above: tuple[str, ...]) -> Profile:
    document = read(file, problems)
    document.number("version", 1, low=1, high=1)
    if document.text("name", required=True) != file.stem:
        document.wrong("name", "the name is not the file's", file.stem)
    title, title_sv = document.text("title", required=True), document.text("title_sv")
    base = _extended(document, file, catalogue, shipped, problems, above)
    without = _without(document, base)
    left_out = {name for name, _ in without}
    chosen = {control.id: control for control in base.controls if control.id not in left_out} if base else {}
    _choose(document, catalogue, chosen)
    roles = document.texts("roles")
    jump_hosts = document.flag("jump_hosts", default=base.jump_hosts if base and not roles else False)
    document.done()
    if not chosen and not problems.found:
        problems.note(document.where, "no control is chosen")
    return Profile(
        name=file.stem,
        title=title,
        title_sv=title_sv,
        controls=tuple(chosen[control.id] for control in catalogue.controls if control.id in chosen),
        extends=base.name if base else "",
        tenant="" if file.parent == shipped else file.parent.parent.name,
        roles=roles or (base.roles if base else ()),
        jump_hosts=jump_hosts,
        without=(*(base.without if base else ()), *without),
    )


def _extended(
    document: Section, file: Path, catalogue: Catalogue, shipped: Path, problems: Problems, above: tuple[str, ...]
) -> Profile | None:
    name = document.name("extends")
    if not name:
        return None
    if name in (*above, file.stem):
        document.wrong("extends", f"the profile {name} extends itself: {' -> '.join((*above, file.stem, name))}")
    elif not (shipped / f"{name}.yml").is_file():
        known = ", ".join(sorted(one.stem for one in shipped.glob("*.yml")))
        document.wrong("extends", f"no profile is called {name!r}", f"one that opsctl ships: {known}")
    else:
        return _read(shipped / f"{name}.yml", catalogue, shipped, problems, (*above, file.stem))
    return None


def _without(document: Section, base: Profile | None) -> tuple[tuple[str, str], ...]:
    known = {control.id for control in base.controls} if base else set()
    found = []
    for entry in document.sections("without"):
        name, reason = entry.text("id", required=True), entry.text("reason", required=True)
        if name and name not in known:
            entry.wrong("id", f"{name} is no control of the profile that this one extends")
        found.append((name, reason))
        entry.done()
    return tuple(found)


def _choose(document: Section, catalogue: Catalogue, chosen: dict[str, Control]) -> None:
    """The profile's own controls, over those that it extends."""
    own: set[str] = set()
    for entry in document.sections("controls"):
        control = _tailored(entry, catalogue, chosen)
        if control is not None and control.id in own:
            entry.wrong("id", f"{control.id} is chosen twice")
        elif control is not None:
            own.add(control.id)
            chosen[control.id] = control
        entry.done()


def _tailored(entry: Section, catalogue: Catalogue, inherited: Mapping[str, Control]) -> Control | None:
    wanted = entry.text("id", required=True)
    own = entry.section("values")
    given = own.values()
    control = inherited.get(wanted) or catalogue.by_id.get(wanted)
    if control is None:
        entry.wrong("id", f"no control is called {wanted!r}")
        return None
    if not control.built:
        entry.wrong("id", f"{wanted} has no check function yet: it cannot be claimed")
    for name, value in given.items():
        if name not in control.values:
            own.wrong(name, f"{wanted} has no value {name!r}", "known: " + (", ".join(control.values) or "none"))
        elif type(value) is not type(control.values[name]):
            own.wrong(name, f"{name}: {value!r} is of another kind", f"like {control.values[name]!r}")
    return replace(control, values={**control.values, **given})


def hosts_of(profile: Profile, hosts: Iterable[Host], inventory: Inventory) -> tuple[Host, ...]:
    """Those of the chosen hosts that the profile is about. Raises Refused, NothingMatches."""
    chosen = tuple(hosts)
    others = sorted({host.tenant for host in chosen if profile.tenant not in ("", host.tenant)})
    if others:
        raise Refused(
            f"the profile {profile.name} is {profile.tenant}'s own; hosts of {', '.join(others)} were chosen too",
            hint=f"add --tenant {profile.tenant}",
        )
    if not profile.some_hosts:
        return chosen
    # Which hosts are jump hosts is told by those behind them, whatever their role is called.
    passed = {jump.key for host in inventory for jump in inventory.jumps(host)} if profile.jump_hosts else frozenset()
    found = tuple(host for host in chosen if host.role in profile.roles or host.key in passed)
    if not found:
        raise NothingMatches(
            f"the profile {profile.name} is about hosts with {profile.some_hosts}, and no chosen host is one",
            hint="opsctl inventory list shows the roles, opsctl host show NAME the way to a host",
        )
    return found


def narrow(
    profile: Profile, wanted: Iterable[str], severities: Iterable[str] = ()
) -> tuple[Profile, tuple[tuple[str, str], ...]]:
    """The profile with these controls, of these severities, and what was left out with the reason.

    Raises UnknownName, and NothingMatches where nothing is left.
    """
    ids, levels = tuple(dict.fromkeys(wanted)), frozenset(severities)
    known = {control.id for control in profile.controls}
    for name in ids:
        if name not in known:
            raise UnknownName(
                f"{name!r} is not a control of profile {profile.name}", hint="opsctl comply controls lists them"
            )
    kept = tuple(
        control
        for control in profile.controls
        if (not ids or control.id in ids) and (not levels or control.severity in levels)
    )
    if not kept:
        raise NothingMatches(f"no control of profile {profile.name} is left: none of those has this severity")
    left = tuple((control.id, NOT_SELECTED) for control in profile.controls if control not in kept)
    return replace(profile, controls=kept), (*profile.without, *left)


def tailor(profile: Profile, catalogue: Catalogue, control: str, name: str, value: Setting) -> Profile:
    """The profile with one value from the workspace's settings, unless the profile itself says otherwise."""
    original = catalogue.by_id[control].values.get(name)
    return replace(
        profile,
        controls=tuple(
            replace(c, values={**c.values, name: value}) if c.id == control and c.values.get(name) == original else c
            for c in profile.controls
        ),
    )
