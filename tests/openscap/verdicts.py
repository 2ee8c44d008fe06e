"""What the second judge says of each control, and where both judges disagree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.openscap.tailoring import PREFIX

_LINE = re.compile(rf"{re.escape(PREFIX)}([\w-]+):(\w+)")
JUDGED = frozenset({"pass", "fail"})


@dataclass(frozen=True, kw_only=True, order=True)
class Disagreement:
    """A control of which both judges say something else; `rules` are those that decided theirs."""

    control: str
    ours: str
    theirs: str
    rules: tuple[str, ...]


def read(output: str) -> dict[str, str]:
    """Rule and result, from what `oscap xccdf eval --progress` prints; `unknown` and `error` are both `error`."""
    found = {match[1]: match[2] for line in output.splitlines() if (match := _LINE.fullmatch(line.strip()))}
    return {rule: "error" if result == "unknown" else result for rule, result in found.items()}


def of_control(rules: Sequence[str], results: Mapping[str, str]) -> str:
    """A control's verdict from its rules: it passes when every rule that applies does.

    A rule that was not even started is notchecked; no rule at all, too.
    """
    said = [results.get(rule, "notchecked") for rule in rules]
    for word in ("fail", "error", "notchecked"):
        if word in said:
            return word
    return "pass" if "pass" in said else "notapplicable" if said else "notchecked"


def compare(
    ours: Mapping[str, str], rules: Mapping[str, Sequence[str]], results: Mapping[str, str]
) -> tuple[list[str], list[Disagreement]]:
    """The controls that both judges passed or failed, and of these the ones in which they disagree."""
    both = [
        control
        for control in sorted(rules)
        if ours.get(control) in JUDGED and of_control(rules[control], results) in JUDGED
    ]
    return both, [
        Disagreement(
            control=control, ours=ours[control], theirs=theirs, rules=tuple(_deciding(rules[control], results, theirs))
        )
        for control in both
        if (theirs := of_control(rules[control], results)) != ours[control]
    ]


def _deciding(rules: Iterable[str], results: Mapping[str, str], verdict: str) -> Iterable[str]:
    return (rule for rule in rules if results.get(rule) == verdict)
