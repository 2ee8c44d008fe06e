"""The checks of opsctl under plain pytest-testinfra: over ssh, over ssh with two workers, and shipped to the hosts."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.timing import Took, timed

Verdicts = dict[tuple[str, str], str]  # host and control: the result
# What pytest and testinfra import; all of it is plain Python.
SHIPPED = ("pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments", "testinfra", "yaml")
PLACE = "/var/tmp/opsctl-bench"


@dataclass(frozen=True, kw_only=True)
class Checking:
    """A fleet in a workspace, some of its hosts, and the controls to check on them."""

    workspace: Path
    hosts: tuple[str, ...]
    controls: tuple[str, ...]
    ssh_config: str
    checks: Path
    expectations: dict[str, Any]

    @classmethod
    def of(cls, workspace: Path, hosts: Sequence[str]) -> Checking:
        """With the expectations that `opsctl comply run` would give, and the ssh_config of the shared connections."""
        from opsctl import config
        from opsctl.compliance import catalogue, expectations, profiles
        from opsctl.inventory import files
        from opsctl.ssh.hostkeys import Pins
        from opsctl.ssh.session import Transport

        settings = config.load(workspace, {})
        inventory, known = files.load(settings), catalogue.load()
        profile = profiles.load("standard", known)
        with Transport(inventory, Pins.load(settings.inventories), settings) as transport:
            ssh_config = str(transport.config_file)
        return cls(
            workspace=workspace,
            hosts=tuple(hosts),
            # The others ask no host for anything.
            controls=tuple(control.id for control in profile.controls if control.where == "host"),
            ssh_config=ssh_config,
            checks=catalogue.folder(),
            expectations=expectations.document(inventory.hosts, inventory, profile, known),
        )

    def over_ssh(self, *more: str) -> tuple[Took, Verdicts]:
        """testinfra's ssh backend, over the shared connections."""
        expected, results = self.workspace / "expectations.json", self.workspace / "results"
        expected.write_text(json.dumps(self.expectations), encoding="utf-8")
        results.unlink(missing_ok=True)
        command = [sys.executable, "-m", *self._pytest(str(self.checks), str(expected), str(results))]
        names = ",".join(f"ssh://{host}" for host in self.hosts)
        command += [f"--hosts={names}", "--sudo", "--ssh-config", self.ssh_config, *more]
        alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        took = timed(command, cwd=self.workspace, accepted=(0, 1), env=alone)
        return took, _verdicts(results.read_text(encoding="utf-8"))

    def ship(self) -> None:
        """pytest, testinfra and the checks, to each host, once."""
        for host in self.hosts:
            expected = {**self.expectations}
            for part in ("hosts", "records"):
                expected[part] = dict.fromkeys(("local", "localhost"), self.expectations[part].get(host, {}))
            command = [*self._ssh(host), f"sudo sh -c 'mkdir -p {PLACE} && tar -xz -C {PLACE}'"]
            subprocess.run(command, input=_package(self.checks, expected), check=True)

    def shipped(self) -> tuple[Took, Verdicts]:
        """All hosts at once, each running its own pytest, their results brought back."""
        arguments = self._pytest(f"{PLACE}/checks", f"{PLACE}/expectations.json", f"{PLACE}/results")
        run = shlex.join(["env", f"PYTHONPATH={PLACE}/site", "LC_ALL=C.UTF-8", "python3", "-m", *arguments])
        there = f"cd {PLACE}; rm -f results; {run} --hosts=local:// >/dev/null 2>&1; cat results"
        lines = [
            f"{shlex.join([*self._ssh(host), 'sudo sh -c ' + shlex.quote(there)])} > {shlex.quote(host)}.results &"
            for host in self.hosts
        ]
        took = timed(["sh", "-c", "\n".join([*lines, "wait"])], cwd=self.workspace)
        found: Verdicts = {}
        for host in self.hosts:
            said = _verdicts((self.workspace / f"{host}.results").read_text(encoding="utf-8"))
            if not said:
                sys.exit(f"pytest does not run on {host}; it was shipped to {PLACE} there")
            found |= {(host, control): result for (_, control), result in said.items()}
        return took, found

    def _pytest(self, checks: str, expected: str, results: str) -> list[str]:
        chosen = [part for control in self.controls for part in ("--control", control)]
        quiet = ["-q", "--tb=no", "-p", "testinfra.plugin", "-p", "no:cacheprovider"]
        given = ["--opsctl-expectations", expected, "--opsctl-results", results]
        return ["pytest", "-c", f"{checks}/pytest.ini", *quiet, *given, *chosen, checks]

    def _ssh(self, host: str) -> list[str]:
        return ["ssh", "-F", self.ssh_config, host]


def _verdicts(lines: str) -> Verdicts:
    found = [json.loads(line) for line in lines.splitlines()]
    return {(one["host"], one["control"]): one["result"] for one in found}


def _package(checks: Path, expected: dict[str, Any]) -> bytes:
    """A tar file: `site` with the packages, `checks`, and the expectations of one host."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        for place in _places(SHIPPED):
            tar.add(place, f"site/{place.name}", filter=_source)
        tar.add(checks, "checks", filter=_source)
        text = json.dumps(expected).encode()
        entry = tarfile.TarInfo("expectations.json")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    return packed.getvalue()


def _places(packages: Iterable[str]) -> Iterable[Path]:
    for name in packages:
        found = importlib.util.find_spec(name)
        if found is not None and found.origin is not None:
            yield Path(found.origin).parent if found.submodule_search_locations else Path(found.origin)


def _source(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in entry.name or entry.name.endswith(".so") else entry
