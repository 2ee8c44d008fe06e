"""A random part of the batch's answers, asked for again one by one: what the batch said must be what the command says.

Where the two differ the command is run once more: one
that then says a third thing moves by itself and proves nothing; one that stands by its second answer was answered
wrongly by the batch, or the host has changed in the middle of the run. Either way the run is not to be relied on.
"""

from __future__ import annotations

import math
import secrets
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from opsctl.compliance.batch import Answer, Answers
from opsctl.compliance.checks import bounded
from opsctl.model.finding import Repeat

SHARE = 0.02
# Hosts that are asked again side by side, beside those that are still asked for the first time.
AT_ONCE = 8


class Looks:
    """The second looks of one run: at each host as soon as it has answered, beside all that goes on with others.

    `share` of all answers, rounded up, without those of the controls that are `moving`. Leaving the block gives up what
    was not begun.
    """

    def __init__(self, answers: Answers, share: float, moving: Collection[str]) -> None:
        self._answers, self._share, self._moving = answers, share, frozenset(moving)
        self._of = self._drawn = 0
        self._lock = threading.Lock()
        self._begun: list[Future[tuple[Repeat, ...]]] = []
        self._pool = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="again")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def at(self, key: str) -> None:
        """Draw from what a host has just answered, and ask for that again."""
        asked = self._answers.of_the_batch(key, self._moving)
        with self._lock:
            self._of += len(asked)
            # 0.02 has no exact fraction: 350 of it would be a little more than 7.
            sample = drawn(asked, math.ceil(round(self._of * self._share, 6)) - self._drawn)
            self._drawn += len(sample)
            if sample:
                self._begun.append(self._pool.submit(repeat, self._answers, key, sample))

    def all(self) -> tuple[Repeat, ...]:
        """What became of every look, once all of them are over."""
        return tuple(one for look in self._begun for one in look.result())


def drawn(asked: Sequence[str], count: int) -> tuple[str, ...]:
    """So many of these by chance: nobody can know beforehand which answers are looked at twice."""
    return tuple(secrets.SystemRandom().sample(list(asked), min(len(asked), count)))


def repeat(answers: Answers, key: str, sample: Sequence[str]) -> tuple[Repeat, ...]:
    """Each of these commands of one host with its outcome."""
    again = answers.again(key, sample)
    doubtful = [command for command in again if not same(answers.known(key, command), again[command])]
    third = answers.again(key, doubtful)
    return tuple(
        # A command may hold names that a host gave: it is kept as evidence keeps it.
        Repeat(host=key, command=bounded(command), outcome=_outcome(command, doubtful, again, third))
        for command in sample
    )


def _outcome(command: str, doubtful: Collection[str], again: Mapping[str, Answer], third: Mapping[str, Answer]) -> str:
    if command not in again or (command in doubtful and command not in third):
        return "lost"
    if command not in doubtful:
        return "same"
    return "different" if same(again[command], third[command]) else "moving"


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
