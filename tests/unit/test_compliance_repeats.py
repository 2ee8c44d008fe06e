"""The second looks of a run: exactly the share that was asked for, at each host as soon as it has answered."""

import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.compliance.batch import Answer, Answers
from opsctl.compliance.repeats import Looks

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SAID = Answer(exit_code=0, stdout=b"yes\n", stderr=b"", at=NOW, how="batch")


class Asked:
    """Answers of hosts, so many of each; `again` is called with what is asked for a second time."""

    def __init__(self, of: Mapping[str, int]) -> None:
        self._of = of
        self.again_of: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def of_the_batch(self, key: str, left_out: Collection[str]) -> list[str]:
        return [f"look {number}" for number in range(self._of[key])]

    def known(self, key: str, command: str) -> Answer:
        return SAID

    def again(self, key: str, commands: Sequence[str]) -> Mapping[str, Answer]:
        with self._lock:
            self.again_of += [(key, command) for command in commands]
        return dict.fromkeys(commands, SAID)


def looked_at(asked: Asked, share: float, hosts: Sequence[str]) -> list[tuple[str, str]]:
    with Looks(cast(Answers, asked), share, ()) as looks:
        for key in hosts:
            looks.at(key)
        found = [(one.host, one.command) for one in looks.all()]
    assert sorted(found) == sorted(asked.again_of)
    assert len(set(found)) == len(found), "no answer is looked at three times"
    return found


@given(st.lists(st.integers(0, 200), min_size=1, max_size=12))
def test_one_in_fifty_of_all_answers_is_looked_at_again_rounded_up(counts: list[int]) -> None:
    of = {f"ange.web{place}": count for place, count in enumerate(counts)}
    assert len(looked_at(Asked(of), 0.02, list(of))) == -(-sum(counts) // 50)


@pytest.mark.parametrize(("share", "count"), [(0, 0), (1, 30)])
def test_nothing_or_everything_can_be_asked_for_again(share: float, count: int) -> None:
    assert len(looked_at(Asked({"ange.web1": 10, "ange.web2": 20}), share, ["ange.web1", "ange.web2"])) == count


def test_a_host_is_asked_again_before_the_next_one_has_answered() -> None:
    begun = threading.Event()

    class Telling(Asked):
        def again(self, key: str, commands: Sequence[str]) -> Mapping[str, Answer]:
            begun.set()
            return super().again(key, commands)

    with Looks(cast(Answers, Telling({"ange.web1": 50})), 0.02, ()) as looks:
        looks.at("ange.web1")
        assert begun.wait(60)
