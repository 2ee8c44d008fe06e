"""A saved plan of provisioning: made from a check run, kept with its differences, begun only where it still fits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from opsctl.inventory import snapshot
from opsctl.model.host import Host
from opsctl.model.rollout import Plan, RolloutState
from opsctl.model.run import PlaybookRun
from opsctl.provision import foreseen, variables
from opsctl.provision.arrange import Wish, arranged, timing_of
from opsctl.provision.look import Look, why_not_checked
from opsctl.provision.playbook import OnEvent, check_run
from opsctl.provision.run import rider
from opsctl.rollout import ride, stale
from opsctl.rollout.means import Means
from opsctl.rollout.ride import Ready
from opsctl.state.store import Store


def save_plan(means: Means, hosts: Sequence[Host], wish: Wish, *, on_event: OnEvent | None = None) -> RolloutState:
    """Run the playbook in check mode on every host that could be changed, and keep a plan of those where it would.

    The hosts are only read. Raises InventoryError for a calendar with faults, or variable files that must not be used.
    """
    timing = timing_of(means, wish.at, emergency=bool(wish.emergency))
    look = Look(means, on_event)
    made = arranged(means, hosts, wish, timing, look=look)
    detail: dict[str, object] = {"plan": made.id, "plan_hash": made.hash}
    detail |= {"emergency": made.emergency, "ticket": made.ticket}
    if not made.emergency:
        return _kept(means, made, look)
    with means.ledger.act("provision plan", [item.host for item in made.hosts], detail, means.who, means.clock):
        return _kept(means, made, look)


def _kept(means: Means, made: Plan, look: Look) -> RolloutState:
    hosts = [means.inventory.host(item.host) for item in made.hosts]
    with means.store.transaction():
        state = ride.keep(means, made)
        foreseen.keep(means.store, made, look.found.values(), means.clock())
        variables.keep(means, made, look.read_for(hosts))
    return state


def ready(means: Means, plan_id: str, *, on_event: OnEvent | None = None) -> Ready:
    """A saved plan that has not begun, against a fresh check of its hosts. Raises StalePlan, saying what moved."""
    state = ride.not_begun(rider(), means, plan_id)
    made, before = state.plan, snapshot.load(means.store, state.plan.id)
    # Compared first without the hosts: that says more than a host which is gone from the inventory.
    stale.refuse_stale(made, means.inventory, means.content_digest, before=before)
    hosts = [means.inventory.host(item.host) for item in made.hosts]
    stale.refuse_stale(made, means.inventory, means.content_digest, more=variables.moved(means, made))
    silent = ride.silent(means, [*hosts, *ride.fellows(rider(), means, hosts)])
    answering = [host for host in hosts if host.key not in silent]
    looked = [item for item in made.hosts if item.foreseen]
    if looked and answering:
        run = check_run(means, answering, on_event)
        moved = tuple(_hosts_moved(means.store, made, run))
        stale.refuse_stale(made, means.inventory, means.content_digest, more=moved)
    return Ready(state=state, down=silent)


def _hosts_moved(store: Store, made: Plan, run: PlaybookRun) -> Iterable[str]:
    kept = {one.host: one for one in foreseen.load(store, made)}
    for item in made.hosts:
        if item.host not in run.hosts or run.outcome(item.host) == "unreachable":
            continue
        if run.outcome(item.host) not in ("ok", "changed"):
            yield f"{item.host}: {why_not_checked(run, item.host)}"
        elif item.foreseen and (
            why := foreseen.what_moved(item.foreseen, foreseen.of(run, item.host), kept.get(item.host))
        ):
            yield why
