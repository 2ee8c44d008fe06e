"""What else reads NetBox, each as a process of its own: `clients.py pynetbox ADDRESS`, `clients.py bare FILE`.

The token comes from OPSCTL_NETBOX_TOKEN.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TOKEN = os.environ["OPSCTL_NETBOX_TOKEN"]


def pynetbox_all(address: str) -> None:
    """Hosts and services with pynetbox's own `all()`, as dictionaries, in pages of 1,000."""
    import pynetbox

    api = pynetbox.api(address, token=TOKEN)
    kinds = (api.dcim.devices, api.virtualization.virtual_machines, api.ipam.services)
    found = [[dict(one) for one in kind.all(limit=1000)] for kind in kinds]
    print(*map(len, found))


def bare(file: str) -> None:
    """These addresses, two at a time, and nothing else: what the server itself needs."""
    import requests

    def get(address: str) -> int:
        return len(requests.get(address, headers={"Authorization": f"Bearer {TOKEN}"}).content)

    with ThreadPoolExecutor(2) as pool:
        print(sum(pool.map(get, json.loads(Path(file).read_text()))))


if __name__ == "__main__":
    {"pynetbox": pynetbox_all, "bare": bare}[sys.argv[1]](sys.argv[2])
