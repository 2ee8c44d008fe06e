"""Prometheus and Alertmanager over HTTP: one careful way to ask either of them.

No redirect is followed and no proxy of the environment used; each request ends within `monitor.timeout` seconds,
however slowly its body comes; reading is tried twice. The token goes into the header alone: never into a message.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsctl import servers
from opsctl.errors import ConfigError, OpsctlError

if TYPE_CHECKING:
    import requests

    from opsctl.config import Settings

TRIES = 2
LARGEST = 32 * 1024 * 1024
WITHOUT = "to go on without it for once: OPSCTL_MONITOR_{}= before the command"
_PATIENCE = 60
_PAUSE = 0.5
_TOKEN = re.compile(r"[\x21-\x7e]{4,4096}")


class MonitoringSilent(OpsctlError):
    """Prometheus or Alertmanager does not answer, or not as itself: what it would say is unknown."""

    outcome = "unknown"


class Remote:
    """One server of the two, `monitor.<name>` in the settings. Raises MonitoringSilent for whatever goes wrong."""

    def __init__(
        self, name: str, address: str, *, token: str = "", timeout: float = 10, ca_file: str = "", pause: float = _PAUSE
    ) -> None:
        self.name, self.address = name, address.rstrip("/")
        self._token, self._timeout, self._ca_file, self._pause = token, timeout, ca_file, pause

    @classmethod
    def of(cls, settings: Settings, name: str) -> Remote | None:
        """The server that the settings name, or None. Raises ConfigError for an address or token of no use."""
        if not settings.text(f"monitor.{name}"):
            return None
        return cls(
            name,
            checked_address(settings, name),
            token=read_token(settings),
            timeout=settings.number("monitor.timeout"),
            ca_file=checked_authorities(settings),
        )

    def get(self, path: str, query: Mapping[str, str | list[str]] | None = None) -> Any:
        """The JSON at a path; asked once more where the first answer was none."""
        for attempt in range(1, TRIES + 1):
            try:
                return self._ask("GET", path, query=query)
            except MonitoringSilent:
                if attempt == TRIES:
                    raise
                time.sleep(self._pause)
        raise AssertionError("the last attempt returns or raises")

    def post(self, path: str, body: object) -> Any:
        """Sent once: what the caller does must bear to be done again."""
        return self._ask("POST", path, body=body)

    def delete(self, path: str) -> None:
        """Raises MonitoringSilent also where there is nothing of the kind."""
        self._ask("DELETE", path)

    def silent(self, why: str, *, hint: str = "") -> MonitoringSilent:
        """The error to raise where its answer is not understood."""
        without = WITHOUT.format(self.name.upper())
        return MonitoringSilent(
            f"{self.name.title()} at {self.address}: {why}", hint="; ".join(filter(None, (hint, without)))
        )

    def _ask(
        self, method: str, path: str, *, query: Mapping[str, str | list[str]] | None = None, body: Any = None
    ) -> Any:
        import requests
        from urllib3.exceptions import HTTPError

        ends = time.monotonic() + self._timeout
        headers = {"Accept": "application/json", "User-Agent": "opsctl"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            with requests.Session() as session:
                # ~/.netrc would replace the token, and a proxy of the environment would see it.
                session.trust_env = False
                session.verify = self._ca_file or True
                with session.request(
                    method, self.address + path, params=query, json=body, headers=headers,
                    timeout=(min(5.0, self._timeout), self._timeout), allow_redirects=False, stream=True,
                ) as answer:  # fmt: skip
                    return self._understood(answer, self._body(answer, ends))
        except requests.RequestException as error:
            raise self.silent(_lost(error, self._timeout)) from None
        except HTTPError:  # while the body comes, urllib3 speaks for itself
            raise self.silent("the answer is cut off") from None

    def _body(self, answer: requests.Response, ends: float) -> bytes:
        content = bytearray()
        # Not iter_content: it waits until a piece is full, however slowly that comes.
        while piece := answer.raw.read1(65536, decode_content=True):
            content += piece
            if time.monotonic() > ends:
                raise self.silent(f"the answer was not there after {self._timeout:g} seconds")
            if len(content) > LARGEST:
                raise self.silent(f"the answer has more than {LARGEST} bytes")
        return bytes(content)

    def _understood(self, answer: requests.Response, body: bytes) -> Any:
        code = answer.status_code
        if code in (401, 403):
            raise self.silent(
                f"it refuses us ({code})", hint="is the token right (monitor.token_file, monitor.token_command)?"
            )
        if 300 <= code < 400:
            raise self.silent(f"it sends us elsewhere ({code})", hint="a login page? Name the server itself")
        if code != 200:
            raise self.silent(f"it answers {code}{self._said(body)}")
        if not body:
            return None
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise self.silent("its answer is not JSON", hint=f"is monitor.{self.name} its own address?") from None

    def _said(self, body: bytes) -> str:
        text = body[:200].decode("utf-8", "replace")
        plain = " ".join("".join(char if char.isprintable() else " " for char in text).split())
        # What echoes a request must not bring the token into a message.
        plain = plain.replace(self._token, "[redacted]") if self._token else plain
        return f": {plain}" if plain else ""


def checked_address(settings: Settings, name: str) -> str:
    """monitor.NAME, if it can be used: https, or http to this very machine or where it is allowed."""
    kind = servers.Kind(
        section="monitor",
        address="an address",
        example=f"https://{name}.example",
        bare="take it out; monitor.token_file holds a token",
        risk="answer in its place",
    )
    return servers.checked(settings, f"monitor.{name}", kind)[0]


def checked_authorities(settings: Settings) -> str:
    """The file of the certificate authorities to believe; empty: the HTTP library's own list."""
    return servers.authorities(settings, "monitor.ca_file")


