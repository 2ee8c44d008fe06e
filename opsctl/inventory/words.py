"""Readers for the words of an inventory, on top of `documents.Section`: text, lists of names, addresses, networks."""

from __future__ import annotations

import ipaddress
import re
import unicodedata

from opsctl.documents import NAME, NAME_RULE, RESERVED, Section

# useradd(8): the portable form of a user's or group's name.
ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
ACCOUNT_RULE = "lower-case letters, digits, hyphens and underscores, at most 32, a letter first"


def sound(text: str) -> bool:
    """No control character, and none of the marks that reorder what a reader sees."""
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
    if "%" in found:
        section.wrong(key, f"{key}: {found!r} names an interface of this machine", "an address without %")
        return ""
    address = ipaddress.ip_address(found)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        section.wrong(key, f"{key}: {found} is an IPv4 address in IPv6 writing", f"write {address.ipv4_mapped}")
        return ""
    for what, wrong in (
        ("a loopback address", address.is_loopback),
        ("a link-local address", address.is_link_local),
        ("a multicast address", address.is_multicast),
        ("no host's address", address.is_unspecified or found == "255.255.255.255"),
    ):
        if wrong:
            section.wrong(key, f"{key}: {found} is {what}", "the address at which opsctl reaches the host")
            return ""
    return found


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
