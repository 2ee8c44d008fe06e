"""Secrets never enter store or ledger: what looks like one, or is known to be one, is replaced before it is written.

Known values (a vault password, a token) are given at run time with `Redactor.add`. Names of keys are judged only in
the ledger: a fact about `password_login` is what compliance is about, and no secret.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache
from itertools import pairwise
from typing import Any
from urllib.parse import quote

HIDDEN = "[redacted]"
# Shorter values occur in ordinary words; replacing them would only make a mess.
SHORTEST = 4

_SECRET_WORDS = frozenset({
    "password", "passwords", "passwd", "passphrase", "passphrases", "pwd", "secret", "secrets", "token", "tokens",
    "credential", "credentials", "authorization", "cookie", "apikey", "privatekey",
})  # fmt: skip
_SECRET_PAIRS = (("api", "key"), ("private", "key"), ("access", "key"), ("become", "pass"), ("ssh", "pass"))
_SHAPES = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(r"(?i)(?<=\bbearer )[\w.~+/=-]{8,}"),
    re.compile(r"\bnbt_[A-Za-z0-9]{6,}\.[A-Za-z0-9]{16,}"),
    re.compile(r"(?<![\w$])\$(?:y|gy|7|6|5|2[aby]|1)\$[\w./,=$]{8,}"),
)
# Without one of these in it a text has none of the shapes; nearly every text of the store is such a one.
_SIGN = re.compile(r"-----BEGIN|://|bearer |nbt_|\$", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"(?i)(\b[\w-]*(?:password|passwd|passphrase|secret|token|api[_-]?key)\b[\"']?\s*[=:]\s*[\"']?)([^\s\"',;&]{4,})"
)


def looks_secret(name: str) -> bool:
    """Whether a key's name says that its value is a secret: `vault_password`, `apiKey`, but not `host_key`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    parts = [part for part in re.split(r"[^a-z0-9]+", words) if part]
    if _SECRET_WORDS.intersection(parts):
        return True
    return any(pair in pairwise(parts) for pair in _SECRET_PAIRS)


class Redactor:
    """Replaces secrets in text and in JSON values; knows the secrets of this run."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._order: tuple[str, ...] = ()
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Remember secret values, each as it is and as base64 and percent-encoding write it."""
        for secret in secrets:
            plain = secret.strip()
            if len(plain) < SHORTEST:
                continue
            raw = plain.encode(errors="surrogatepass")
            self._known |= {plain, base64.b64encode(raw).decode().rstrip("="), quote(raw, safe="")}
            # A key or a multi-line secret leaks just as well line by line.
            self._known |= {line.strip() for line in plain.splitlines() if len(line.strip()) >= 16}
        self._order = tuple(sorted(self._known, key=lambda value: (-len(value), value)))

    def text(self, text: str) -> str:
        for secret in self._order:
            text = text.replace(secret, HIDDEN)
        if _SIGN.search(text):
            for shape in _SHAPES:
                text = shape.sub(HIDDEN, text)
        return text

    def value(self, value: object, *, judge_names: bool) -> object:
        """A JSON value without secrets; what JSON cannot hold becomes text."""
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, Mapping):
            return {
                self.text(_sound(str(key))): HIDDEN
                if judge_names and looks_secret(str(key)) and not _says_nothing(inner)
                else self.value(inner, judge_names=judge_names)
                for key, inner in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.value(inner, judge_names=judge_names) for inner in value]
        if isinstance(value, (set, frozenset)):
            return sorted(str(self.value(inner, judge_names=judge_names)) for inner in value)
        if isinstance(value, datetime):
            return value.isoformat()
        found = self.text(_sound(str(value)))
        return _ASSIGNED.sub(rf"\g<1>{HIDDEN}", found) if judge_names else found

    def json(self, document: str) -> str:
        """A JSON document without secrets. Names are left alone: see the top of this file."""
        # A fleet's document says the same words thousands of times.
        clean = cache(lambda text: self.text(_sound(text)))
        return canonical(_cleaned(json.loads(document), clean))


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    if type(value) is str:
        return clean(value)
    if type(value) is dict:
        return {clean(key): _cleaned(inner, clean) for key, inner in value.items()}
    return [_cleaned(inner, clean) for inner in value] if type(value) is list else value


def canonical(value: object) -> str:
    """The one JSON text of a value: sorted keys, no blanks, UTF-8."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _says_nothing(value: object) -> bool:
    return value is None or isinstance(value, bool) or value in ("", (), [], {})


def _sound(text: str) -> str:
    """Text that UTF-8 can hold: half surrogates, as undecodable bytes leave them, become visible."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
