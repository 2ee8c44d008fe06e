# SPDX-License-Identifier: GPL-3.0-or-later
"""Canary secrets, planted where people keep secrets, are found nowhere after the work that used them."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

from opsctl import config
from opsctl import lab as labs
from opsctl.ansible.private import SHARED_MEMORY
from opsctl.lab import Fleet

pytestmark = pytest.mark.lab

HOST = "sundsvall-app1"


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """One real command line, in a process of its own, as a person starts it."""
    program = [sys.executable, "-c", "from opsctl.cli.main import entry; entry()"]
    return subprocess.run([*program, *arguments], capture_output=True, stdin=subprocess.DEVNULL, check=False)


def process_list() -> bytes:
    """Arguments and environments of every process of this machine."""
    found = b""
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                found += (process / name).read_bytes()
            except OSError:
                continue
    return found


@contextmanager
def watched(canaries: list[bytes]) -> Iterator[set[bytes]]:
    """Look at the process list again and again; the canaries that were seen in it."""
    seen: set[bytes] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            listed = process_list()
            seen.update(canary for canary in canaries if canary in listed)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def files_with(canaries: list[bytes], *folders: Path) -> list[str]:
    """Files below these folders that hold one of the canaries."""
    files = (file for folder in folders for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    return [str(file) for file in files if any(canary in file.read_bytes() for canary in canaries)]


def test_planted_secrets_are_found_nowhere_afterwards(as_found: Fleet, lab_workspace: Path, tmp_path: Path) -> None:
    password, vaulted, token = (f"canary-{what}-{secrets.token_hex(8)}" for what in ("password", "vaulted", "token"))
    canaries = [text.encode() for text in (password, vaulted, token)]
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "password").write_text(password, encoding="utf-8")
    (outside / "give").write_text(f"#!/bin/sh\ntouch {outside}/asked\ncat {outside}/password\n", encoding="utf-8")
    (outside / "give").chmod(0o700)
    with (lab_workspace / config.FILE).open("a", encoding="utf-8") as settings:
        settings.write(f"\nvault:\n  password_command: [{outside}/give]\n")
    sealed = VaultLib([("default", VaultSecret(password.encode()))]).encrypt(f"app_secret: {vaulted}\n")
    tenant = lab_workspace / "inventories/sundsvall"
    (tenant / "group_vars/application.yml").write_bytes(sealed)
    (tenant / "host_vars").mkdir(exist_ok=True)
    planted = tenant / f"host_vars/{HOST}.yml"
    planted.write_text(f"app_api_token: {token}\n", encoding="utf-8")

    said = b""

    def do(*line: str) -> bytes:
        nonlocal said
        answer = run(*line)
        assert b"Traceback" not in answer.stderr, answer.stderr.decode()
        assert answer.returncode in (0, 6), (line, answer.stdout.decode(), answer.stderr.decode())
        said += answer.stdout + answer.stderr
        return answer.stdout

    with watched(canaries) as seen:
        do("provision", "--limit", HOST, "--yes")
        do("comply", "run", "--limit", HOST)
        newest = json.loads(do("comply", "list", "--output", "json"))["runs"][0]["run"]
        do("comply", "report", newest, "--to", "reports")
        do("host", "show", HOST, "--output", "json")
        do("config", "show", "--output", "json")
        do("ledger", "log", "--output", "json")
        do("state", "backup", "copy.db")

    assert (outside / "asked").exists()
    assert not seen, "in the process list"
    assert not [canary for canary in canaries if canary in said], "on the terminal"
    runtime = config.load(lab_workspace, {}).runtime
    left = files_with(canaries, lab_workspace, runtime, *SHARED_MEMORY.glob("opsctl-*"))
    # The file in which the person wrote it is the only place.
    assert left == [str(planted)]
    pattern = "|".join(canary.decode() for canary in canaries)
    on_host = f"grep -rlaE '{pattern}' /etc /root /home /tmp /var/tmp /var/log /run/log /var/lib/opsctl || true"
    assert labs.execute(as_found.name, HOST, ["sh", "-c", on_host]).stdout == ""
