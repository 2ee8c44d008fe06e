"""The gates and the failure budgets of a tenant.yml, each fault with its line."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from opsctl.documents import Section
from opsctl.inventory.words import names, sound
from opsctl.model.gate import BUDGET, BUDGET_RULE, After, Gate, GateKind

CONTROL = re.compile(r"[A-Z]{2,8}-[0-9]{2,3}")
_KINDS = {
    "soak_minutes": GateKind.SOAK,
    "command": GateKind.COMMAND,
    "http": GateKind.HTTP,
    "alerts": GateKind.ALERTS,
    "compliance": GateKind.COMPLIANCE,
}
_ONE_OF = "one of: " + ", ".join(_KINDS)
# Asked once a wave unless said otherwise: they take their time, and say nothing of one batch alone.
_ONCE_A_WAVE = frozenset({GateKind.SOAK, GateKind.COMPLIANCE})
_USUAL_SECONDS = {GateKind.COMMAND: 60, GateKind.HTTP: 30, GateKind.ALERTS: 180}
_LONGEST_SOAK = 14 * 24 * 60


def budget(document: Section, key: str) -> str:
    """`2` or `5%`; empty where it is not given."""
    return document.text(key, pattern=BUDGET, allowed=BUDGET_RULE)


def gates(document: Section, tenant: str, rings: tuple[str, ...]) -> tuple[Gate, ...]:
    """The gates in the order in which they are written: that is the order in which they are asked."""
    found: dict[str, Gate] = {}
    for section in document.sections("gates"):
        gate = _gate(section, tenant, rings)
        section.done()
        if gate is not None and gate.name in found:
            section.wrong("name", f"gates: {gate.name!r} is there twice")
        elif gate is not None and gate.name:
            found[gate.name] = gate
    return tuple(found.values())


def _gate(section: Section, tenant: str, rings: tuple[str, ...]) -> Gate | None:
    name = section.name("name", required=True)
    given = [key for key in _KINDS if section.has(key)]
    wanted = names(section, "rings", ())
    for ring in wanted:
        if ring not in rings:
            section.wrong("rings", f"rings: {ring!r} is no ring of this tenant", "one of: " + ", ".join(rings))
    soak = section.number("soak_minutes", 0, low=1, high=_LONGEST_SOAK)
    command = section.texts("command")
    url = section.text("http")
    status = section.number("status", 200, low=100, high=599)
    text = section.text("text")
    alerts = section.flag("alerts", default=False)
    controls = section.texts("compliance")
    after = section.one_of("after", ("", *After), "")
    seconds = section.number("seconds", 0, low=1, high=3600)
    if len(given) != 1:
        what = "nothing to ask" if not given else " and ".join(given)
        section.wrong(given[1] if given else "name", f"the gate {name} has {what}", f"exactly {_ONE_OF}")
        return None
    kind = _KINDS[given[0]]
    _refuse_wrong(section, kind, command=command, url=url, alerts=alerts, controls=controls)
    if kind is not GateKind.HTTP and (section.has("status") or section.has("text")):
        section.wrong("status" if section.has("status") else "text", f"the gate {name} is no http gate")
    if seconds and kind in _ONCE_A_WAVE:
        section.wrong("seconds", f"a gate of {given[0]} takes no seconds")
    if kind is GateKind.SOAK and after == After.BATCH:
        section.wrong("after", "a soak is always after the wave", "after: wave")
    return Gate(
        name=name,
        tenant=tenant,
        kind=kind,
        after=After(after) if after else After.WAVE if kind in _ONCE_A_WAVE else After.BATCH,
        rings=wanted,
        seconds=soak * 60 if kind is GateKind.SOAK else seconds or _USUAL_SECONDS.get(kind, 0),
        command=command,
        url=url,
        status=status,
        text=text,
        controls=controls,
    )


def _refuse_wrong(
    section: Section, kind: GateKind, *, command: tuple[str, ...], url: str, alerts: bool, controls: tuple[str, ...]
) -> None:
    if kind is GateKind.COMMAND and not (command and command[0].startswith("/") and all(map(sound, command))):
        allowed = "a list: the program with its whole path, then its words"
        section.wrong("command", "command: there is no program with its path", allowed)
    if kind is GateKind.HTTP and not _is_address(url):
        section.wrong("http", f"http: {url!r} is no address", "as https://e-tjanst.example/health, without a password")
    if kind is GateKind.ALERTS and not alerts:
        section.wrong("alerts", "alerts: false asks nothing", "alerts: true, or leave the gate out")
    if kind is GateKind.COMPLIANCE:
        if not controls:
            section.wrong("compliance", "compliance: no control is named", "a list of controls, as [SSH-01]")
        for control in controls:
            if not CONTROL.fullmatch(control):
                section.wrong("compliance", f"compliance: {control!r} is no control", "as SSH-01")


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = parts.username is None and parts.password is None and not parts.fragment and port != 0
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain and text.isascii() and " " not in text
