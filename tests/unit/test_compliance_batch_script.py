"""The script that runs many commands on a host: bounded in time and output, each answer whole or marked."""

from __future__ import annotations

import base64
import time
from typing import Any

from opsctl.hostside import batch


def ask(*commands: str, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = batch.main({"commands": list(commands), **options})["answers"]
    return found


def stdout(answer: dict[str, Any]) -> bytes:
    return base64.b64decode(answer["stdout"])


def test_every_command_is_answered_in_order_with_its_exit_code_and_output() -> None:
    first, second, third = ask("echo one", "echo two >&2; exit 3", "printf '\\377\\0'")
    assert (stdout(first), first["exit_code"], first["fault"]) == (b"one\n", 0, "")
    assert (base64.b64decode(second["stderr"]), second["exit_code"]) == (b"two\n", 3)
    assert stdout(third) == b"\xff\0"
    assert abs(first["at"] - time.time()) < 60


def test_a_command_that_is_too_slow_is_stopped_with_all_that_it_started() -> None:
    started = time.monotonic()
    (answer,) = ask("sleep 60 & sleep 60", seconds=0.3)
    assert answer["fault"] == "too slow"
    assert time.monotonic() - started < 10


def test_a_command_that_closes_its_output_and_goes_on_is_stopped_too() -> None:
    (answer,) = ask("exec >/dev/null 2>&1; sleep 60", seconds=0.3)
    assert answer["fault"] == "too slow"


def test_a_command_that_prints_too_much_is_cut_and_marked() -> None:
    (answer,) = ask("yes", limit=1000, seconds=20)
    assert (answer["fault"], len(stdout(answer))) == ("too much", 1000)


def test_commands_see_a_small_fixed_environment_and_no_input() -> None:
    (answer,) = ask("env | sort; cat; pwd")
    names = [line.partition("=")[0] for line in stdout(answer).decode().splitlines()]
    assert set(names) <= {"HOME", "LC_ALL", "PATH", "PWD", "OLDPWD", "SHLVL", "_", "/"}
    assert stdout(answer).endswith(b"/\n")


def test_no_commands_are_no_answers() -> None:
    assert ask() == []
