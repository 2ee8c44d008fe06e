"""What ssh's stderr means when it ends with 255: the kind of trouble, in plain words. Pure text in, text out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["unknown-key", "changed-key", "auth", "timeout", "refused", "unreachable", "lost", "other"]

# The first that fits wins; the text is OpenSSH's (ssh.c, sshconnect.c, clientloop.c), stable since version 7.
_SIGNS: tuple[tuple[str, Kind], ...] = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED", "changed-key"),
    (r"^No \S+ host key is known for|Host key verification failed|no matching host key type", "unknown-key"),
    (r"Permission denied \(|Too many authentication failures|^Permission denied", "auth"),
    (r"Connection timed out during banner|Connection to \S+ port \S+ timed out|Operation timed out", "timeout"),
    (r"Connection timed out|Timeout, server .* not responding", "timeout"),
    (r"Connection refused", "refused"),
    (r"No route to host|Network is unreachable|Could not resolve hostname|Host is down", "unreachable"),
    (r"Connection (?:closed|reset)|Broken pipe|mux_client|kex_exchange_identification|client_loop: send disconnect",
     "lost"),
)  # fmt: skip
_WORDS: dict[Kind, str] = {
    "unknown-key": "its host key is not approved",
    "changed-key": "it shows another host key than the approved one",
    "auth": "it refused our login",
    "timeout": "no answer in time",
    "refused": "connection refused",
    "unreachable": "no way to it",
    "lost": "the connection broke",
    "other": "ssh failed",
}
_HINTS: dict[Kind, str] = {
    "auth": "is the automation account with its key on the host, and is ssh.identity the right file?",
    "timeout": "is the host up, and does a firewall in between let this machine in?",
    "refused": "is sshd running on the host, on this port?",
    "unreachable": "is the address right, and is there a route to it?",
    "lost": "is the host up and not overloaded? then try again",
}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One failed ssh: `kind`, ssh's own last line, and what to do."""

    kind: Kind
    detail: str

    @property
    def reason(self) -> str:
        return f"{_WORDS[self.kind]}: {self.detail}" if self.detail else _WORDS[self.kind]

    @property
    def hint(self) -> str:
        return hint_of(self.kind)


def hint_of(kind: Kind) -> str:
    """Where to look; empty where nothing can be said."""
    return _HINTS.get(kind, "")


def classify(stderr: str) -> Failure:
    """The failure that ssh's stderr tells of."""
    for pattern, kind in _SIGNS:
        if re.search(pattern, stderr, re.MULTILINE):
            return Failure(kind=kind, detail=_last_line(stderr))
    return Failure(kind="other", detail=_last_line(stderr))


def _last_line(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("Warning:", "debug", "@"))]
    return (said or [""])[-1][:300]
