"""A lab's life: up, described, taken down.

`up` writes down what it is going to make (subnet and hosts) before it makes anything, and the description of the
fleet last. Everything in between can be found by the lab's name; so `down` needs no more than the name, whatever
moment `up` was killed at, and `up` itself begins by clearing away what an unfinished one left.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path

from opsctl.errors import LabError, Refused
from opsctl.lab import base, fleet, machine, mounts, network, recipe, seed, snapshots, traces, units
from opsctl.lab.base import Base
from opsctl.lab.cgroups import Groups
from opsctl.lab.command import run
from opsctl.lab.control import machines
from opsctl.lab.fleet import Fleet, LabHost
from opsctl.lab.hosts import wait_until_up
from opsctl.lab.locks import held
from opsctl.lab.mirror import Mirror
from opsctl.lab.network import Subnet
from opsctl.lab.place import CACHE, Place
from opsctl.lab.vm import base as vm_base
from opsctl.lab.vm import recipe as vm_recipe
from opsctl.lab.vm.base import MachineBase
from opsctl.lab.vm.machine import VirtualMachine
from opsctl.model.host import Account

DISK = "512m"
_SECONDS_A_MACHINE = 240.0  # to boot a virtual machine where others work too


@dataclass(frozen=True, kw_only=True)
class Foundation:
    """What a lab's hosts boot from; `machines` is there where it has virtual machines."""

    base: Base
    machines: MachineBase | None

    def layers(self, host: LabHost) -> tuple[Path, ...]:
        """What a host's file system is put together from, topmost first."""
        layers = self.base.layers(host.role)
        return (self.machines.layer, *layers) if self.machines and host.vm else layers


def quiet(_line: str) -> None:
    """For callers that want no progress."""


def up(
    name: str,
    plan: Fleet,
    *,
    say: Callable[[str], None] = quiet,
    disk: str = DISK,
    cache: Path = CACHE,
    avoid: Sequence[IPv4Network] = (),
) -> Fleet:
    """Boots the plan's hosts as the lab `name` and returns its description when all of them are up.

    `avoid` are networks that somebody else's hosts have: no subnet is chosen that meets one.

    A lab that stands already with the same hosts is returned, hosts that were off booted. `cache` is where the base
    lies or is made. Raises Refused when this machine is not fit or the lab stands with other hosts, LabError when
    something does not work.
    """
    machine.refuse_unless_fit(machines=any(host.vm for host in plan.hosts))
    place = Place(name=name, cache=cache)
    with held(place.lock, what=f"the lab {name}"):
        if standing := _standing(place, plan):
            return standing
        if place.folder.exists():
            say(f"an earlier start of the lab {name} did not end; clearing away what it left")
            _clear(place)
        try:
            return _raise(place, plan, say, disk, avoid)
        except Refused:
            # Nothing booted, so there is no log to look at either.
            _clear(place)
            raise


def down(name: str, *, cache: Path = CACHE) -> bool:
    """Takes the lab down and leaves nothing of it; False when there was nothing. Needs no more than the name.

    Raises LabError with what it found left at the end.
    """
    machine.refuse_unless_fit()
    place = Place(name=name, cache=cache)
    existed = place.folder.exists()
    with held(place.lock, what=f"the lab {name}"):
        subnet = str(_intent(place).get("subnet", ""))
        _clear(place)
        place.lock.unlink()
    with held(place.common_lock, what="the labs of this machine"):
        if not any(entry != place.common_lock for entry in place.run.iterdir()):
            place.common_lock.unlink()
            with suppress(OSError):
                place.run.rmdir()
    if left := traces.of(place, subnet):
        raise LabError(f"the lab {name} is down, but left: {'; '.join(left)}")
    return existed


# --- up, step by step ---------------------------------------------------------------------------------------------


def _standing(place: Place, plan: Fleet) -> Fleet | None:
    """The lab when it stands and is the one that is wanted, its hosts all on; raises Refused when it is another."""
    if not place.description.exists():
        return None
    lab = Fleet.from_json(place.description.read_text())
    if [host.key for host in lab.hosts] != [host.key for host in plan.hosts]:
        names = ", ".join(host.name for host in lab.hosts)
        raise Refused(f"the lab {place.name} stands with other hosts: {names}", hint="take it down, or use --name")
    if not all(item.stands() for item in machines(lab)) or not Path("/sys/class/net", place.bridge).exists():
        return None  # the machine itself was started anew since
    for item in machines(lab):
        item.start()
    Mirror(place=place, address=str(Subnet(network=IPv4Network(lab.subnet)).gateway)).start()
    wait_until_up(machines(lab), patience=_patience(lab))
    return lab


def _raise(place: Place, plan: Fleet, say: Callable[[str], None], disk: str, avoid: Sequence[IPv4Network]) -> Fleet:
    subnet = _claim(place, plan, avoid)
    groups = Groups(group=place.group)
    groups.make(base.BUILD)
    built = base.ensure(place, say=say, groups=groups.box(base.BUILD))
    machine_base = None
    if any(host.vm for host in plan.hosts):
        machine_base = vm_base.ensure(place, built, say=say, groups=groups.box(base.BUILD))
    network.make_bridge(place.bridge, subnet)
    mirror = Mirror(place=place, address=str(subnet.gateway))
    mirror.lay_out(built)
    mirror.start()
    lab = fleet.placed(
        plan, name=place.name, address=lambda n: str(subnet.host(n)), subnet=str(subnet.network), mirror=mirror.url
    )
    lab = _with_people(place, lab)
    say(f"booting {len(lab.hosts)} host{'' if len(lab.hosts) == 1 else 's'} on {subnet.network}")
    lab = _boot(place, lab, Foundation(base=built, machines=machine_base), subnet, disk)
    beside = place.description.with_suffix(".new")
    beside.write_text(lab.to_json())
    beside.replace(place.description)
    return lab


