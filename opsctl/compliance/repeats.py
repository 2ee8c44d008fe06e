"""A random part of the batch's answers, asked for again one by one: what the batch said must be what the command says.

An answer that another check rests on is repeated as it stands. Where the two differ the command is run once more: one
that then says a third thing moves by itself and proves nothing; one that stands by its second answer was answered
wrongly by the batch, or the host has changed in the middle of the run. Either way the run is not to be relied on.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence

from opsctl.compliance.batch import Answer, Answers
from opsctl.compliance.checks import bounded
from opsctl.model.finding import Repeat

SHARE = 0.02
Asked = tuple[str, str]  # host key, command


def drawn(asked: Sequence[Asked], share: float) -> tuple[Asked, ...]:
    """So many of these, rounded up, by chance: nobody can know beforehand which answers are looked at twice."""
    return tuple(secrets.SystemRandom().sample(list(asked), min(len(asked), math.ceil(len(asked) * share))))


def repeat(answers: Answers, sample: Sequence[Asked]) -> tuple[Repeat, ...]:
    """Each one of the sample with its outcome."""
    again = answers.again(sample)
    doubtful = [one for one in sample if one in again and not same(answers.known(*one), again[one])]
    third = answers.again(doubtful)
    return tuple(
        # A command may hold names that a host gave: it is kept as evidence keeps it.
        Repeat(host=one[0], command=bounded(one[1]), outcome=_outcome(one, doubtful, again, third))
        for one in sample
    )


def _outcome(
    one: Asked, doubtful: Sequence[Asked], again: Mapping[Asked, Answer], third: Mapping[Asked, Answer]
) -> str:
    if one not in again or (one in doubtful and one not in third):
        return "lost"
    if one not in doubtful:
        return "same"
    return "different" if same(again[one], third[one]) else "moving"


def same(one: Answer, other: Answer) -> bool:
    return (one.exit_code, one.stdout, one.stderr, one.fault) == (
        other.exit_code,
        other.stdout,
        other.stderr,
        other.fault,
    )


def faults(repeats: Sequence[Repeat]) -> list[str]:
    """What the repeats say against the run; nothing where all is well."""
    told = {
        "different": "an answer of the batch was another one when it was asked for again",
        "lost": "contact was lost while an answer was asked for again",
    }
    return [f"{told[one.outcome]}: {one.host}: {one.command[:200]}" for one in repeats if one.outcome in told]
