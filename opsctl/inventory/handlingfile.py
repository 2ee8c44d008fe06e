"""`handling` in tenant.yml: restarts, load balancers and commands around a change, each fault with its line."""

from __future__ import annotations

import re

from opsctl.documents import NAME, NAME_RULE, Section
from opsctl.inventory.words import sound
from opsctl.model.handling import HOOKS, NO_BALANCER, PLACEHOLDERS, REBOOTS, Handling

_SAYS = ("reboot", "balancer", *HOOKS)
_RULE = "a list: the program with its whole path, then its words; {" + "}, {".join(PLACEHOLDERS) + "} stand for values"


def handling(section: Section) -> Handling:
    """One entry; what is wrong with it is noted with its line."""
    name = section.name("name", required=True)
    one = Handling(
        name=name,
        role=section.name("role"),
        host=section.name("host"),
        reboot=section.one_of("reboot", ("", *REBOOTS), ""),
        balancer=balancer(section),
        before=_command(section, "before"),
        drain=_command(section, "drain"),
        undrain=_command(section, "undrain"),
        on_failure=_command(section, "on_failure"),
        seconds=section.number("seconds", 0, low=1, high=3600),
    )
    if one.role and one.host:
        section.wrong("host", f"handling: {name} names a role and a host", "one of them, or neither")
    for given, other in (("drain", "undrain"), ("undrain", "drain")):
        if section.has(given) and not section.has(other):
            section.wrong(given, f"handling: {name} has {given} without {other}", "both: what is drained comes back")
    if not any(section.has(key) for key in _SAYS):
        section.wrong("name", f"handling: {name} says nothing", "at least one of: " + ", ".join(_SAYS))
    return one


def balancer(section: Section) -> str:
    """The name of a load balancer, `none`, or nothing."""
    found = section.text("balancer")
    if found and found != NO_BALANCER and not NAME.fullmatch(found):
        section.wrong(
            "balancer", f"balancer: {found!r} is not allowed", f"a host of this tenant ({NAME_RULE}), or none"
        )
        return ""
    return found


def _command(section: Section, key: str) -> tuple[str, ...]:
    words = section.texts(key)
    if not section.has(key):
        return ()
    if not (words and words[0].startswith("/") and all(map(sound, words))) or "{" in words[0]:
        section.wrong(key, f"{key}: there is no program with its path", _RULE)
        return ()
    for name in (found for word in words for found in re.findall(r"\{([^{}]*)\}", word)):
        if name not in PLACEHOLDERS:
            section.wrong(key, f"{key}: {{{name}}} stands for nothing", _RULE)
    return words
