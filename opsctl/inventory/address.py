"""Where NetBox is, and who must have signed its certificate: netbox.url and netbox.ca_file."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opsctl.errors import ConfigError

if TYPE_CHECKING:
    from opsctl.config import Settings

_LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1")
# What `update-ca-certificates` writes; the HTTP library would believe a list of its own instead.
_SYSTEM = Path("/etc/ssl/certs/ca-certificates.crt")


def checked_address(settings: Settings) -> str:
    """netbox.url, if it can be used: https, or http to this very machine or where it is allowed."""
    address = settings.text("netbox.url")
    origin = settings.origin.get("netbox.url", "netbox.url")
    if not address:
        raise ConfigError("there is no address of NetBox", hint="set netbox.url in opsctl.yml, or OPSCTL_NETBOX_URL")
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or port == 0 or parts.query or parts.fragment:
        raise ConfigError(f"{origin}: {address!r} is not the address of a NetBox", hint="as https://netbox.example")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{origin} holds a user or password", hint="the token alone opens NetBox; take it out")
    if parts.path.rstrip("/").endswith("/api"):
        raise ConfigError(f"{origin}: {address!r} ends with /api", hint="the address of NetBox's start page")
    plain = parts.scheme == "http" and not _LOOPBACK.fullmatch(host)
    if plain and settings.text("netbox.allow_http") != "yes":
        raise ConfigError(
            f"{origin}: {address!r} is plain http: anybody on the way can read the token and change the inventory",
            hint='use https, with netbox.ca_file for a certificate of your own; netbox.allow_http: "yes" allows http',
        )
    return address.rstrip("/")


def checked_authorities(settings: Settings) -> str:
    """The file of the certificate authorities to believe; empty: the HTTP library's own list."""
    named = settings.text("netbox.ca_file")
    if not named:
        return str(_SYSTEM) if _SYSTEM.is_file() else ""
    file = (settings.workspace / named).expanduser()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError as error:
        raise ConfigError(f"netbox.ca_file {file} holds no certificates", hint="a file in PEM form") from error
    except OSError as error:
        raise ConfigError(f"netbox.ca_file {file}: {error.strerror}", hint="a file in PEM form") from error
    return str(file)
