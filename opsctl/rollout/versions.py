"""One version of each package for all hosts of a plan: what the first ring gets is what every later ring gets. Pure.

Hosts of one os_release and architecture that are offered another version read another state of their mirror. The
version is settled where it is tried first: in the earliest ring that has the package, by most of its hosts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# Words by which the reason is known again.
ANOTHER_STATE = "its mirror is in another state"
_Package = tuple[str, str]  # os_release and architecture, and the package's name


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What one host is offered: versions by package. `ring` counts the plan's rings from 0; `kind` names os_release
    and architecture."""

    host: str
    ring: int
    kind: str
    versions: Mapping[str, str]


def differing(offers: Iterable[Offer]) -> dict[str, str]:
    """The hosts that cannot get the plan's versions, each with the reason; offers come in the order of the hosts."""
    given = tuple(offers)
    settled = _settled(given)
    found = {}
    for offer in given:
        others = (
            f"{ANOTHER_STATE}: it offers {name} {version}, and the plan has {agreed}"
            for name, version in sorted(offer.versions.items())
            if (agreed := settled[offer.kind, name]) != version
        )
        if why := next(others, ""):
            found[offer.host] = why
    return found


def _settled(offers: Iterable[Offer]) -> dict[_Package, str]:
    """The version of each package: of most hosts of its earliest ring, on a tie that of the first of them."""
    earliest: dict[_Package, int] = {}
    votes: dict[_Package, Counter[str]] = {}
    for offer in offers:
        for name, version in offer.versions.items():
            package = offer.kind, name
            if offer.ring < earliest.get(package, offer.ring + 1):
                earliest[package], votes[package] = offer.ring, Counter()
            if offer.ring == earliest[package]:
                votes[package][version] += 1
    # Counter.most_common keeps the order of the first meeting among equals.
    return {package: counted.most_common(1)[0][0] for package, counted in votes.items()}
