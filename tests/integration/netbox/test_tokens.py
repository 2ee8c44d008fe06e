"""A token of its own for each tenant: what it may not see it neither brings nor changes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opsctl import config
from opsctl.cli.main import run
from opsctl.state.store import Store
from tests.integration.netbox.test_changes import VMS, Api
from tests.netbox.real import TOKEN, Real

pytestmark = pytest.mark.netbox
Capture = pytest.CaptureFixture[str]
TENANTS = ("ange", "sundsvall")
TOKENS = {slug: f"nbt_opsctlonly{number}0.{str(number) * 40}" for number, slug in enumerate(TENANTS, 1)}
MADE = f"""
from core.models import ObjectType
from users.models import ObjectPermission, Token, User
def may(user, actions, models, constraints=None):
    made = ObjectPermission.objects.create(name=f"{{user}} {{models[0]}}", actions=actions, constraints=constraints)
    made.object_types.set([ObjectType.objects.get_by_natural_key(*model.split(".")) for model in models])
    made.users.add(user)
for slug, text in {TOKENS!r}.items():
    user = User.objects.create_user(username=f"only-{{slug}}", password="only-opsctl-test")
    key, _, token = text.removeprefix("nbt_").partition(".")
    Token(user=user, version=2, key=key, token=token, write_enabled=True).save()
    own = {{"tenant__slug": slug}}
    may(user, ["view", "add", "change"], ["dcim.device", "virtualization.virtualmachine"], own)
    may(user, ["view"], ["ipam.service"], [{{"virtual_machine__tenant__slug": slug}}, {{"device__tenant__slug": slug}}])
    may(user, ["view"], ["tenancy.tenant"], {{"slug": slug}})
    may(user, ["view"], ["dcim.site", "dcim.devicerole", "dcim.platform", "virtualization.cluster",
                         "extras.customfield", "core.objectchange"])
    may(user, ["view", "add"], ["virtualization.vminterface"], {{"virtual_machine__tenant__slug": slug}})
    may(user, ["view", "add"], ["ipam.ipaddress"], own)
"""


@pytest.fixture(scope="module", name="only")
def _only(real: Real) -> Real:
    """A user for each tenant, with a token that shows and changes that tenant's machines alone."""
    real.shell(MADE)
    return real


@pytest.fixture(name="own")
def _own(only: Real, workspace: Path) -> Path:
    """The workspace, with a token file for each tenant in place of the one for all."""
    file = workspace / "opsctl.yml"
    file.write_text(file.read_text().replace("netbox.token", "{tenant}.token"))
    assert "{tenant}.token" in file.read_text()
    hand_out(workspace, TOKENS)
    return workspace


def hand_out(workspace: Path, tokens: dict[str, str]) -> None:
    for slug, text in tokens.items():
        path = workspace / f"{slug}.token"
        path.touch(mode=0o600)
        path.write_text(text)


def copies(workspace: Path) -> dict[str, str]:
    return {slug: (workspace / f"inventories/{slug}/hosts.yml").read_text() for slug in TENANTS}


def test_both_tokens_together_bring_what_one_for_all_brings(
    own: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["inventory", "sync", "--yes"]) == 0
    found = copies(own)
    assert "sundsvall-" not in found["ange"]
    assert "ange-" not in found["sundsvall"]
    monkeypatch.setenv("OPSCTL_NETBOX_TOKEN", TOKEN)
    capsys.readouterr()
    assert run(["inventory", "sync", "--yes", "--full", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert not any(told["diff"].values())
    assert copies(own) == found


def test_a_token_of_another_tenant_brings_nothing_and_changes_nothing(own: Path, capsys: Capture) -> None:
    assert run(["inventory", "sync", "--yes"]) == 0
    found = copies(own)
    hand_out(own, {"ange": TOKENS["sundsvall"], "sundsvall": TOKENS["ange"]})
    capsys.readouterr()
    assert run(["inventory", "sync", "--yes", "--full"]) == 3
    assert copies(own) == found


def test_each_tenants_values_are_written_with_its_own_token(
    own: Path, only: Real, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = Api(only.address)
    assert run(["inventory", "setup-netbox", "--yes"]) == 3
    assert "each tenant has a token of its own" in capsys.readouterr().err
    with monkeypatch.context() as admin:
        admin.setenv("OPSCTL_NETBOX_TOKEN", TOKEN)
        assert run(["inventory", "setup-netbox", "--yes"]) == 0
    assert run(["inventory", "sync", "--yes"]) == 0
    with Store.open(config.load(own, {}).state) as store:
        for key in ("ange.ange-web00", "sundsvall.sundsvall-web00"):
            store.put_fact(key, "pending", '{"pending_security": 5}', datetime(2026, 11, 22, tzinfo=UTC))
    hand_out(own, {"ange": TOKENS["sundsvall"], "sundsvall": TOKENS["ange"]})
    assert run(["inventory", "push", "--yes"]) == 0
    for name in ("ange-web00", "sundsvall-web00"):
        assert api.vm(name)["custom_fields"]["opsctl_pending_security"] is None, "the other token does not see it"
    hand_out(own, TOKENS)
    assert run(["inventory", "push", "--yes"]) == 0
    for name in ("ange-web00", "sundsvall-web00"):
        found = api.vm(name)
        assert found["custom_fields"]["opsctl_pending_security"] == 5
        change = api.one("core/object-changes", changed_object_id=str(found["id"]), ordering="-id")
        assert change["user_name"] == f"only-{found['tenant']['slug']}"


def test_records_of_two_tenants_are_made_with_the_token_of_each(own: Path, only: Real, capsys: Capture) -> None:
    api = Api(only.address)
    (own / "records.yml").write_text(
        "version: 1\nrecords:\n"
        + "".join(
            f"  - {{name: own-{slug}, tenant: {slug}, site: {slug}-hall, cluster: {slug}-pve, role: web,"
            f" address: 10.77.{number}.1/24}}\n"
            for number, slug in enumerate(TENANTS)
        )
    )
    words = ["inventory", "push", "--from", str(own / "records.yml"), "--yes"]
    hand_out(own, {"ange": TOKENS["sundsvall"], "sundsvall": TOKENS["ange"]})
    assert run(words) == 3
    assert "NetBox has no tenant 'ange', or the token may not see it" in capsys.readouterr().err
    assert api.call("GET", f"{VMS}/?name__isw=own-")["count"] == 0
    hand_out(own, TOKENS)
    assert run(words) == 0
    for slug in TENANTS:
        found = api.vm(f"own-{slug}")
        assert found["tenant"]["slug"] == slug
        change = api.one("core/object-changes", changed_object_id=str(found["id"]), ordering="-id")
        assert change["user_name"] == f"only-{slug}"
