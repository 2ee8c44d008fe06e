"""Where NetBox is, and who must have signed its certificate: netbox.url and netbox.ca_file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsctl import servers
from opsctl.errors import ConfigError

if TYPE_CHECKING:
    from opsctl.config import Settings

_NETBOX = servers.Kind(
    section="netbox",
    address="the address of a NetBox",
    example="https://netbox.example",
    bare="the token alone opens NetBox; take it out",
    risk="change the inventory",
)


def checked_address(settings: Settings) -> str:
    """netbox.url, if it can be used: https, or http to this very machine or where it is allowed."""
    if not settings.text("netbox.url"):
        raise ConfigError("there is no address of NetBox", hint="set netbox.url in opsctl.yml, or OPSCTL_NETBOX_URL")
    address, parts = servers.checked(settings, "netbox.url", _NETBOX)
    if parts.path.rstrip("/").endswith("/api"):
        origin = settings.origin.get("netbox.url", "netbox.url")
        raise ConfigError(f"{origin}: {address!r} ends with /api", hint="the address of NetBox's start page")
    return address


def checked_authorities(settings: Settings) -> str:
    """The file of the certificate authorities to believe; empty: the HTTP library's own list."""
    return servers.authorities(settings, "netbox.ca_file")
