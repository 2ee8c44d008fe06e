"""Plans over real hosts: one package alone, limits with a neighbour that is away, one version for every ring."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opsctl import lab
from tests.integration.site import Site, handed_over

pytestmark = pytest.mark.lab

LIBRARY = "opslab-library"
LIMIT = "limits:\n  - {role: application, max_out: 1}\n"


class PlanSite(Site):
    """Three equal hosts, two of them Ånge's with a limit, and the command line."""

    def plan(self, *words: str, code: int = 0) -> dict[str, Any]:
        return self.answer("patch", "plan", *words, code=code)

    @staticmethod
    def batches(told: dict[str, Any]) -> list[dict[str, dict[str, str]]]:
        """Of each batch the hosts, with the version of each package."""
        return [
            {item["host"]: {p["name"]: p["after"] for p in item["packages"]} for item in batch["hosts"]}
            for wave in told["plan"]["waves"]
            for batch in wave["batches"]
        ]

    @staticmethod
    def left_out(told: dict[str, Any]) -> dict[str, str]:
        return {one["host"]: one["reason"] for one in told["plan"]["left_out"]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlanSite]:
    with handed_over(tmp_path_factory.mktemp("plan"), lab.generic(3), PlanSite, described=_limit) as made:
        made.run("patch", "pending", "--refresh")
        yield made


def _limit(inventories: Path) -> None:
    with (inventories / "ange/tenant.yml").open("a") as tenant:
        tenant.write(LIMIT)
    source = inventories / "ange/source.yml"
    source.write_text(source.read_text().replace("ring: early", "ring: broad"))


def test_a_plan_of_one_package_holds_it_and_what_it_needs_and_a_limit_spreads_its_hosts(site: PlanSite) -> None:
    told = site.plan("--package", LIBRARY, "--tenant", "ange", "--explain", "host-02")
    assert [{host: list(packages) for host, packages in batch.items()} for batch in site.batches(told)] == [
        {"ange.host-01": [LIBRARY]}, {"ange.host-02": [LIBRARY]},
    ]  # fmt: skip
    assert (
        "not in batch 1: role application of ange needs 1 of 2 in service, and ange.host-01 is out"
        in told["explained"]["why"]
    )


def test_a_package_that_no_host_has_is_named_with_the_nearest_one(site: PlanSite) -> None:
    told = site.run("patch", "plan", "--package", "opslab-libary", code=3).stderr
    assert "none of the hosts has a package 'opslab-libary'" in told
    assert f"is it {LIBRARY}" in told


def test_a_neighbour_that_is_away_keeps_a_host_in_service_although_nobody_selected_it(
    site: PlanSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.break_(site.fleet.name, "host-02", "link")
    try:
        # New connections: one that stood before the link was cut is given up only after half a minute.
        with tempfile.TemporaryDirectory(prefix="o-") as runtime:
            monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
            told = site.plan("--package", LIBRARY, "--limit", "host-01", code=1)
    finally:
        lab.mend(site.fleet.name, "host-02")
    assert site.left_out(told) == {
        "ange.host-01": "role application of ange needs 1 of 2 in service, and ange.host-02 is out"
    }
    assert told["plan"]["down"] == ["ange.host-02"]


def test_a_host_that_is_offered_another_version_than_the_others_is_left_out(site: PlanSite) -> None:
    before = site.batches(site.plan("--package", LIBRARY, "--limit", "host-01"))[0]["ange.host-01"][LIBRARY]
    newer = "1.0-1+deb12u9"
    lab.publish(site.fleet.name, LIBRARY, newer)
    site.run("patch", "pending", "--refresh", "--limit", "host-03")
    told = site.plan("--package", LIBRARY, code=1)
    assert {host: found[LIBRARY] for batch in site.batches(told) for host, found in batch.items()} == {
        "ange.host-01": before, "ange.host-02": before,
    }  # fmt: skip
    assert f"it offers {LIBRARY} {newer}, and the plan has {before}" in site.left_out(told)["sundsvall.host-03"]
    assert len(site.left_out(site.plan("--package", LIBRARY, "--refresh"))) == 0
