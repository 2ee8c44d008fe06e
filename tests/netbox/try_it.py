"""`make netbox`: a real NetBox with two municipalities and a workspace that is set up for it, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from opsctl import config
from tests.netbox import real

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


def workspace(folder: Path, address: str, tenants: Sequence[str] = ("ange", "sundsvall")) -> Path:
    """A workspace for the seeded NetBox."""
    (folder / "opsctl.yml").write_text(config.example({**SETTINGS, "netbox.url": address}), encoding="utf-8")
    token = folder / "netbox.token"
    token.touch(mode=0o600)
    token.write_text(real.TOKEN, encoding="ascii")
    for name in tenants:
        (folder / "inventories" / name).mkdir(parents=True)
        (folder / "inventories" / name / "tenant.yml").write_text(TENANT.format(name=name), encoding="utf-8")
    return folder


def main() -> int:
    print("a real NetBox starts; the first time its environment and database are made, which takes minutes", flush=True)
    try:
        with real.running() as netbox, tempfile.TemporaryDirectory(prefix="opsctl-netbox-") as name:
            folder = workspace(Path(name), netbox.address)
            print(f"NetBox:     {netbox.address} (admin, admin-opsctl-test)\ntoken:      {real.TOKEN}")
            print(f"workspace:  {folder}\ntry:        opsctl -C {folder} inventory sync\nCtrl-C ends it", flush=True)
            signal.pause()
    except real.Impossible as error:
        print(f"no NetBox here: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
