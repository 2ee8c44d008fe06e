"""One record of NetBox -> one host of ours, or the reason why not. Pure; docs/reference/netbox.md describes it.

How a host is connected to comes from NetBox only as its address and, where opsctl.yml says where (`rules`), a port
number and the name of a jump host that is known already.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache

from opsctl.documents import NAME, RESERVED
from opsctl.inventory.emit import UNPRINTABLE
from opsctl.inventory.hostfile import PLATFORM, STATUSES
from opsctl.inventory.record import Port, Record, canonical
from opsctl.inventory.rules import Rules
from opsctl.inventory.tenantfile import HOST_REFERENCE
from opsctl.inventory.words import address_fault, sound
from opsctl.model.handling import NO_BALANCER, REBOOTS
from opsctl.model.host import CRITICALITIES, Host, Service, Tenant

# Custom fields that opsctl writes itself: they would make every sync differ from the one before.
OWN_FIELDS = "opsctl_"
# Of custom fields and config contexts.
DEEPEST = 64
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_FOUR = re.compile(r"\d+(?:\.\d+){3}")
_DOTTED = re.compile(r"(ubuntu)-(\d\d)-(\d\d)")


class Unusable(Exception):
    """Why a record cannot be a host."""


def to_host(
    record: Record, ports: Sequence[Port], chosen: Rules, tenants: Mapping[str, Tenant], regions: Mapping[str, str]
) -> Host:
    """The host that a record and its services' ports describe. Raises Unusable with the reason."""
    tenant = _tenant(record, chosen, tenants)
    name = host_name(record.name)
    _, organisation = chosen.place(record.tenant)
    status = chosen.translated("status", record.status)
    if status not in STATUSES:
        raise Unusable(f"status {status!r} is not known")
    role = _word("role", chosen.translated("role", record.role), required=True)
    platform = platform_name(record.platform, chosen)
    first, second = _addresses(record, prefer6=chosen.prefer6)
    host = Host(
        name=name,
        tenant=tenant.name,
        address=first,
        address6=second,
        role=role,
        platform=platform,
        ring=_ring(record, chosen, tenant, regions),
        organisation=_one_of("organisation", organisation, [o.name for o in tenant.organisations]),
        site=_word("site", chosen.translated("site", record.site)),
        region=_word("region", regions.get(record.site, "")),
        cluster=_word("cluster", _single("cluster", record, chosen, regions)),
        vm_cluster=_free("the cluster's name", record.cluster),
        windows=_windows(record, chosen, tenant, regions),
        owner=_free("owner", _single("owner", record, chosen, regions)),
        criticality=_one_of("criticality", _single("criticality", record, chosen, regions) or "normal", CRITICALITIES),
        services=_services(ports, chosen, tenants),
        port=_port(_single("port", record, chosen, regions)),
        jump=_jump(_single("jump", record, chosen, regions), tenant),
        reboot=_one_of("reboot", _single("reboot", record, chosen, regions), REBOOTS),
        balancer=_balancer(_single("balancer", record, chosen, regions)),
        status=status,
        tags=tuple(_free("a tag", tag) for tag in record.tags),
        custom=_custom(record, chosen),
        context=_json("the config context", record.context),
        record=record.key,
    )
    if host.managed and not host.address:
        raise Unusable("no primary address")
    return host


def host_name(given: str) -> str:
    """The name in its normal form: composed, lower-case, without its domain. Raises Unusable."""
    if not given.strip():
        raise Unusable("no name")
    name = unicodedata.normalize("NFC", given).lower()
    if _FOUR.fullmatch(name):
        raise Unusable("the name is an address: give the host a name")
    first, dot, domain = name.partition(".")
    if dot and NAME.fullmatch(first) and all(NAME.fullmatch(label) for label in domain.split(".")):
        name = first
    if not NAME.fullmatch(name):
        raise Unusable("the name has characters that no host's name may have (a-z, 0-9, inner hyphens, at most 63)")
    if name in RESERVED:
        raise Unusable(f"the name {name} is a reserved word")
    return name


@lru_cache(maxsize=1024)
def visible(text: str) -> str:
    """JSON text in which every mark that no reader can see is written as an escape."""
    if sound(text) and not UNPRINTABLE.search(text):
        return text
    plain = (char if sound(char) and not UNPRINTABLE.match(char) else _as_escape(char) for char in text)
    return "".join(plain)


def _json(what: str, text: str) -> str:
    """JSON that can be read back, and given to Ansible, wherever that is done: both go down level by level."""
    if text.count("[") + text.count("{") > DEEPEST:
        depth = 0
        for mark in _MARKS.finditer(text):
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark.group(), 0)
            if depth > DEEPEST:
                raise Unusable(f"{what}: more than {DEEPEST} levels within each other")
    return visible(text)


def _as_escape(char: str) -> str:
    raw = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{int.from_bytes(raw[i : i + 2], 'big'):04x}" for i in range(0, len(raw), 2))


def _tenant(record: Record, chosen: Rules, tenants: Mapping[str, Tenant]) -> Tenant:
    if not record.tenant:
        raise Unusable("no tenant")
    name, _ = chosen.place(record.tenant)
    if name not in tenants:
        raise Unusable(f"unknown tenant {record.tenant!r}")
    return tenants[name]


def _addresses(record: Record, *, prefer6: bool) -> tuple[str, str]:
    """The address that ssh connects to, and the other one where that is an IPv6 address."""
    for text in (record.address4, record.address6):
        if text and (what := address_fault(text)):
            raise Unusable(f"primary address {text}: {what}")
    # An IPv4 address has one spelling.
    four, six = (
        str(ipaddress.ip_address(text)) if ":" in text else text for text in (record.address4, record.address6)
    )
    first = (six or four) if prefer6 else (four or six)
    return first, six


