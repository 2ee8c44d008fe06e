"""Servers that opsctl asks over HTTP (NetBox, Prometheus, Alertmanager): may an address of the settings be used, and
whose certificates are believed."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from opsctl.errors import ConfigError

if TYPE_CHECKING:
    from opsctl.config import Settings

_LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1")
# What `update-ca-certificates` writes; the HTTP library would believe a list of its own instead.
SYSTEM = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of server in words: its `section` of opsctl.yml, what its address is, and what plain http would risk."""

    section: str
    address: str
    example: str
    bare: str
    risk: str


def checked(settings: Settings, option: str, kind: Kind) -> tuple[str, SplitResult]:
    """The address in an option and its parts: https, or http to this very machine or where it is allowed."""
    address, origin = settings.text(option), settings.origin.get(option, option)
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or port == 0 or parts.query or parts.fragment:
        raise ConfigError(f"{origin}: {address!r} is not {kind.address}", hint=f"as {kind.example}")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{origin} holds a user or password", hint=kind.bare)
    plain = parts.scheme == "http" and not _LOOPBACK.fullmatch(host)
    if plain and settings.text(f"{kind.section}.allow_http") != "yes":
        raise ConfigError(
            f"{origin}: {address!r} is plain http: anybody on the way can read the token and {kind.risk}",
            hint=f"use https, with {kind.section}.ca_file for a certificate of your own; "
            f'{kind.section}.allow_http: "yes" allows http',
        )
    return address.rstrip("/"), parts


def authorities(settings: Settings, option: str) -> str:
    """The file of the certificate authorities to believe; empty: the HTTP library's own list."""
    named = settings.text(option)
    if not named:
        return str(SYSTEM) if SYSTEM.is_file() else ""
    file = settings.within(named)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError as error:
        raise ConfigError(f"{option} {file} holds no certificates", hint="a file in PEM form") from error
    except OSError as error:
        raise ConfigError(f"{option} {file}: {error.strerror}", hint="a file in PEM form") from error
    return str(file)
