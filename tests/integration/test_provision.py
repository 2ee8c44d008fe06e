"""`opsctl provision` on real hosts: a mistake that would lock us out stops it, and the host mends itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from opsctl import lab
from tests.integration.ground import wait_until
from tests.integration.site import Site, handed_over

pytestmark = pytest.mark.lab

MISTAKE = "firewall_management_networks: [203.0.113.0/24]\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two hosts in two rings, and their workspace."""
    plan = lab.only(lab.demo(), ["ange-file1", "sundsvall-mon1"])
    with handed_over(tmp_path_factory.mktemp("provision"), plan, Site) as made:
        yield made


def answers(site: Site, host: str) -> bool:
    return site.run("host", "probe", "--limit", host, code=None).returncode == 0


def test_a_dry_run_shows_the_rings_and_touches_nothing(site: Site) -> None:
    waves = site.answer("provision", "--dry-run")["plan"]["waves"]
    assert [(wave["ring"], [[i["host"] for i in b["hosts"]] for b in wave["batches"]]) for wave in waves] == [
        ("canary", [["ange.ange-file1"]]),
        ("early", [["sundsvall.sundsvall-mon1"]]),
    ]


def test_a_host_that_does_not_answer_is_left_out_and_said_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSCTL_SSH_CONNECT_TIMEOUT", "2")
    lab.break_(site.fleet.name, "sundsvall-mon1", "link")
    try:
        answer = site.answer("provision", "--dry-run", code=1)
    finally:
        lab.mend(site.fleet.name, "sundsvall-mon1")
    assert answer["outcome"] == "incomplete"
    assert answer["plan"]["left_out"][0]["host"] == "sundsvall.sundsvall-mon1"
    monkeypatch.undo()
    wait_until(lambda: answers(site, "sundsvall-mon1"), 90, "the host answers again")


def test_a_lock_out_stops_at_the_first_host_which_undoes_it_and_a_resume_mends_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSCTL_PROVISION_CONFIRM_SECONDS", "60")
    monkeypatch.setenv("OPSCTL_SSH_CONNECT_TIMEOUT", "8")
    variables = site.workspace / "inventories/ange/host_vars/ange-file1.yml"
    variables.parent.mkdir(parents=True, exist_ok=True)
    variables.write_text(MISTAKE)
    done = site.run("provision", "--yes", "--output", "json", code=5)
    answer = json.loads(done.stdout)
    states = {one["host"]: one for one in answer["hosts"]}
    assert states["ange.ange-file1"]["stage"] == "unknown", done.stderr
    assert states["sundsvall.sundsvall-mon1"]["stage"] == "planned", done.stderr
    assert "remaining: ange.ange-file1, sundsvall.sundsvall-mon1" in done.stderr
    assert site.inside("sundsvall-mon1", "ls /etc/ssh/sshd_config.d") == "50-partner.conf"

    wait_until(lambda: answers(site, "ange-file1"), 90, "the host lets us in again")

    # The mistake is mended, and the same rollout goes on: the host that undid the change gets it right this time.
    variables.unlink()
    monkeypatch.setenv("OPSCTL_PROVISION_CONFIRM_SECONDS", "600")
    ended = site.answer("provision", "resume", answer["id"], "--yes")
    assert {one["stage"] for one in ended["hosts"]} == {"done"}
    guard = "python3 -I /var/lib/opsctl/guard/guard.py status"
    for host in ("ange-file1", "sundsvall-mon1"):
        assert json.loads(site.inside(host, guard))["state"] == "idle"
