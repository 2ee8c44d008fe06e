"""What travels to a host and back: a script of `opsctl/hostside` with its arguments, and its answer.

The program goes through stdin into `python3 -I -S -`; nothing is written on the host. The answer is JSON between two
marks that are random for each run, so a login message, a sudo lecture or a chatty child cannot be mistaken for it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from functools import cache
from importlib import resources

from opsctl.errors import HostFailed

# Runs on the host: Python 3.9, standard library. The script is a module of its own (dataclasses need one).
_FRAME = """\
import json, os, sys, types
os.environ["LC_ALL"] = "C.UTF-8"
os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
answer_stream = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
module = types.ModuleType("opsctl_hostside")
sys.modules["opsctl_hostside"] = module
try:
    exec(compile({script}, {name}, "exec"), module.__dict__)
    found = {{"answer": module.main(json.loads({arguments}))}}
    said = json.dumps(found)
except BaseException as error:
    import traceback
    last = traceback.extract_tb(error.__traceback__)[-1]
    said = json.dumps({{"error": "%s: %s" % (type(error).__name__, error), "line": last.lineno}})
answer_stream.write("\\n{mark}" + said + "{mark}\\n")
answer_stream.flush()
"""


@cache
def hostside_script(name: str) -> str:
    """The text of opsctl/hostside/NAME.py."""
    return resources.files("opsctl.hostside").joinpath(f"{name}.py").read_text(encoding="utf-8")


def new_mark() -> str:
    return f"opsctl-{secrets.token_hex(16)}:"


def frame(script: str, arguments: Mapping[str, object], mark: str) -> bytes:
    """The program for the host's Python: pure ASCII, with the answer to come between two `mark`s."""
    return _FRAME.format(
        script=ascii(script), name=ascii("<opsctl>"), arguments=ascii(json.dumps(dict(arguments))), mark=mark
    ).encode("ascii")


def answer(host_key: str, stdout: bytes, mark: str) -> object | None:
    """The answer in what the host printed; None when there is none. Raises HostFailed for the script's own failure."""
    parts = stdout.split(mark.encode("ascii"))
    if len(parts) != 3:
        return None
    try:
        said = json.loads(parts[1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    if "error" in said:
        raise HostFailed(host_key, f"the script failed: {said['error']} (line {said.get('line')})")
    found: object = said.get("answer")
    return found
