"""Readers for the words of an inventory, on top of `documents.Section`: text, lists of names, addresses, times."""

from __future__ import annotations

import ipaddress
import json
import re
import unicodedata
from zoneinfo import ZoneInfo

from opsctl.documents import NAME, NAME_RULE, RESERVED, Section
from opsctl.model.calendar import ZONE
from opsctl.model.spans import WEEKDAYS

# useradd(8): the portable form of a user's or group's name.
ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
ACCOUNT_RULE = "lower-case letters, digits, hyphens and underscores, at most 32, a letter first"
CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
CLOCK_RULE = 'HH:MM in quotes, as "22:00"'
CLOCK_END = re.compile(CLOCK.pattern + "|24:00")
CLOCK_END_RULE = CLOCK_RULE + ', or "24:00"'


def sound(text: str) -> bool:
    """No control character, and none of the marks that reorder what a reader sees."""
    if text.isascii() and text.isprintable():
        return True
    return not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for char in text)


def free_text(section: Section, key: str, default: str = "", *, required: bool = False) -> str:
    """Text for people: composed (NFC), so that one word has one spelling whatever machine it was typed on."""
    found = unicodedata.normalize("NFC", section.text(key, default, required=required))
    if not sound(found):
        section.wrong(key, f"{key} holds control characters or marks that reorder text")
        return default
    return found


def web_address(section: Section, key: str) -> str:
    found = free_text(section, key)
    if found and not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", found):
        section.wrong(key, f"{key}: {found!r} is not a web address", "http://... or https://..., no user or password")
        return ""
    return found


def json_text(section: Section, key: str) -> object:
    """What the JSON in a text says; None where the key is not given."""
    found = free_text(section, key)
    if not found:
        return None
    try:
        value: object = json.loads(found)
    except (ValueError, RecursionError):
        section.wrong(key, f"{key} is not JSON", "written by opsctl inventory sync")
        return None
    return value


def json_object(section: Section, key: str) -> str:
    """The text of a JSON object, as it stands."""
    found = json_text(section, key)
    if found is not None and not isinstance(found, dict):
        section.wrong(key, f"{key} is not an object of JSON")
    return section.text(key) if isinstance(found, dict) else ""


def names(
    section: Section, key: str, default: tuple[str, ...] = (), pattern: re.Pattern[str] = NAME, rule: str = NAME_RULE
) -> tuple[str, ...]:
    """A list of names, each once, in the order given."""
    found = section.texts(key, default)
    for index, name in enumerate(found):
        if not pattern.fullmatch(name):
            section.wrong(key, f"{key}: {name!r} is not allowed", rule)
        elif name in RESERVED:
            section.wrong(key, f"{key}: {name!r} is a reserved word")
        elif name in found[:index]:
            section.wrong(key, f"{key}: {name!r} is there twice")
    return tuple(dict.fromkeys(found))


def host_address(section: Section, key: str, *, required: bool) -> str:
    """An address at which another machine can be reached: never our own, a link's, or a group's."""
    found = section.address(key, required=required)
    if not found:
        return ""
    if what := address_fault(found):
        section.wrong(key, f"{key}: {found} {what}", "the address at which opsctl reaches the host")
        return ""
    return found


def address_fault(text: str) -> str:
    """Why another machine cannot be reached at an address; empty where it can."""
    if "%" in text:
        return "names an interface of this machine"
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "is not an IP address"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return f"is an IPv4 address in IPv6 writing: write {address.ipv4_mapped}"
    for what, wrong in (
        ("is a loopback address", address.is_loopback),
        ("is a link-local address", address.is_link_local),
        ("is a multicast address", address.is_multicast),
        ("is no host's address", address.is_unspecified or text == "255.255.255.255"),
    ):
        if wrong:
            return what
    return ""


def networks(section: Section, key: str) -> tuple[str, ...] | None:
    """Networks in their normal form; None where the list is not given."""
    if not section.has(key):
        section.texts(key)
        return None
    found: list[str] = []
    for given in section.texts(key):
        try:
            found.append(str(ipaddress.ip_network(given)))
        except ValueError:
            try:
                meant = str(ipaddress.ip_network(given, strict=False))
            except ValueError:
                section.wrong(key, f"{key}: {given!r} is not a network", "ADDRESS/BITS, as 192.0.2.0/24")
            else:
                section.wrong(key, f"{key}: {given!r} is an address inside a network", f"the network is {meant}")
    return tuple(sorted(set(found)))


def read_days(section: Section) -> tuple[str, ...]:
    """Days of the week, in their order."""
    given = section.texts("days")
    if not given:
        section.wrong("days", "days is missing or empty", "a list of: " + ", ".join(WEEKDAYS))
    for day in given:
        if day not in WEEKDAYS:
            section.wrong("days", f"days: {day!r} is not known", "a list of: " + ", ".join(WEEKDAYS))
    return tuple(day for day in WEEKDAYS if day in given)


def read_zone(section: Section) -> str:
    """A time zone that this machine knows."""
    zone = section.text("zone", ZONE)
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError; odd keys raise the others
        section.wrong("zone", f"zone: {zone!r} is not known", f"a name as {ZONE}")
        return ZONE
    return zone
