"""What a person is told of a rollout, and who may be told what: pure text, bounded, without anything that acts.

A notice names its hosts each on its own, so that whoever is told of one municipality's hosts alone never reads of
another's. Words that came from hosts lose control characters and whatever mail or chat programs take for markup.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

_LONGEST_LINE, _MOST_LINES, _MOST_HOSTS, _LONGEST_SUBJECT = 300, 80, 25, 150
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_MARKUP = str.maketrans({"<": "‹", ">": "›"})


class Occasion(StrEnum):
    """When somebody is told. `ahead` and `audit` go to nobody who did not ask for them by name."""

    START = "start"
    GATE = "gate"
    PAUSE = "pause"
    FAILURE = "failure"
    END = "end"
    STALLED = "stalled"
    AHEAD = "ahead"
    AUDIT = "audit"


# What is not about how a rollout goes.
_BY_NAME = frozenset({Occasion.AHEAD, Occasion.AUDIT})


@dataclass(frozen=True, kw_only=True)
class About:
    """A host that a notice speaks of: `state` in a word, `text` what there is to say of it (may be empty)."""

    host: str
    tenant: str
    owner: str = ""
    role: str = ""
    state: str = ""
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A file that goes with a notice."""

    name: str
    kind: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something to tell. `lines` may be read by everybody who is told, `whole` only by who may know of every host."""

    occasion: Occasion
    subject: str
    rollout: str = ""
    lines: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    hosts: tuple[About, ...] = ()
    attachment: Attachment | None = None


@dataclass(frozen=True, kw_only=True)
class Route:
    """Who is told of what: words of one kind are alternatives, and each kind that is given must fit.

    Kinds: tenant, owner, role (of the hosts, as shell patterns), event (an Occasion). `target` names an address.
    """

    target: str
    words: Mapping[str, tuple[str, ...]]

    def hosts(self, notice: Notice) -> tuple[About, ...]:
        """The hosts of a notice that this route may know of."""
        return tuple(about for about in notice.hosts if self._covers(about))

    @property
    def narrow(self) -> bool:
        """Not for every host there is."""
        return any(self.words.get(kind) for kind in ("tenant", "owner", "role"))

    def wants(self, notice: Notice) -> bool:
        events = self.words.get("event", ())
        if notice.occasion not in events and (events or notice.occasion in _BY_NAME):
            return False
        return not self.narrow or bool(self.hosts(notice))

    def _covers(self, about: About) -> bool:
        asked = {"tenant": about.tenant, "owner": about.owner, "role": about.role}
        return all(
            any(fnmatchcase(value, pattern) for pattern in patterns)
            for kind, value in asked.items()
            if (patterns := self.words.get(kind, ()))
        )


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A notice as one reader gets it."""

    occasion: Occasion
    title: str
    body: str
    attachment: Attachment | None = None


def letter(notice: Notice, route: Route) -> Letter:
    """The text for one route: of the hosts that it may know of, and no others."""
    hosts = route.hosts(notice)
    everything = len(hosts) == len(notice.hosts)
    told = [f"{about.host}: {about.text}" for about in hosts if about.text]
    more = [f"and {len(told) - _MOST_HOSTS} more"] if len(told) > _MOST_HOSTS else []
    lines = [*notice.lines, *(notice.whole if everything else ()), *_counted(hosts), *told[:_MOST_HOSTS], *more]
    return Letter(
        occasion=notice.occasion,
        title=plain(notice.subject, _LONGEST_SUBJECT),
        body="\n".join(plain(line) for line in lines[:_MOST_LINES]) or plain(notice.subject),
        attachment=notice.attachment,
    )


def _counted(hosts: Iterable[About]) -> list[str]:
    """`hosts: 4 (3 done, 1 failed)`."""
    states = Counter(about.state for about in hosts if about.state)
    if not states:
        return []
    return [f"hosts: {states.total()} ({', '.join(f'{count} {state}' for state, count in states.items())})"]


def plain(text: str, longest: int = _LONGEST_LINE) -> str:
    """One line that commands nothing: no control or format marks, no tags, no links in brackets, not too long."""
    clean = "".join(char if unicodedata.category(char) not in _UNSAFE else " " for char in text)
    clean = " ".join(clean.translate(_MARKUP).replace("](", "] (").split())
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"
