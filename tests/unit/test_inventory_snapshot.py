"""What recovers a rollout works from the inventory of its beginning."""

from datetime import UTC, datetime
from pathlib import Path

from opsctl.inventory import snapshot
from opsctl.model.host import Host, Inventory, Tenant
from opsctl.state.store import Store

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def host(tenant: str, name: str, jump: str = "") -> Host:
    return Host(name=name, tenant=tenant, address="192.0.2.1", role="web", platform="debian-12", jump=jump, tags=("a",))


FLEET = Inventory(
    tenants=(
        Tenant(name="ange", title="Ånge", operator="sundsvall"),
        Tenant(name="bollnas", title="Bollnäs"),
        Tenant(name="soderhamn", title="Söderhamn"),
        Tenant(name="sundsvall", title="Sundsvall"),
    ),
    hosts=(
        host("ange", "web1", jump="soderhamn.gate"),
        host("bollnas", "web1"),
        host("soderhamn", "gate"),
        host("sundsvall", "mon1"),
    ),
    digest="abc",
)


def test_a_rollout_finds_its_hosts_their_jump_hosts_and_operators_and_nobody_elses(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert snapshot.load(store, "p1") is None
        snapshot.save(store, "p1", FLEET, ["ange.web1"], NOW)
        found = snapshot.load(store, "p1")
    assert found is not None
    assert [one.key for one in found] == ["ange.web1", "soderhamn.gate", "sundsvall.mon1"]
    assert found.host("ange.web1") == FLEET.hosts[0]
    assert [one.key for one in found.jumps(found.host("ange.web1"))] == ["soderhamn.gate"]
    assert found.digest == "abc", "the rollout still knows which inventory it was planned from"


def test_a_copy_of_another_version_is_none(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.put_fact("rollout:p1", snapshot.FACT, '{"digest": "x", "inventory": {"tenants": [], "hosts": [{}]}}', NOW)
        assert snapshot.load(store, "p1") is None


def test_the_keys_that_were_approved_at_the_beginning_are_kept_with_it(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert snapshot.approved(store, "p1") == {}
        snapshot.save(store, "p1", FLEET, ["ange.web1"], NOW, approved={"ange.web1": {"SHA256:b", "SHA256:a"}})
        assert snapshot.approved(store, "p1") == {"ange.web1": frozenset({"SHA256:a", "SHA256:b"})}
        assert snapshot.load(store, "p1") is not None