def platform_name(slug: str, chosen: Rules) -> str:
    """FAMILY-VERSION as NetBox's platform says it. Raises Unusable."""
    return _platform(chosen.translated("platform", slug))


@lru_cache(maxsize=1024)
def _platform(text: str) -> str:
    found = _DOTTED.sub(r"\1-\2.\3", text) if text else "unknown"
    if not PLATFORM.fullmatch(found):
        raise Unusable(f"platform {text!r} is not FAMILY-VERSION")
    return found


def _ring(record: Record, chosen: Rules, tenant: Tenant, regions: Mapping[str, str]) -> str:
    return _one_of("ring", _single("ring", record, chosen, regions) or "broad", tenant.rings)


def _windows(record: Record, chosen: Rules, tenant: Tenant, regions: Mapping[str, str]) -> tuple[str, ...]:
    given = (
        chosen.translated("windows", value.strip())
        for text in chosen.sources["windows"].values(record, regions)
        for value in ([text] if ("windows", text) in chosen.translations else text.split(","))
    )
    known = [window.name for window in tenant.windows]
    return tuple(sorted({_one_of("window", name, known) for name in given if name}))


def _port(value: str) -> int:
    if not value:
        return 22
    if not re.fullmatch(r"[0-9]{1,5}", value) or not 1 <= int(value) <= 65535:
        raise Unusable(f"port {value!r} is not a port (1 to 65535)")
    return int(value)


def _jump(value: str, tenant: Tenant) -> str:
    """A host of this tenant, or one through which tenant.yml reaches a site: whether it is there, `quarantine` says."""
    if not value:
        return ""
    name = unicodedata.normalize("NFC", value).lower()
    if not HOST_REFERENCE.fullmatch(name):
        raise Unusable(f"jump {value!r} is not a host's name")
    other, dot, _ = name.partition(".")
    if dot and other != tenant.name and name not in {site.jump for site in tenant.sites}:
        raise Unusable(f"jump {name!r} is another tenant's host, and no site of tenant.yml is reached through it")
    return name.removeprefix(f"{tenant.name}.")


def _balancer(value: str) -> str:
    """A name, or the word for none: whether such a load balancer is there, `quarantine` says."""
    return value if value == NO_BALANCER else _word("balancer", value)


def _single(what: str, record: Record, chosen: Rules, regions: Mapping[str, str]) -> str:
    source = chosen.sources[what]
    if not source.kind:  # of most values nothing is said; there are thousands of hosts
        return ""
    values = source.values(record, regions)
    if len(values) > 1:
        raise Unusable(f"{what} is given {len(values)} times: {', '.join(values)}")
    return chosen.translated(what, values[0]) if values else ""


def _one_of(what: str, value: str, known: Sequence[str]) -> str:
    if value and value not in known:
        raise Unusable(f"{what} {value!r} is not known (known: {', '.join(known) or 'none'})")
    return value


@lru_cache(maxsize=1024)
def _word(what: str, value: str, *, required: bool = False) -> str:
    """A slug of NetBox as a name of ours."""
    name = unicodedata.normalize("NFC", value).lower().replace("_", "-")
    if not name:
        if required:
            raise Unusable(f"no {what}")
        return ""
    if not NAME.fullmatch(name) or name in RESERVED:
        raise Unusable(f"{what} {value!r} cannot be a name (a-z, 0-9, inner hyphens; no reserved word)")
    return name


@lru_cache(maxsize=4096)
def _free(what: str, value: str) -> str:
    text = unicodedata.normalize("NFC", value)
    if not sound(text):
        raise Unusable(f"{what} holds control characters or marks that reorder text")
    return text


def _services(ports: Sequence[Port], chosen: Rules, tenants: Mapping[str, Tenant]) -> tuple[Service, ...]:
    """Ports that answer; a name that cannot be one of ours becomes `tcp-80`."""
    found: dict[tuple[str, int, str], Service] = {}
    for port in ports:
        if port.protocol not in ("tcp", "udp") or not 1 <= port.port <= 65535:
            continue
        name = _service_name(port.name) or f"{port.protocol}-{port.port}"
        served = _served(port, chosen, tenants) if chosen.serves.kind else ()
        found[name, port.port, port.protocol] = _service(name, port.port, port.protocol, served)
    return tuple([found[key] for key in sorted(found)])


@lru_cache(maxsize=1024)
def _service(name: str, port: int, protocol: str, serves: tuple[str, ...]) -> Service:
    """One object for equal services: thousands of hosts have the same few."""
    return Service(name=name, port=port, protocol=protocol, serves=serves)


@lru_cache(maxsize=1024)
def _service_name(given: str) -> str:
    """The name as one of ours; empty where it cannot be one."""
    name = re.sub(r"[ _./]+", "-", unicodedata.normalize("NFC", given).lower()).strip("-")
    return name if NAME.fullmatch(name) and name not in RESERVED else ""


def _served(port: Port, chosen: Rules, tenants: Mapping[str, Tenant]) -> tuple[str, ...]:
    """The tenants that a service is for: NetBox's slugs, or several in one text, as tenants of ours."""
    texts = chosen.serves.given(port.fields, port.tags)
    given = (word.strip() for text in texts for word in text.split(","))
    names = {chosen.place(word)[0] or word for word in given if word}
    return tuple(sorted(_one_of(f"the tenant served by {port.name}", name, sorted(tenants)) for name in names))


def _custom(record: Record, chosen: Rules) -> str:
    """The custom fields that nothing else is made of, those without a value apart."""
    used = chosen.fields
    rest = {
        name: value
        for name, value in record.fields.items()
        if name not in used and not name.startswith(OWN_FIELDS) and value not in (None, "", [])
    }
    return _json("the custom fields", canonical(rest)) if rest else ""
