"""`make netbox`: a real NetBox with two municipalities and a workspace that is set up for it, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from opsctl import config
from opsctl.overview.workspace import ANSIBLE_PLUGIN, GITIGNORE
from tests.netbox import real
from tests.netbox.cache import Impossible

TENANT = """\
version: 1
name: {name}
windows: [{{name: weeknights, days: [mon, tue, wed, thu], start: "22:00", end: "04:00"}}]
"""
SETTINGS: dict[str, config.Value] = {
    "inventory.source": "netbox",
    "netbox.token_file": "netbox.token",
    "netbox.owner": "field:owner",
    "netbox.criticality": "field:criticality",
}


_READY = """\
NetBox:     {netbox} (admin, admin-opsctl-test)
token:      {token}
workspace:  {workspace}

In another terminal:
  alias o='{opsctl} -C {workspace}'
  o inventory sync             # 56 hosts of two municipalities, and records that cannot be used
  o inventory list
  o inventory quarantine       # why not, each with a link into NetBox
  o inventory graph
  {ansible} -i {workspace}/inventories/opsctl.yml --graph
  o inventory setup-netbox     # opsctl's own custom fields, which `o inventory push` fills
Change something in NetBox, then: o inventory diff
Nobody is at the hosts' addresses: verbs that ask the hosts themselves find them unreachable.

Ctrl-C ends it; nothing of it stays."""


def workspace(folder: Path, address: str, tenants: Sequence[str] = ("ange", "sundsvall")) -> Path:
    """A workspace for the seeded NetBox."""
    (folder / "opsctl.yml").write_text(config.example({**SETTINGS, "netbox.url": address}), encoding="utf-8")
    (folder / ".gitignore").write_text(GITIGNORE, encoding="utf-8")
    token = folder / "netbox.token"
    token.touch(mode=0o600)
    token.write_text(real.TOKEN, encoding="ascii")
    (folder / "inventories").mkdir()
    (folder / "inventories/opsctl.yml").write_text(ANSIBLE_PLUGIN, encoding="utf-8")
    for name in tenants:
        (folder / "inventories" / name).mkdir()
        (folder / "inventories" / name / "tenant.yml").write_text(TENANT.format(name=name), encoding="utf-8")
    return folder


def main() -> int:
    # A closed terminal and a kill end it as Ctrl-C does: with nothing left behind.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    try:
        with real.running(tell=tell) as netbox:
            folder = netbox.folder / "workspace"
            folder.mkdir()
            tell(_READY.format(netbox=netbox.address, workspace=workspace(folder, netbox.address),
                               opsctl=Path(sys.executable).with_name("opsctl"), token=real.TOKEN,
                               ansible=Path(sys.executable).with_name("ansible-inventory")))  # fmt: skip
            signal.pause()
    except Impossible as error:
        print(f"no NetBox here: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        tell("NetBox, its database and the workspace are gone")
    return 0


def tell(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
