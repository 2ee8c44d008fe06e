"""The mapping of records as opsctl.yml says it: where each value comes from, and what the words of NetBox mean. Pure.

Where a value comes from is written as `field:NAME` (a custom field), `tag:PREFIX` (what follows the prefix in a tag's
slug), `cluster`, `region`, `site`, `role` (NetBox's own), or nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from opsctl.documents import NAME
from opsctl.errors import ConfigError
from opsctl.inventory.hostfile import STATUSES
from opsctl.inventory.record import Record

if TYPE_CHECKING:
    from opsctl.config import Settings

# The values that a mapping may give; each is an option netbox.NAME.
MAPPED = ("ring", "windows", "owner", "criticality", "cluster", "jump", "port", "reboot", "balancer")
ATTRIBUTES = ("cluster", "region", "site", "role")
TRANSLATED = (*MAPPED, "role", "platform", "site", "status", "organisation")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where one value comes from: kind `field`, `tag`, `own` (an attribute) or nothing."""

    kind: str = ""
    name: str = ""

    def values(self, record: Record, regions: Mapping[str, str]) -> tuple[str, ...]:
        if self.kind == "own":
            found = regions.get(record.site, "") if self.name == "region" else str(getattr(record, self.name))
            return (found,) if found else ()
        return self.given(record.fields, record.tags)

    def given(self, fields: Mapping[str, object], tags: Sequence[str]) -> tuple[str, ...]:
        """The values that custom fields or tags give."""
        if self.kind == "field":
            return _texts(fields.get(self.name))
        if self.kind == "tag":
            return tuple(
                [tag.removeprefix(self.name) for tag in tags if tag.startswith(self.name) and tag != self.name]
            )
        return ()


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The mapping of one workspace. `tenants`: NetBox's slug -> tenant and organisation; empty: slugs are our names."""

    sources: Mapping[str, Source]
    statuses: frozenset[str]
    tenants: Mapping[str, tuple[str, str]]
    translations: Mapping[tuple[str, str], str]
    serves: Source = field(default_factory=Source)
    prefer6: bool = False

    @cached_property
    def fields(self) -> Mapping[str, str]:
        """The custom fields that the mapping names, each with the option that names it."""
        return {source.name: f"netbox.{what}" for what, source in self.sources.items() if source.kind == "field"}

    def counts(self, record: Record) -> bool:
        """Is the record's status one of those that become hosts?"""
        return self.translated("status", record.status) in self.statuses

    def place(self, slug: str) -> tuple[str, str]:
        """Tenant and organisation for NetBox's tenant."""
        return self.tenants.get(slug, ("", "")) if self.tenants else (slug, "")

    def slugs(self, tenants: Sequence[str]) -> tuple[str, ...]:
        """NetBox's tenants that are these tenants of ours."""
        if not self.tenants:
            return tuple(tenants)
        return tuple(slug for slug, (tenant, _) in self.tenants.items() if tenant in tenants)

    def translated(self, what: str, value: str) -> str:
        return self.translations.get((what, value), value)

    def untranslated(self, what: str, meant: str) -> str:
        """NetBox's word for one of ours; the first where there are several."""
        return min((value for (kind, value), ours in self.translations.items() if (kind, ours) == (what, meant)),
                   default=meant)  # fmt: skip


def mapping_of(settings: Settings) -> Rules:
    """The mapping that opsctl.yml describes. Raises ConfigError."""
    texts = {name: settings.text(f"netbox.{name}") for name in (*MAPPED, "serves", "prefer")}
    lists = {name: settings.texts(f"netbox.{name}") for name in ("statuses", "tenants", "translate")}
    return rules(texts, lists)


def rules(texts: Mapping[str, str], lists: Mapping[str, Sequence[str]]) -> Rules:
    """The mapping as the options netbox.* say it. Raises ConfigError for what cannot be meant."""
    for status in lists["statuses"]:
        if status not in STATUSES:
            raise ConfigError(f"netbox.statuses: {status!r} is not known", hint=f"one of: {', '.join(STATUSES)}")
    return Rules(
        sources={what: _source(f"netbox.{what}", texts[what]) for what in MAPPED},
        statuses=frozenset(lists["statuses"]),
        tenants=_tenants(lists["tenants"]),
        translations=_translations(lists["translate"]),
        serves=_serves(texts["serves"]),
        prefer6=texts["prefer"] == "ipv6",
    )


def _source(option: str, text: str) -> Source:
    kind, colon, name = text.partition(":")
    if not text:
        return Source()
    if colon and kind in ("field", "tag") and name:
        return Source(kind=kind, name=name)
    if text in ATTRIBUTES:
        return Source(kind="own", name=text)
    raise ConfigError(
        f"{option}: {text!r} is not a place where a value comes from",
        hint=f"field:NAME, tag:PREFIX, {', '.join(ATTRIBUTES)}, or empty",
    )


def _serves(text: str) -> Source:
    """A service's own custom field or tags; NetBox has nothing else that could say it."""
    if (found := _source("netbox.serves", text)).kind == "own":
        raise ConfigError(f"netbox.serves: {text!r} says nothing of a service", hint="field:NAME, tag:PREFIX, or empty")
    return found


def _tenants(words: Sequence[str]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for word in words:
        slug, equals, place = word.partition("=")
        tenant, _, organisation = place.partition("/")
        if not slug or not equals or not NAME.fullmatch(tenant) or (organisation and not NAME.fullmatch(organisation)):
            raise ConfigError(
                f"netbox.tenants: {word!r} is not allowed", hint="NETBOX-SLUG=TENANT or =TENANT/ORGANISATION"
            )
        if slug in found:
            raise ConfigError(f"netbox.tenants: {slug!r} is there twice")
        found[slug] = (tenant, organisation)
    return found


def _translations(words: Sequence[str]) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {("criticality", "medium"): "normal"}
    for word in words:
        what, colon, rest = word.partition(":")
        value, equals, meant = rest.rpartition("=")
        if what not in TRANSLATED or not colon or not equals or not value:
            raise ConfigError(
                f"netbox.translate: {word!r} is not allowed",
                hint=f"WHAT:VALUE=MEANT, WHAT one of: {', '.join(TRANSLATED)}",
            )
        found[what, value] = meant
    return found


def _texts(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    values = value if isinstance(value, list) else [value]
    return tuple([text for item in values if (text := unicodedata.normalize("NFC", str(item)).strip())])
