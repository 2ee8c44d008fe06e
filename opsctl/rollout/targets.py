"""Where notifications go: routes of opsctl.yml name a target, and a file or command says its address.

An address (apprise's form: `mailtos://user:password@host/?to=...`) holds secrets. So it never stands in opsctl.yml,
and never in a message, an argument of a process, the ledger or the store. The file is 0600, or sealed by ansible-vault.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import yaml

from opsctl.ansible import vault
from opsctl.config import Settings
from opsctl.documents import NAME
from opsctl.errors import ConfigError
from opsctl.rollout.notice import Notice, Occasion, Route
from opsctl.state.redaction import Redactor

KINDS = ("tenant", "owner", "role", "event")
# Where an address holds this, it is the address of the service's owner; an owner is foreign text.
OWNER = "{owner}"
_MAIL = re.compile(r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")
_RULE = "[tenant:T] [owner:O] [role:R] [event:E] = TARGET, with a blank between words"
_ADDRESS = re.compile(r"[a-z][a-z0-9+]*://\S+")
_TOKEN = re.compile(r"(?=.*[0-9A-Z])[A-Za-z0-9_=+%-]+")
_LARGEST = 100_000


@dataclass(frozen=True, kw_only=True)
class Book:
    """Who is told of what, and each target's addresses. Its repr shows no address."""

    routes: tuple[Route, ...]
    _addresses: Mapping[str, tuple[str, ...]]

    def __repr__(self) -> str:
        return f"Book({', '.join(sorted(self._addresses))})"

    def routes_for(self, notice: Notice) -> tuple[Route, ...]:
        """The routes that want a notice, each target once: the one that may know most comes first in opsctl.yml."""
        found: dict[str, Route] = {}
        for route in self.routes:
            if route.wants(notice):
                found.setdefault(route.target, route)
        return tuple(found.values())

    def addresses(self, target: str, owner: str = "") -> tuple[str, ...]:
        """The addresses of a target. Raises ConfigError where it needs an owner's, and `owner` is no mail address."""
        given = self._addresses[target]
        if not any(OWNER in one for one in given):
            return given
        if not _MAIL.fullmatch(owner):
            raise ConfigError(f"the owner {owner!r} is no mail address")
        return tuple(one.replace(OWNER, quote(owner, safe="")) for one in given)

    def by_owner(self, target: str) -> bool:
        """Whether the target's address is made from the owner's."""
        return any(OWNER in one for one in self._addresses[target])


def routes(settings: Settings) -> tuple[Route, ...]:
    """The routes of opsctl.yml. Raises ConfigError for one that cannot be read."""
    return tuple(_route(text, settings) for text in settings.texts("notify.routes") if text.strip())


def _route(text: str, settings: Settings) -> Route:
    left, _, target = text.rpartition("=")
    target = target.strip()
    where = settings.origin.get("notify.routes", "opsctl.yml")
    words: dict[str, tuple[str, ...]] = {}
    for word in left.split():
        kind, _, value = word.partition(":")
        known = kind in KINDS and value and (kind != "event" or value in set(Occasion))
        if not known:
            events = f"; events: {', '.join(Occasion)}" if kind == "event" else ""
            raise ConfigError(f"{where}: notify.routes: {word!r} is not known", hint=f"{_RULE}{events}")
        words[kind] = (*words.get(kind, ()), value)
    if "=" not in text or not NAME.fullmatch(target):
        raise ConfigError(f"{where}: notify.routes: {text!r} names no target", hint=_RULE)
    return Route(target=target, words=words)


def load(settings: Settings, redactor: Redactor) -> Book:
    """Routes and addresses; the redactor learns every secret in them. Raises ConfigError, which never quotes any."""
    wanted = routes(settings)
    addresses = _addresses(settings, redactor) if wanted else {}
    for route in wanted:
        if route.target not in addresses:
            known = f"known: {', '.join(sorted(addresses)) or 'none'}"
            raise ConfigError(f"notify.routes: nobody says the address of {route.target!r}", hint=known)
    return Book(routes=wanted, _addresses=addresses)


def _addresses(settings: Settings, redactor: Redactor) -> dict[str, tuple[str, ...]]:
    file, command = settings.text("notify.targets_file"), settings.texts("notify.targets_command")
    if bool(file) == bool(command):
        hint = "notify.targets_file, or notify.targets_command" + (": keep one" if file else "")
        raise ConfigError("the addresses of notifications are given twice" if file else "no addresses", hint=hint)
    if file:
        path = settings.within(file)
        return _parsed(_from_file(path, settings, redactor), f"notify.targets_file {path}", redactor)
    return _parsed(_from_command(command, settings), f"notify.targets_command {command[0]}", redactor)


def _from_file(path: Path, settings: Settings, redactor: Redactor) -> str:
    try:
        text = path.read_text(encoding="utf-8")
        open_to_others = path.stat().st_mode & 0o077
    except UnicodeDecodeError:
        raise ConfigError(f"notify.targets_file {path} is not text") from None
    except OSError as error:
        raise ConfigError(f"notify.targets_file {path}: {error.strerror}") from error
    if vault.is_sealed(text):
        return vault.opened(path, settings, redactor)
    if open_to_others:
        raise ConfigError(
            f"{path} holds secrets and can be read by others", hint=f"chmod 0600 {path}, or seal it with ansible-vault"
        )
    return text


def _from_command(words: tuple[str, ...], settings: Settings) -> str:
    name, seconds = f"notify.targets_command {words[0]}", settings.number("notify.timeout")
    try:
        ended = subprocess.run(list(words), stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{name}: no answer within {seconds} seconds") from None
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from error
    if ended.returncode:
        raise ConfigError(f"{name} ended with {ended.returncode}", hint="run it by hand; it must print TARGET: ADDRESS")
    return ended.stdout.decode("utf-8", "replace")


def _parsed(text: str, origin: str, redactor: Redactor) -> dict[str, tuple[str, ...]]:
    """`TARGET: ADDRESS` or a list of addresses, as YAML. Nothing of it is quoted in an error."""
    rule = "TARGET: ADDRESS a line, or a list of addresses, as YAML"
    try:
        found = yaml.safe_load(text[:_LARGEST])
    except yaml.YAMLError:
        raise ConfigError(f"{origin} is not YAML", hint=rule) from None
    if not isinstance(found, dict) or not all(isinstance(name, str) and NAME.fullmatch(name) for name in found):
        raise ConfigError(f"{origin} does not name targets", hint=rule)
    book = {name: tuple(given) if isinstance(given, list) else (given,) for name, given in found.items()}
    for name, given in book.items():
        if not given or not all(isinstance(one, str) and _ADDRESS.fullmatch(one) for one in given):
            raise ConfigError(
                f"{origin}: {name} is no address as apprise writes them", hint="as mailtos://... or json://"
            )
        for one in given:
            redactor.add(one, *_secrets(one))
    return book


def _secrets(address: str) -> tuple[str, ...]:
    """What of an address may be a secret: the user and password, and what looks like a token in path and query."""
    try:
        parts = urlsplit(address)
        user, password = parts.username or "", parts.password or ""
    except ValueError:
        return ()
    words = [*parts.path.split("/"), parts.netloc.rpartition("@")[2], user]
    words += [value for name, value in parse_qsl(parts.query) if name not in ("to", "from", "cc", "bcc", "reply")]
    return (password, *(word for word in words if len(word) >= 8 and _TOKEN.fullmatch(word)))