def _claim(place: Place, plan: Fleet, avoid: Sequence[IPv4Network]) -> Subnet:
    """Chooses the subnet, writes the intent, and raises the machine's limits: all that labs could quarrel about."""
    with held(place.common_lock, what="the labs of this machine"):
        others = [Place(name=name) for name in machine.labs(place.run) - {place.name}]
        for other in others:
            if other.code == place.code:
                raise Refused(
                    f"the names {place.name} and {other.name} give the same bridge", hint="use another --name"
                )
        intents = [_intent(other) for other in others]
        claimed = [IPv4Network(str(intent["subnet"])) for intent in intents if "subnet" in intent]
        subnet = network.choose(place.code, [*claimed, *avoid, *network.taken_by_machine()])
        place.folder.mkdir(parents=True, mode=0o700)
        intent = {"subnet": str(subnet.network), "hosts": len(plan.hosts), "base": str(place.cache / recipe.digest())}
        intent["machines"] = vm_recipe.digest()
        place.intent.write_text(json.dumps(intent))
        total = len(plan.hosts) + sum(int(str(intent.get("hosts", 0))) for intent in intents)
        machine.raise_inotify(place, total)
    return subnet


def _intent(place: Place) -> dict[str, object]:
    """What a lab set out to make; empty when it was killed before it wrote that down."""
    try:
        found = json.loads(place.intent.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _with_people(place: Place, lab: Fleet) -> Fleet:
    """Makes the keys: the automation's, and one for each tenant's human account, which no host has yet."""
    place.identity.mkdir(mode=0o700)
    identity = place.identity / "id_ed25519"
    automation = Account(name=fleet.AUTOMATION_USER, keys=(_key(identity, "opsctl@control"),), automation=True)
    tenants = []
    for tenant in lab.tenants:
        person = f"{tenant.name}-admin"
        human = Account(
            name=person, keys=(_key(place.identity / person, f"{person}@lab"),), groups=("sudo", "ssh-login")
        )
        tenants.append(replace(tenant, accounts=(automation, human)))
    return replace(lab, tenants=tuple(tenants), identity_file=identity, fingerprints_file=place.fingerprints)


def _key(path: Path, comment: str) -> str:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path)
    return path.with_suffix(".pub").read_text().strip()


def _boot(place: Place, lab: Fleet, built: Foundation, subnet: Subnet, disk: str) -> Fleet:
    groups = Groups(group=place.group)
    hosts = []
    key = lab.identity_file.with_suffix(".pub").read_text().strip()
    for item in machines(lab):
        item.mount(built.layers(item.host), disk)
        seed.furnish(item.root, item.host, lab, gateway=str(subnet.gateway), key=key)
        hosts.append(replace(item.host, fingerprint=seed.fingerprint(item.root)))
        if isinstance(item, VirtualMachine) and built.machines:
            item.make_disk(built.machines)
        snapshots.keep_as_found(item)
    lab = replace(lab, hosts=tuple(hosts))
    lines = (f"{host.key} {host.fingerprint}\n" for host in lab.hosts)
    lab.fingerprints_file.write_text("".join(lines))
    for item in machines(lab):
        item.start()
    groups.weigh(sum(vm_recipe.WEIGHT if host.vm else 1 for host in hosts))
    wait_until_up(machines(lab), patience=_patience(lab))
    return lab


def _patience(lab: Fleet) -> float:
    return 60.0 + sum(_SECONDS_A_MACHINE if host.vm else 3.0 for host in lab.hosts)


# --- down ------------------------------------------------------------------------------------------------------------


def _clear(place: Place) -> None:
    """Removes everything that bears the lab's name, in the order in which things hold each other."""
    groups = Groups(group=place.group)
    for unit in groups.units():
        with suppress(LabError):
            groups.freeze(unit, frozen=False)  # a frozen process does not die
    units.end_all(place.name, groups)
    _remove_nspawn_traces(place)
    mounts.unmount_below(place.folder)
    base.remove_unfinished(place)
    groups.remove()
    subnet = _intent(place).get("subnet")
    network.remove_bridge(place.bridge, Subnet(network=IPv4Network(str(subnet))) if subnet else None)
    with held(place.common_lock, what="the labs of this machine"):
        machine.put_inotify_back(place)
        mounts.remove_tree(place.snapshots)
        with suppress(OSError):
            place.snapshots.parent.rmdir()
        mounts.remove_tree(place.folder)


def _remove_nspawn_traces(place: Place) -> None:
    """systemd-nspawn that is killed leaves a lock named by the root's device and inode, and a folder by the machine."""
    traces = Path("/run/systemd/nspawn")
    for root in place.folder.glob("hosts/*/m"):
        if root.is_mount():
            status = root.stat()
            (traces / "locks" / f"inode-{status.st_dev}:{status.st_ino}").unlink(missing_ok=True)
    for trace in traces.glob(f"*/{place.bridge}n*"):
        with suppress(OSError):
            trace.rmdir() if trace.is_dir() else trace.unlink()
