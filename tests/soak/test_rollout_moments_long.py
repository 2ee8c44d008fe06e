"""The long series of killed rollouts: 48 seeded moments over eight hosts (tests/integration has eight)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opsctl import lab
from tests.integration.rollouts import PatchSite, prepared
from tests.integration.test_rollout_moments import killed_at_random
from tests.integration.watcher import one_ring

pytestmark = [pytest.mark.lab, pytest.mark.soak]


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PatchSite]:
    with prepared(tmp_path_factory.mktemp("moments"), lab.generic(8)) as made:
        one_ring(made)
        yield made


@pytest.mark.parametrize("seed", range(100, 148))
def test_killed_at_one_of_many_random_moments_a_resume_finishes_and_installs_nothing_twice(
    eight: PatchSite, seed: int
) -> None:
    killed_at_random(eight, seed)
