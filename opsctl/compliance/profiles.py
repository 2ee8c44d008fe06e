"""Profiles: which controls hold, with which values. YAML under tests/compliance/profiles, checked before any run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from opsctl.compliance import catalogue as catalogues
from opsctl.documents import Problems, Section, read
from opsctl.errors import ConfigError, UnknownName
from opsctl.model.finding import NOT_SELECTED, Catalogue, Control, Profile, Setting


def names(own: Path | None = None) -> tuple[str, ...]:
    """Every profile that can be chosen."""
    return tuple(sorted(file.stem for file in (catalogues.folder(own) / "profiles").glob("*.yml")))


def load(name: str, catalogue: Catalogue, own: Path | None = None) -> Profile:
    """A profile with its tailored controls. Raises UnknownName, or ConfigError with file:line for each fault."""
    if name not in names(own):
        raise UnknownName(f"no profile is called {name!r}", hint="profiles: " + ", ".join(names(own)))
    problems = Problems()
    document = read(catalogues.folder(own) / "profiles" / f"{name}.yml", problems)
    document.number("version", 1, low=1, high=1)
    if document.text("name", required=True) != name:
        document.wrong("name", "the name is not the file's", name)
    title, title_sv = document.text("title", required=True), document.text("title_sv")
    chosen: dict[str, Control] = {}
    for entry in document.sections("controls"):
        control = _tailored(entry, catalogue)
        if control is not None and control.id in chosen:
            entry.wrong("id", f"{control.id} is chosen twice")
        elif control is not None:
            chosen[control.id] = control
        entry.done()
    document.done()
    if not chosen and not problems.found:
        problems.note(document.where, "no control is chosen")
    problems.finish(ConfigError, f"the profile {name} is not usable")
    ordered = tuple(chosen[control.id] for control in catalogue.controls if control.id in chosen)
    return Profile(name=name, title=title, title_sv=title_sv, controls=ordered)


def _tailored(entry: Section, catalogue: Catalogue) -> Control | None:
    wanted = entry.text("id", required=True)
    own = entry.section("values")
    given = own.values()
    control = catalogue.by_id.get(wanted)
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


def narrow(profile: Profile, wanted: Iterable[str]) -> tuple[Profile, tuple[tuple[str, str], ...]]:
    """The profile with these controls alone, and what was left out with the reason. Raises UnknownName."""
    ids = tuple(dict.fromkeys(wanted))
    if not ids:
        return profile, ()
    known = {control.id for control in profile.controls}
    for name in ids:
        if name not in known:
            raise UnknownName(
                f"{name!r} is not a control of profile {profile.name}", hint="opsctl comply controls lists them"
            )
    kept = tuple(control for control in profile.controls if control.id in ids)
    left = tuple((c.id, NOT_SELECTED) for c in profile.controls if c.id not in ids)
    return replace(profile, controls=kept), left


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
