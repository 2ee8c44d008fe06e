# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible callback: each event of a run as one line of JSON on an inherited pipe; nothing on the screen.

Only what is kept later leaves this process: task, role, host, outcome, message, and in check mode the diff. Results
that a task hides with `no_log` arrive here censored already; what the vault holds is replaced here, whatever task wrote
it. When nobody reads the pipe any more, the run is stopped:
changes that no one records must not go on.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible._internal._datatag._tags import Origin
from ansible.parsing.vault import EncryptedString
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: opsctl_events
    type: stdout
    short_description: events as JSON lines on an inherited pipe
    description:
      - The stdout callback of opsctl's own runs. The pipe's number comes in the variable OPSCTL_EVENTS_FD.
"""

MESSAGE_LIMIT = 4000
DIFF_LIMIT = 20000
HIDDEN = "[redacted]"
SHORTEST = 4  # as state/redaction.py: shorter values occur in ordinary words
LINE = 16  # a secret of several lines leaks just as well line by line
WHEN = {"before": "now", "after": "after"}
_HEADER = re.compile(r"^(---|\+\+\+) (before|after): (.*)$", re.MULTILINE)


class CallbackModule(CallbackBase):  # type: ignore[misc] # Ansible carries no types
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "opsctl_events"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pipe = int(os.environ["OPSCTL_EVENTS_FD"])
        os.set_inheritable(self._pipe, False)  # ssh masters outlive us and would hold it open
        self._plays: list[Any] = []  # of the playbook, in order
        self._begun: list[tuple[Any, set[str]]] = []  # each play that began, once a `serial` batch, with its hosts
        self._secrets: list[str] = []  # the longest first

    def _tell(self, kind: str, **fields: Any) -> None:
        line = json.dumps({"kind": kind, "at": time.time(), **fields}, default=str) + "\n"
        data = line.encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(self._pipe, data) :]
        except BrokenPipeError:
            # Ansible passes it on to its workers and ends at once; its own way of ending on SIGINT can hang in a lock.
            os.kill(os.getpid(), signal.SIGTERM)

    def _start(self, task: Any) -> None:
        self._tell("task", **_names(task))

    def _end(self, outcome: str, result: Any, *, ignored: bool = False) -> None:
        found = result.result
        if outcome == "ok" and found.get("changed"):
            outcome = "changed"
        fields = {"host": result.host.get_name(), "outcome": outcome, **_names(result.task)}
        hidden = bool(found.get("_ansible_no_log")) or bool(getattr(result.task, "no_log", False))
        if hidden:
            fields["message"] = "hidden by no_log" if outcome in ("failed", "unreachable") else ""
        else:
            fields["message"] = self._open(_message(found, outcome, result.task.action))
            given = (getattr(result, "task_fields", None) or {}).get("args") or {}
            diff = self._open("".join(self._diff(diffs, arguments) for diffs, arguments in _differences(found, given)))
            if diff:
                fields["diff"] = diff[:DIFF_LIMIT]
        self._tell("result", ignored=ignored, **fields)

    def _diff(self, diffs: Any, arguments: Mapping[str, Any]) -> str:
        """Ansible's own text, under the name of the file on the host: Ansible names a new one by our temporary copy."""
        target = str(arguments.get("dest") or arguments.get("path") or "")
        named = []
        for diff in diffs if isinstance(diffs, list) else [diffs]:
            before = diff.get("before")
            inside = before.get("path") if isinstance(before, Mapping) else ""
            path = diff.get("before_header") or target or inside or diff.get("after_header") or "the present state"
            named.append({**diff, "before_header": path, "after_header": path})
        return _HEADER.sub(lambda found: f"{found[1]} {found[3]} ({WHEN[found[2]]})", str(self._get_diff(named)))

    def _open(self, text: str) -> str:
        """What may leave this process of a text: before it is cut, or half a secret would be left."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def _learn_secrets(self, play: Any) -> None:
        """What the vault holds of the variables of the play's hosts, as it is, in base64 and line by line."""
        manager = play.get_variable_manager()
        names = _hosts(play, "ansible_play_batch")
        known, vaulted = set(self._secrets), dict[str, bool]()
        for host in (host for host in manager._inventory.get_hosts() if host.get_name() in names):
            for secret in _sealed(manager.get_vars(play=play, host=host, include_hostvars=False), vaulted):
                known |= {secret, base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode().rstrip("=")}
                known |= {line.strip() for line in secret.splitlines() if len(line.strip()) >= LINE}
        self._secrets = sorted(known, key=lambda one: (-len(one), one))

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._plays = list(playbook.get_plays())

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._begun.append((play, _hosts(play, "ansible_play_batch")))
        self._learn_secrets(play)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: FBT001 - Ansible's signature
        self._start(task)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self._start(task)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._end("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: FBT001, FBT002
        self._end("failed", result, ignored=ignore_errors)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._end("skipped", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._end("unreachable", result, ignored=bool(getattr(result.task, "ignore_unreachable", False)))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        cut_short = self._cut_short(trouble=bool(stats.failures or stats.dark))
        for host in sorted(stats.processed):
            counts = stats.summarize(host)
            counts["failed"] = counts.pop("failures")
            self._tell("recap", host=host, cut_short=host in cut_short, **counts)

    def _cut_short(self, *, trouble: bool) -> set[str]:
        """The hosts that a play left behind on its way, whatever their counts say: a play with any_errors_fatal,
        max_fail_percentage or run_once drops well hosts with the failed one, and a broken one takes the rest with it.

        Without trouble on any host only `meta: end_host` removes one, and that is its end.
        """
        found: set[str] = set()
        for play in self._plays:
            begun = [(one, hosts) for one, hosts in self._begun if one._uuid == play._uuid]
            found |= _hosts(play, "ansible_play_hosts_all").difference(*(hosts for _, hosts in begun))
            if trouble:
                found.update(*(one._removed_hosts for one, _ in begun))
        return found


def _sealed(value: Any, vaulted: dict[str, bool]) -> Iterator[str]:
    """Every value within these variables that the vault holds: encrypted by itself, or read from an encrypted file.

    `vaulted` remembers which files are. A value that cannot be decrypted is no secret of ours to know.
    """
    if isinstance(value, EncryptedString):
        with suppress(Exception):
            plain = str(value).strip()
            if len(plain) >= SHORTEST:
                yield plain
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _sealed(inner, vaulted)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _sealed(inner, vaulted)
    elif isinstance(value, (str, int)) and _from_vault(value, vaulted) and len(str(value).strip()) >= SHORTEST:
        yield str(value).strip()


def _from_vault(value: Any, vaulted: dict[str, bool]) -> bool:
    origin = Origin.get_tag(value)
    path = origin.path if origin else None
    if not path:
        return False
    if path not in vaulted:
        vaulted[path] = False
        with suppress(OSError), Path(path).open("rb") as stream:
            vaulted[path] = stream.read(15).startswith(b"$ANSIBLE_VAULT;")
    return vaulted[path]


def _hosts(play: Any, magic: str) -> set[str]:
    """The hosts that one of Ansible's special variables names."""
    return set(play.get_variable_manager().get_vars(play=play, include_hostvars=False)[magic])


def _names(task: Any) -> dict[str, str]:
    role = getattr(task, "_role", None)
    # The name as it was written: a rendered one may hold a secret.
    return {"task": str(task.name or task.action), "role": str(role.get_name()) if role else ""}


def _differences(found: Mapping[str, Any], arguments: Mapping[str, Any]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Each difference of a result, with its module's arguments; of a loop each item's own, but for hidden ones."""
    if found.get("diff"):
        yield found["diff"], arguments
    for item in found.get("results") or ():
        if isinstance(item, Mapping) and item.get("diff") and not item.get("_ansible_no_log"):
            # Newer versions of Ansible tell no arguments of an item, and the task's own still name the loop's variable.
            yield item["diff"], (item.get("invocation") or {}).get("module_args") or {}


def _message(found: dict[str, Any], outcome: str, action: str) -> str:
    """What a person needs: why it failed, or what a task that only speaks has to say."""
    if outcome in ("failed", "unreachable"):
        parts = [str(found.get(key) or "") for key in ("msg", "stderr", "module_stderr")]
        parts += [_message(item, outcome, action) for item in found.get("results", ()) if item.get("failed")]
        text = "\n".join(dict.fromkeys(part.strip() for part in parts if part.strip()))
        return text[:MESSAGE_LIMIT]
    if action in ("ansible.builtin.debug", "debug"):
        return str(found.get("msg", ""))[:MESSAGE_LIMIT]
    return ""
