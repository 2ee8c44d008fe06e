"""The role users on a real host: who gets in afterwards, and who does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opsctl import lab
from opsctl.ansible.runner import run_playbook
from opsctl.model.run import PlaybookRun, TaskEnded
from opsctl.ssh.session import hostside_script
from tests.integration.ground import Ground, ground

pytestmark = pytest.mark.lab

HOST = "host-01"
STRANGER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB stranger@example"
# What a former operator may have left, one line each.
LEFT_BEHIND = f"""
set -e
useradd --create-home visitor
useradd --system --shell /bin/bash olddaemon
usermod --append --groups ssh-login visitor
passwd --delete visitor
install -d -m 700 /root/.ssh && echo '{STRANGER}' > /root/.ssh/authorized_keys
echo '{STRANGER}' >> /home/opsctl/.ssh/authorized_keys
echo '{STRANGER}' > /home/opsctl/.ssh/authorized_keys2
useradd --create-home sly && usermod --append --groups sudo sly
install -d -o sly -g sly /home/sly/.ssh && ln -s /etc/shadow /home/sly/.ssh/authorized_keys
chown -h sly:sly /home/sly/.ssh/authorized_keys
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("users"), lab.generic(1)) as found:
        found.inside(HOST, LEFT_BEHIND)
        found.write(
            "ange/group_vars/all.yml", "users_absent: [gammal-admin, konsult]\nusers_sudoers_absent: [gammal-admin]\n"
        )
        yield found


def provision(place: Ground) -> PlaybookRun:
    run = run_playbook(
        "provision",
        [place.host(HOST)],
        transport=place.transport,
        inventory=place.inventory,
        settings=place.settings,
        tags=["users"],
        extra_vars={"guard_seconds": 600, "guard_token": "users", "guard_claims": place.claims},
    )
    key = place.host(HOST).key
    assert run.outcome(key) in ("ok", "changed"), run.reason(key) + run.output
    place.transport.run(place.host(HOST), hostside_script("guard"), {"action": "confirm"}, timeout=120)
    return run


def test_exactly_the_approved_get_in(place: Ground) -> None:
    run = provision(place)
    said = [e.message for e in run.events if isinstance(e, TaskEnded) and e.task.startswith("Report accounts")]
    assert len(said) == 1
    assert "sly, visitor" in said[0] or "visitor, sly" in said[0]

    passwd = place.inside(HOST, "cat /etc/passwd")
    assert "gammal-admin:" not in passwd
    assert "konsult:" not in passwd
    assert "visitor:" in passwd, "an account that nobody named is reported, never removed"
    assert "olddaemon:" in passwd
    assert place.inside(HOST, "getent passwd olddaemon").rstrip().endswith(":/usr/sbin/nologin")

    keys = place.inside(HOST, "cat /home/opsctl/.ssh/authorized_keys").splitlines()
    assert keys == [line for account in place.inventory.tenant("ange").accounts or () for line in account.keys][:1]
    place.inside(HOST, "test ! -e /home/opsctl/.ssh/authorized_keys2 && test ! -e /root/.ssh/authorized_keys")
    assert place.inside(HOST, "stat -c %a /home/ange-admin/.ssh /home/ange-admin/.ssh/authorized_keys").split() == [
        "700",
        "600",
    ]

    assert place.inside(HOST, "getent group ssh-login").strip().split(":")[3].split(",") == ["opsctl", "ange-admin"]
    assert place.inside(HOST, "awk -F: '$2 == \"\"' /etc/shadow") == "", "no empty password is left"
    assert "nullok" not in place.inside(HOST, "cat /etc/pam.d/common-auth")
    place.transport.fresh(place.host(HOST))


def test_a_second_run_changes_nothing(place: Ground) -> None:
    assert provision(place).outcome(place.host(HOST).key) == "ok"


def test_a_link_planted_by_a_user_leads_root_nowhere(place: Ground) -> None:
    """sly becomes an approved account: its planted link to /etc/shadow is replaced, never written through."""
    before = place.inside(HOST, "sha256sum /etc/shadow; stat -c '%a %U' /etc/shadow")
    accounts = [
        {"name": account.name, "keys": list(account.keys), "groups": ["ssh-login"], "automation": account.automation}
        for account in place.inventory.tenant("ange").accounts or ()
    ]
    accounts.append({"name": "sly", "keys": [STRANGER], "groups": ["ssh-login"], "automation": False})
    place.write("ange/host_vars/host-01.yml", f"users_accounts: {accounts}\n")
    provision(place)
    assert place.inside(HOST, "sha256sum /etc/shadow; stat -c '%a %U' /etc/shadow") == before
    assert place.inside(HOST, "stat -c '%F %U %a' /home/sly/.ssh/authorized_keys") == "regular file sly 600\n"
    assert place.inside(HOST, "cat /home/sly/.ssh/authorized_keys") == STRANGER + "\n"
