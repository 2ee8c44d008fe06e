"""The program that travels to hosts, run by a real Python here: its answer survives noise, and its faults are told."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsctl.errors import HostFailed
from opsctl.ssh import program

ECHO = "def main(arguments):\n    return {'said': arguments}\n"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def printed(script: str, arguments: dict[str, object], mark: str) -> bytes:
    program_text = program.frame(script, arguments, mark)
    return subprocess.run(
        [sys.executable, "-I", "-"], input=program_text, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
    ).stdout


def answered(script: str, arguments: dict[str, object] | None = None) -> object:
    mark = program.new_mark()
    return program.answer("ange.ange-web1", printed(script, arguments or {}, mark), mark)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_any_arguments_arrive_as_they_are(arguments: dict[str, object]) -> None:
    assert answered(ECHO, arguments) == {"said": arguments}


@pytest.mark.parametrize(
    "text",
    ["'''", '"""', "\\", "{mark}", "{0}", "%s", "\x00", "Ånge\n", "${HOME}", "$(id)", "\N{RIGHT-TO-LEFT OVERRIDE}"],
)
def test_no_argument_can_become_code(text: str) -> None:
    assert answered(ECHO, {text: text}) == {"said": {text: text}}


def test_what_script_and_children_print_is_not_the_answer() -> None:
    noisy = (
        "import os\ndef main(arguments):\n    print('{\"answer\": 1}')\n    os.system('echo child')\n    return {}\n"
    )
    assert answered(noisy) == {}


def test_noise_before_and_after_the_answer_is_ignored() -> None:
    mark = program.new_mark()
    out = b"Welcome to ange-web1!\n\xff\xfe" + printed(ECHO, {"a": 1}, mark) + b"\nlast login: never"
    assert program.answer("x", out, mark) == {"said": {"a": 1}}


def test_an_answer_with_another_mark_is_none() -> None:
    other = printed(ECHO, {}, program.new_mark())
    assert program.answer("x", other, program.new_mark()) is None


@pytest.mark.parametrize("between", [b"", b"[1]", b"not json", b'"text"', b"[" * 100_000])
def test_what_is_no_answer_is_never_taken_for_one(between: bytes) -> None:
    mark = program.new_mark()
    assert program.answer("x", mark.encode() + between + mark.encode(), mark) is None


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("def main(arguments):\n    return 1 / 0\n", "ZeroDivisionError: division by zero (line 2)"),
        ("def main(:\n", "SyntaxError"),
        ("x = 1\n", "has no attribute 'main'"),
        ("def main(arguments):\n    return {'a': object()}\n", "not JSON serializable"),
        ("import sys\ndef main(arguments):\n    sys.exit('stopped')\n", "SystemExit: stopped"),
    ],
)
def test_a_fault_of_the_script_is_told_with_its_line(script: str, reason: str) -> None:
    with pytest.raises(HostFailed) as caught:
        answered(script)
    assert reason in str(caught.value)


def test_a_script_that_dies_gives_no_answer() -> None:
    assert answered("import os\ndef main(arguments):\n    os._exit(3)\n") is None


def test_dataclasses_work_in_a_script() -> None:
    script = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass A:\n    x: int\ndef main(arguments):\n    return {'x': A(1).x}\n"
    )
    assert answered(script) == {"x": 1}


def test_no_argument_is_seen_in_the_process_list() -> None:
    script = "def main(arguments):\n    return {'line': open('/proc/self/cmdline').read()}\n"
    assert "vault-canary" not in str(answered(script, {"password": "vault-canary"}))
