"""The inventory from a real NetBox with thousands of hosts: read in full, read again, and listed."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.timing import BIN, OPSCTL, Took, seconds, show, timed
from tests.netbox import real
from tests.netbox.cache import VERSION, environment
from tests.netbox.try_it import workspace

HOSTS, FEW = 5300, 530
TENANTS = ("ange", "bollnas", "soderhamn", "sundsvall")
# The newest that has netbox.netbox 3.23; a virtual environment of its own, kept in the cache.
ANSIBLE = "14.5.0"
WORKERS = 3
CHANGED = 50
_CLIENTS = (str(BIN / "python"), str(Path(__file__).with_name("clients.py")))
_ENVIRONMENT = {**os.environ, "OPSCTL_NETBOX_TOKEN": real.TOKEN, "NETBOX_TOKEN": real.TOKEN, "ANSIBLE_NOCOLOR": "1"}
_NB_INVENTORY = """\
plugin: netbox.netbox.nb_inventory
api_endpoint: {address}
token: {{type: Bearer, value: {token}}}
config_context: true
services: true
interfaces: false
racks: false
plurals: false
timeout: 300
"""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A NetBox, and a workspace that takes its hosts from there."""

    netbox: real.Real
    folder: Path

    def opsctl(self, *words: str) -> Took:
        return timed([OPSCTL, *words], cwd=self.folder, env=_ENVIRONMENT)

    def full(self) -> Took:
        """A first sync: nothing is known, everything is written."""
        shutil.rmtree(self.folder / ".state", ignore_errors=True)
        for copy in self.folder.glob("inventories/*/hosts.yml"):
            copy.unlink()
        return self.sync()

    def sync(self) -> Took:
        return self.opsctl("inventory", "sync", "--source", "netbox", "--yes")


def run(options: argparse.Namespace) -> None:
    """Everything about NetBox; `--hosts` does not count here, for the promises name their numbers."""
    with _site(FEW) as few:
        small = _several(few.full, options.runs)
    with _site(HOSTS) as site:
        bare = _bare(site)
        large = _against_others(site, options.runs, bare)
        _against_the_server(site, options.runs * 4, bare)
        _again(site, options.runs)
    rows: list[Sequence[object]] = [["what", f"{FEW} hosts", f"{HOSTS} hosts", "times"]]
    for figure in ("wall", "cpu", "memory"):
        before, after = (statistics.median(getattr(one, figure) for one in took) for took in (small, large))
        rows.append([figure, f"{before:.2f}", f"{after:.2f}", f"{after / before:.1f}"])
    show(f"Growth of a full sync, with {HOSTS / FEW:g} times as many hosts", rows)


@contextmanager
def _site(hosts: int) -> Iterator[Site]:
    with real.running(WORKERS, hosts=hosts) as netbox, tempfile.TemporaryDirectory(prefix="opsctl-bench-") as name:
        yield Site(netbox=netbox, folder=workspace(Path(name), netbox.address, TENANTS))


def _several(once: Callable[[], Took], runs: int) -> list[Took]:
    """After one that does not count: the server's workers warm up."""
    return [once() for _ in range(runs + 1)][1:]


def _bare(site: Site) -> Callable[[], Took]:
    """The requests for all pages, and nothing done with the answers; once now, so that the server is warm."""
    pages = site.folder / "pages.json"
    pages.write_text(json.dumps(_pages(site.netbox.address)))
    bare = partial(timed, [*_CLIENTS, "bare", str(pages)], cwd=site.folder, env=_ENVIRONMENT)
    bare()
    return bare


def _against_the_server(site: Site, pairs: int, bare: Callable[[], Took]) -> None:
    """A full sync and the bare requests in turn, often: one page that takes the server longer decides a single pair."""
    found = sorted(site.full().wall / bare().wall for _ in range(pairs))
    row = [f"{value:.2f}" for value in (statistics.median(found), found[0], found[-1])]
    show(f"{pairs} pairs: wall time of a full sync in times of the bare requests", [["median", "least", "most"], row])


