"""The playbook of provisioning in check mode, and what is recorded of every run of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from opsctl.ansible.runner import run_playbook
from opsctl.model.host import Host
from opsctl.model.run import PlaybookRun, RunEvent, TaskEnded
from opsctl.provision.change import PLAYBOOK
from opsctl.rollout.means import Means
from opsctl.state.store import Store

OnEvent = Callable[[RunEvent], None]
KIND = "provision"


def check_run(means: Means, hosts: Sequence[Host], on_event: OnEvent | None) -> PlaybookRun:
    """What the playbook would change on these hosts; it changes nothing."""
    done = run_playbook(
        PLAYBOOK,
        hosts,
        transport=means.transport,
        inventory=means.inventory,
        settings=means.settings,
        check=True,
        on_event=on_event,
    )
    keep(means.store, done)
    return done


def keep(store: Store, done: PlaybookRun) -> None:
    """Record a playbook run: what changed or failed, and each host's end."""
    detail = {"playbook": done.playbook, "check": done.check, "hosts": list(done.hosts), "exit_code": done.exit_code}
    with store.transaction():
        run_id = store.new_run(KIND, json.dumps(detail), done.started)
        told = (event for event in done.events if isinstance(event, TaskEnded))
        store.add_events(
            run_id,
            [
                (event.host, event.outcome, json.dumps({"task": event.task, "message": event.message}), event.at)
                for event in told
                if event.outcome not in ("ok", "skipped")
            ],
        )
        store.end_run(run_id, "ok" if done.good else "failed", done.ended)
