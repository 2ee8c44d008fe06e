"""The demonstration: the main job from start to end on the embedded fleet.

Every step is a real command line, shown and run as such in a workspace of its own, so that a reader learns the tool by
watching it. A step that ends otherwise than it should stops the demonstration; the fleet stays up for a look.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from opsctl.errors import Interrupted, OpsctlError, Refused

MARK = ".made-by-opsctl-demo"
Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command line of the demonstration, and the exit codes with which it has done what it should."""

    title: str
    argv: tuple[str, ...]
    accepted: frozenset[int] = frozenset({0})
    steady_load: bool = False


@dataclass(kw_only=True)
class Load:
    """A resident who asks the e-service again and again; counts what came back."""

    url: str
    every: float = 0.05
    answered: int = 0
    failed: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._ask, name="load", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=10)

    def _ask(self) -> None:
        while not self._stop.wait(self.every):
            try:
                with urllib.request.urlopen(self.url, timeout=5) as answer:  # noqa: S310 - the lab's own address
                    answer.read()
                self.answered += 1
            except (OSError, urllib.error.URLError) as error:
                self.failed += 1
                reason = str(getattr(error, "reason", error))
                self.errors[reason] = self.errors.get(reason, 0) + 1


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the demonstration did, measured."""

    rows: tuple[tuple[str, str], ...]
    reports: tuple[Path, ...]
    workspace: Path
    lab: str


def steps(workspace: Path, lab: str) -> tuple[Step, ...]:
    """The main job, as a reader would type it inside the workspace."""
    findings = frozenset({0, 6})
    as_found = findings | {1}  # without package lists nothing can be said about updates: an error, never a pass
    fingerprints = "handover/fingerprints"
    return (
        Step(title="Two municipalities' servers: seven real Debian hosts", argv=("lab", "up", "--name", lab)),
        Step(title="A workspace, with what the partner handed over", argv=("init", str(workspace), "--lab", lab)),
        Step(title="Take the hosts into the inventory", argv=("inventory", "sync", "--yes")),
        Step(title="What is there", argv=("inventory", "list")),
        Step(
            title="Trust the hosts whose keys match the fingerprints that were handed over",
            argv=("host", "approve", "--all", "--fingerprints", fingerprints, "--yes"),
        ),
        Step(title="A first look at every host", argv=("monitor", "status")),
        Step(title="Compliance as found: many findings, as expected", argv=("comply", "run"), accepted=as_found),
        Step(title="Bring the hosts to their configured state, ring by ring", argv=("provision", "--yes")),
        Step(title="Compliance after provisioning", argv=("comply", "run"), accepted=findings),
        Step(title="Which security updates wait, and in what order would they go", argv=("patch", "plan")),
        Step(
            title="Roll them out over the rings, with residents at the e-service all the time",
            argv=("patch", "start", "latest", "--yes"),
            steady_load=True,
        ),
        Step(title="How the fleet is now", argv=("monitor", "status")),
        Step(title="Targets for Prometheus", argv=("monitor", "targets", "--write", "--yes")),
        Step(title="Compliance at the end", argv=("comply", "run"), accepted=findings),
        Step(title="The report for the auditors, in Swedish and English", argv=("comply", "report", "--to", "reports")),
        Step(title="The log of all this is whole", argv=("ledger", "verify")),
        Step(title="All that is known of one host", argv=("host", "show", "ange-web1")),
        Step(title="And now? Bare opsctl says what waits for you", argv=()),
    )  # fmt: skip


def run(folder: Path, lab: str, tell: Tell) -> Summary:
    """Run every step; raises OpsctlError at the first one that fails, with its reason."""
    workspace = _fresh_workspace(folder)
    began = time.monotonic()
    took: list[tuple[str, str]] = []
    load: Load | None = None
    if _ask(workspace, "lab", "status", "--name", lab, tolerant=True).get("hosts"):
        tell(f"A fleet called {lab} is still up from before: taken down first, so that we begin with hosts as found.")
        _run(Step(title="Take the old fleet down", argv=("lab", "down", "--name", lab)), folder, tell, "")
    plan = steps(workspace, lab)
    for number, step in enumerate(plan, start=1):
        started = time.monotonic()
        if step.steady_load:
            load = Load(url=_service_url(workspace))
            load.start()
        try:
            _run(step, workspace if (workspace / "opsctl.yml").exists() else folder, tell, f"{number}/{len(plan)}  ")
        finally:
            if step.steady_load and load:
                load.stop()
        took.append((step.title, f"{time.monotonic() - started:.0f} s"))
    rows = (*took, *_figures(load), ("in all", f"{time.monotonic() - began:.0f} s"))
    reports = tuple(sorted((workspace / "reports").rglob("*.html")))
    return Summary(rows=rows, reports=reports, workspace=workspace, lab=lab)


def _fresh_workspace(folder: Path) -> Path:
    """An empty workspace; only one that an earlier demonstration made is removed."""
    workspace = folder / "demo-workspace"
    if workspace.exists():
        if not (workspace / MARK).exists():
            raise Refused(
                f"{workspace} exists and is not ours", hint="move it away, or choose another folder with --dir"
            )
        shutil.rmtree(workspace)
    workspace.mkdir(parents=True)
    (workspace / MARK).write_text("Made by opsctl demo, which replaces this folder when it runs again.\n")
    return workspace


def _command(argv: tuple[str, ...]) -> tuple[list[str], Mapping[str, str]]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPSCTL_")}
    return [sys.executable, "-m", "opsctl", *argv], environment


def _run(step: Step, folder: Path, tell: Tell, number: str) -> None:
    tell(f"\n── {number}{step.title}")
    tell(f"$ {shlex.join(('opsctl', *step.argv))}\n")
    command, environment = _command(step.argv)
    try:
        code = subprocess.run(command, cwd=folder, env=environment, check=False, stdin=subprocess.DEVNULL).returncode
    except KeyboardInterrupt:
        raise Interrupted(
            "the demonstration was interrupted; the fleet is still up", hint="opsctl demo begins anew"
        ) from None
    if code not in step.accepted:
        raise OpsctlError(
            f"the demonstration stopped: `{shlex.join(('opsctl', *step.argv))}` ended with exit code {code}",
            hint=f"the reason stands above; the fleet is still up: cd {folder} && opsctl lab status",
        )


def _ask(workspace: Path, *argv: str, tolerant: bool = False) -> dict[str, object]:
    """The JSON answer of a listing; an empty one where it may fail and did."""
    command, environment = _command((*argv, "--output", "json"))
    done = subprocess.run(command, cwd=workspace, env=environment, check=False, capture_output=True, text=True)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        if tolerant:
            return {}
        raise OpsctlError(f"`opsctl {shlex.join(argv)}` gave no answer: {done.stderr.strip()}") from None
    return answer if isinstance(answer, dict) else {}


def _service_url(workspace: Path) -> str:
    host = _ask(workspace, "inventory", "show", "ange-lb1")
    shown = host.get("host")
    address = shown.get("address") if isinstance(shown, dict) else None
    if not address:
        raise OpsctlError("the load balancer's address is not in the inventory")
    return f"http://{address}/"


def _figures(load: Load | None) -> tuple[tuple[str, str], ...]:
    if load is None:
        return ()
    lost = "".join(f"; {count} x {reason}" for reason, count in load.errors.items())
    return (("requests to the e-service during the rollout", f"{load.answered} answered, {load.failed} lost{lost}"),)
