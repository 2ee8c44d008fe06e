"""Several scripts of this folder in one round trip, one after the other; one that fails costs only its own answer.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl.
"""

from __future__ import annotations

import types
from typing import Any


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """`scripts`: name, text and arguments of each; a script finds the answers of those before it in `before`.

    The answer by name is `{"answer": ...}` or `{"error": ...}`.
    """
    found: dict[str, Any] = {}
    for name, text, given in arguments["scripts"]:
        try:
            module = types.ModuleType("opsctl_" + name)
            exec(compile(text, "<%s>" % name, "exec"), module.__dict__)
            before = {earlier: one["answer"] for earlier, one in found.items() if "answer" in one}
            found[name] = {"answer": module.main(dict(given, before=before))}
        except Exception as error:  # noqa: BLE001 - the other scripts are still worth having
            found[name] = {"error": "%s: %s" % (type(error).__name__, error)}
    return found


def afterwards(arguments: dict[str, Any], _answer: Any) -> dict[str, Any]:
    """As `main`, behind the host's fence (fence.py) and without its lock: for scripts that only look."""
    return main(arguments)
