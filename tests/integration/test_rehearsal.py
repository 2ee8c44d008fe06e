"""A plan rehearsed on doubles: what it foresees, what it cannot, and that nothing of it stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opsctl import config, lab
from opsctl.lab import machine
from opsctl.lab.place import RUN, Place
from opsctl.lab.stage import orphans
from tests.integration.site import Site, handed_over

pytestmark = pytest.mark.lab

LIBRARY, SERVICE, KERNEL, FRAGILE = "opslab-library", "opslab-service", "opslab-kernel", "opslab-fragile"


class RehearsalSite(Site):
    """Three hosts of two kinds of package set, and the command line; `packages` is what their mirror has."""

    @property
    def packages(self) -> str:
        return str(Place(name=self.fleet.name).mirror)

    def plan(self, *words: str) -> str:
        return str(self.answer("patch", "plan", *words)["plan"]["id"])

    def rehearse(self, plan: str, *words: str, code: int = 0) -> tuple[dict[str, Any], str]:
        done = self.run(
            "patch", "rehearse", plan, "--packages", self.packages, "--yes", "-o", "json", *words, code=code
        )
        return json.loads(done.stdout), done.stderr

    def versions(self, host: str) -> str:
        shown = lab.execute(self.fleet.name, host, ["dpkg-query", "-W", "-f", "${Package}=${Version} ", "opslab-*"])
        return shown.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RehearsalSite]:
    with handed_over(tmp_path_factory.mktemp("rehearsal"), lab.generic(3), RehearsalSite) as made:
        made.run("patch", "pending", "--refresh")
        made.inside("host-03", "apt-get -qq -y install acl")
        yield made


def test_a_rehearsal_tells_what_restarts_and_reboots_and_cannot_foresee_what_only_one_host_has(
    site: RehearsalSite,
) -> None:
    lab.execute(site.fleet.name, "host-01", ["touch", "/etc/opslab-fragile.fail"])
    plan = site.plan("--package", f"{LIBRARY},{SERVICE},{KERNEL},{FRAGILE}")
    before = site.versions("host-01")
    assert "never rehearsed" in site.run("patch", "start", plan, "--dry-run").stdout
    told, said = site.rehearse(plan)
    assert told["outcome"] == "ok", said
    found = told["rehearsal"]["trials"]
    assert sorted(sorted(one["hosts"]) for one in found) == [["ange.host-01", "ange.host-02"], ["sundsvall.host-03"]]
    for one in found:
        assert (one["stage"], one["not_alike"], one["reboot"]) == ("done", [], True)
        assert "opslab-service.service" in one["restarted"]
        assert one["packages"] == 4
    assert any("local configuration" in text for text in told["rehearsal"]["cannot_foresee"])
    assert site.versions("host-01") == before
    assert orphans("rehearsal") == ()
    assert "root: ok (2 of 2 doubles well)" in site.run("patch", "start", plan, "--dry-run").stdout
    assert "ok (2 of 2 doubles well)" in site.run("patch", "status", plan).stdout


def test_a_killed_rehearsal_is_cleared_by_the_next_which_finds_the_version_that_fails(site: RehearsalSite) -> None:
    lab.publish(site.fleet.name, LIBRARY, "1.0-1+deb12u7", post_install="echo no such thing >&2; exit 3")
    plan = site.plan("--package", LIBRARY, "--limit", "host-01,host-02", "--refresh")
    process = subprocess.Popen(
        site.command("patch", "rehearse", plan, "--packages", site.packages, "--yes"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        mine = _wait_for_lab_of(process)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert mine in orphans("rehearsal")
    assert mine in site.run("lab", "list").stdout
    told, said = site.rehearse(plan, code=1)
    assert f"{mine}: left by a rehearsal whose process is gone" in said
    assert mine not in machine.labs(RUN)
    assert not (config.load(site.workspace, {}).runtime.parent / mine).exists()
    assert told["outcome"] == "failed"
    (one,) = told["rehearsal"]["trials"]
    assert (one["stage"], one["hosts"]) == ("failed", ["ange.host-01", "ange.host-02"])
    assert "apt-get ended with 100" in one["reason"]
    assert "rehearsed" in site.run("patch", "status", plan).stdout


def _wait_for_lab_of(process: subprocess.Popen[bytes]) -> str:
    """The name of the lab that a rehearsal has begun to make."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it had a lab"
        if found := [name for name in machine.labs(RUN) if name.startswith(f"rehearsal-{process.pid}-")]:
            return found[0]
        time.sleep(0.05)
    raise AssertionError("no lab within 120 s")


def test_what_cannot_be_had_is_named_and_the_verdict_is_never_green(site: RehearsalSite, tmp_path: Path) -> None:
    """No archive has the lab's own packages: neither the double's old ones, nor the one to install."""
    plan = site.plan("--package", SERVICE, "--limit", "host-01")
    done = site.run("patch", "rehearse", plan, "--packages", str(tmp_path), "--yes", "-o", "json", code=1)
    told = json.loads(done.stdout)
    assert told["outcome"] == "incomplete"
    (one,) = told["rehearsal"]["trials"]
    assert one["stage"] is None
    assert f"cannot be had: {SERVICE}=1.0-1+deb12u1" in one["reason"]
    assert "is incomplete" in done.stderr
