"""Provision: the roles on every host, batch by batch."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.lab import fleet
from tests.bench.timing import BIN, HEAD, OPSCTL, Took, answer, compared, show, timed, together


def run(options: argparse.Namespace) -> None:
    """First and second provision against plain `ansible-playbook`: the same roles, variables and batches."""
    count, rows = options.hosts, [HEAD]
    with fleet(count) as workspace:
        batches = _batches(workspace, count)
        ours = [timed(_ours(count), cwd=workspace) for _ in range(2)]
    with fleet(count) as workspace:
        theirs = [_plain(workspace, batches) for _ in range(2)]
        at_once = _plain(workspace, [[host for batch in batches for host in batch]])
        again = timed(_ours(count), cwd=workspace)  # last: its claims on the hosts outlast it
    instead = "ansible-playbook a batch"
    for run, name in enumerate(("first provision", "second provision")):
        rows.append([str(x) for x in compared(name, [ours[run]], instead, [theirs[run]])])
    rows.append([str(x) for x in compared("second, same hosts as plain", [again], instead, [theirs[1]])])
    rows.append([str(x) for x in compared("second", [ours[1]], "ansible-playbook, all at once", [at_once])])
    show(f"Provision of {count} hosts in {len(batches)} batches", rows)


def _ours(count: int) -> list[str]:
    return [OPSCTL, "provision", "--yes", "--hosts", str(count)]


def _batches(workspace: Path, count: int) -> list[list[str]]:
    """The batches that opsctl itself would make, for the plain run to follow."""
    command = [OPSCTL, "provision", "--dry-run", "--hosts", str(count), "-o", "json"]
    waves = json.loads(answer(command, workspace))["plan"]["waves"]
    return [[item["host"] for item in batch["hosts"]] for wave in waves for batch in wave["batches"]]


def _plain(workspace: Path, batches: Sequence[Sequence[str]]) -> Took:
    """What a careful user does by hand: pipelining, shared connections, enough forks, one playbook run a batch."""
    from opsctl import config, content
    from opsctl.ansible import configuration, render
    from opsctl.inventory import files
    from opsctl.ssh.hostkeys import Pins
    from opsctl.ssh.session import Transport

    settings = config.load(workspace, {})
    inventory = files.load(settings)
    with (
        tempfile.TemporaryDirectory() as folder,
        Transport(inventory, Pins.load(settings.inventories), settings) as way,
    ):
        plain = Path(folder)
        chosen = [inventory.host(host) for batch in batches for host in batch]
        render.write_inventory(plain, chosen, inventory, settings)
        ssh_config = way.config_for(chosen)
        text = configuration.ansible_cfg(plain, ssh_config=ssh_config, forks=len(chosen), settings=settings)
        (plain / "ansible.cfg").write_text(text.replace("stdout_callback = opsctl_events", "stdout_callback = default"))
        fixed = configuration.connection(chosen, ssh_config, settings.text("ssh.user"))
        nobodys = {"claimant": "bench", "token": 1, "claim_seconds": 0}  # blocks no run after it
        claims = dict.fromkeys((host.key for host in chosen), nobodys)
        (plain / "extra.yml").write_text(json.dumps({**fixed, "guard_claims": claims}))
        playbook = content.folder("playbooks") / "provision.yml"
        environment = {**os.environ, "ANSIBLE_CONFIG": str(plain / "ansible.cfg"), "HOME": folder, "LC_ALL": "C.UTF-8"}
        took = []
        for batch in batches:
            command = [str(BIN / "ansible-playbook"), "-i", str(plain / "inventory.yml"), "-e", f"@{plain}/extra.yml",
                       "--limit", ",".join(batch), str(playbook)]  # fmt: skip
            took.append(timed(command, cwd=plain, env=environment))
        return together(took)
