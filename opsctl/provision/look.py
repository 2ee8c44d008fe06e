"""The look before a plan of provisioning: the playbook in check mode on every host that could be changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opsctl.model.host import Host
from opsctl.model.rollout import LeftOut
from opsctl.model.run import PlaybookRun
from opsctl.provision import foreseen, variables
from opsctl.provision.foreseen import Foreseen
from opsctl.provision.playbook import OnEvent, check_run
from opsctl.rollout.means import Means

CURRENT = "nothing would change"


class Look:
    """The check run of a plan: what would change on each host, and what it was read from."""

    def __init__(self, means: Means, on_event: OnEvent | None) -> None:
        self._means, self._on_event = means, on_event
        self._read: dict[str, str] = {}
        self.found: dict[str, Foreseen] = {}

    def at(self, hosts: Sequence[Host]) -> Mapping[str, LeftOut]:
        """Look at these hosts; those that are not in the plan, with the reason."""
        if not hosts:
            return {}
        self._read = variables.digests(hosts, self._means.settings)
        run = check_run(self._means, hosts, self._on_event)
        left = {}
        for key in run.hosts:
            if run.outcome(key) not in ("ok", "changed"):
                left[key] = LeftOut(host=key, reason=why_not_checked(run, key), missed=True)
            elif (one := foreseen.of(run, key)).tasks:
                self.found[key] = one
            else:
                left[key] = LeftOut(host=key, reason=CURRENT)
        return left

    def read_for(self, hosts: Sequence[Host]) -> dict[str, str]:
        """The variable files of these hosts, as they were when their check began."""
        names = variables.digests(hosts, self._means.settings)
        return {name: self._read.get(name, "") for name in names}


def why_not_checked(run: PlaybookRun, key: str) -> str:
    word = "unreachable" if run.outcome(key) == "unreachable" else "its check did not come to a good end"
    return f"{word}: {run.reason(key)}"