def _against_others(site: Site, runs: int, bare: Callable[[], Took]) -> list[Took]:
    """A full sync, and each other way to have the same hosts, in turn."""
    ansible = environment(f"ansible-{ANSIBLE}", f"ansible=={ANSIBLE}", "pytz")
    plugin = site.folder / "netbox_inventory.yml"
    plugin.write_text(_NB_INVENTORY.format(address=site.netbox.address, token=real.TOKEN))
    written = [str(ansible / "bin/ansible-inventory"), "-i", str(plugin), "--list", "--output", str(plugin) + ".json"]
    ways: Mapping[str, Callable[[], Took]] = {
        "opsctl inventory sync, in full": site.full,
        f"nb_inventory (ansible {ANSIBLE}), written as JSON": partial(
            timed, written, cwd=site.folder, env=_ENVIRONMENT
        ),
        "pynetbox all() to dict": partial(
            timed, [*_CLIENTS, "pynetbox", site.netbox.address], cwd=site.folder, env=_ENVIRONMENT
        ),
        "the bare requests": bare,
    }
    rounds = [[way() for way in ways.values()] for _ in range(runs)]
    ours, *_ = columns = list(zip(*rounds, strict=True))
    rows: list[Sequence[object]] = [["what", "wall s", "cpu s", "memory MiB", "times our wall", "times our cpu"]]
    for name, took in zip(ways, columns, strict=True):
        memory = max(one.memory for one in took)
        rows.append([name, seconds(took, "wall"), seconds(took, "cpu"), f"{memory:.0f}",
                     _times(took, ours, "wall"), _times(took, ours, "cpu")])  # fmt: skip
    show(f"{HOSTS} hosts from NetBox {VERSION} (median of {runs}, in turn)", rows)
    return list(ours)


def _times(theirs: Sequence[Took], ours: Sequence[Took], figure: str) -> str:
    ratios = [getattr(a, figure) / getattr(b, figure) for a, b in zip(theirs, ours, strict=True)]
    return f"{statistics.median(ratios):.2f}"


def _pages(address: str) -> list[str]:
    """The addresses of all pages of hosts and services, the dearest first."""
    import requests

    from opsctl.inventory import pull, record

    def ids(path: str) -> list[int]:
        found: list[int] = []
        query = {"fields": "id", "limit": "1000", "ordering": "id"}
        while True:
            answer = requests.get(
                f"{address}/api/{path}/", {**query, "offset": str(len(found))},
                headers={"Authorization": f"Bearer {real.TOKEN}"}, timeout=60,
            ).json()  # fmt: skip
            found += [row["id"] for row in answer["results"]]
            if not answer["next"]:
                return found

    asked = [(path, pull.FIELDS) for path in (*record.PATHS.values(),)[::-1]] + [(pull.SERVICES, pull.SERVICE_FIELDS)]
    return [
        f"{address}/api/{path}/?fields={chosen}&start={start}&limit=1000"
        for path, chosen in asked
        for start in ids(path)[::1000]
    ]


def _again(site: Site, runs: int) -> None:
    """What is left to do once the hosts are known."""
    _changed(site)  # a changelog that is empty, as after seeding, is one that cannot be trusted
    rows: list[Sequence[object]] = [["what", "wall s", "cpu s", "memory MiB"]]
    for name, once in (
        ("nothing has changed", site.sync),
        (f"{CHANGED} hosts have changed", partial(_changed, site)),
        ("inventory list", partial(site.opsctl, "inventory", "list")),
        ("inventory list -o json", partial(site.opsctl, "inventory", "list", "-o", "json")),
        ("inventory diff", partial(site.opsctl, "inventory", "diff", "--source", "netbox")),
        ("inventory show", partial(site.opsctl, "inventory", "show", "ange.ange-web0000")),
        ("opsctl (bare)", site.opsctl),
    ):
        took = _several(once, runs)
        memory = max(one.memory for one in took)
        rows.append([name, seconds(took, "wall"), seconds(took, "cpu"), f"{memory:.0f}"])
    show(f"{HOSTS} hosts that are known already (median of {runs})", rows)


def _changed(site: Site) -> Took:
    """A sync after some hosts have got another owner."""
    import pynetbox

    machines = pynetbox.api(site.netbox.address, token=real.TOKEN).virtualization.virtual_machines
    listed = list(machines.filter(limit=CHANGED, offset=0))[:CHANGED]
    mark = os.urandom(4).hex()
    machines.update([{"id": one.id, "custom_fields": {"owner": f"owner {mark}"}} for one in listed])
    return site.sync()