def read_token(settings: Settings) -> str:
    """The token that both are asked with; empty where none is named. Raises ConfigError."""
    file, command = settings.text("monitor.token_file"), settings.texts("monitor.token_command")
    if file and command:
        raise ConfigError("monitor.token_file and monitor.token_command are both given", hint="keep one")
    if file:
        return _from_file(settings.within(file))
    return _from_command(command) if command else ""


def _from_file(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{path} holds a token and can be read by others", hint=f"chmod 0600 {path}")
        return _checked(path.read_bytes(), f"monitor.token_file {path}")
    except OSError as error:
        raise ConfigError(f"monitor.token_file {path}: {error.strerror}", hint="the token alone, mode 0600") from error


def _from_command(words: tuple[str, ...]) -> str:
    name = f"monitor.token_command {words[0]}"
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{name}: no answer within {_PATIENCE} seconds") from None
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from error
    if done.returncode:
        raise ConfigError(f"{name} ended with {done.returncode}", hint="run it by hand; it must print the token alone")
    return _checked(done.stdout, name)


def _checked(content: bytes, origin: str) -> str:
    token = content.decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(token):
        raise ConfigError(f"{origin} does not hold a token", hint="one line and nothing else")
    return token


def _lost(error: requests.RequestException, timeout: float) -> str:
    """What went wrong below HTTP. The text of `error` is not shown: it may hold what was sent."""
    import requests

    said = str(error)
    if isinstance(error, requests.exceptions.SSLError):
        return (
            "its certificate does not fit its address or its signer is unknown (monitor.ca_file), or it speaks no TLS"
        )
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "no connection"
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in said:
        return f"no answer within {timeout:g} seconds"
    if isinstance(error, requests.exceptions.ConnectionError):
        if "NameResolution" in said or "Name or service" in said or "getaddrinfo" in said:
            return "no machine has this name"
        if "refused" in said:
            return "nothing listens there (connection refused)"
        return "the connection was lost"
    return f"it cannot be asked ({type(error).__name__})"
