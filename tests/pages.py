"""A real Chromium for tests of pages: what axe-core says of them, how they look, what they ask the network for.

Chromium is spoken to over a pair of pipes in its DevTools protocol (chromedevtools.github.io/devtools-protocol), so no
port is opened and no driver is needed. axe-core comes with a package of `requirements/pages.txt`.
"""

from __future__ import annotations

import base64
import functools
import importlib.util
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

Scheme = Literal["light", "dark"]
# axe-core takes a second over a page, and many times that on a machine with other work.
SECONDS = 300.0
NARROW, WIDE = 320, 1280
# Tablets, and windows of half a screen: only that nobody must scroll sideways.
BETWEEN = (780, 980, 1100)
# WCAG 2.1 A and AA, and what axe calls best practice: heading order, landmarks, captions.
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice")
_AXE_PACKAGE = "axe_playwright_python"
_ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe",
    "--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage", "--mute-audio", "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
# Moves the two ends to 3 and 4, by way of numbers that neither of them can have, and becomes Chromium.
_BEGIN = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for place, end in enumerate(ends, 3):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A rule of axe-core that a page breaks, and where."""

    rule: str
    help: str
    where: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.rule}: {self.help}: " + "; ".join(self.where[:3])


class Browser:
    """One headless Chromium with one page."""

    def __init__(self, folder: Path) -> None:
        # Chromium reads commands from descriptor 3 and writes to 4; each message ends with a NUL.
        read_there, self._write = os.pipe()
        self._read, write_there = os.pipe()
        command = [_chromium(), *_ARGUMENTS, f"--user-data-dir={folder}", "about:blank"]
        self._child = subprocess.Popen(
            [sys.executable, "-c", _BEGIN, str(read_there), str(write_there), *command],
            pass_fds=(read_there, write_there),
            env={**os.environ, "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(read_there)
        os.close(write_there)
        self._rest = b""
        self._last = 0
        self._session = ""
        self.requests: list[str] = []
        self._events: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        self._child.terminate()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        for end in (self._read, self._write):
            os.close(end)

    def call(self, method: str, **parameters: Any) -> Any:
        """One command of the protocol, and its answer."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        rest = json.dumps(message).encode() + b"\0"
        while rest:
            rest = rest[os.write(self._write, rest) :]
        until = time.monotonic() + SECONDS
        while True:
            answer = self._next(until, method)
            if answer.get("id") == self._last:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _next(self, until: float, waiting_for: str) -> Mapping[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"Chromium did not answer within {SECONDS:.0f} s: {waiting_for}"
            more = os.read(self._read, 1 << 20)
            assert more, f"Chromium ended ({self._child.poll()}) before it answered: {waiting_for}"
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        message: Mapping[str, Any] = json.loads(text)
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        self._events.append(message.get("method", ""))
        return message

    def open(self, file: Path, *, width: int = WIDE, scheme: Scheme = "light", height: int = 900) -> None:
        """Load a page from disk as wide, and as light or dark, as somebody might see it."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.requests.clear()
        self._events.clear()
        assert "errorText" not in self.call("Page.navigate", url=file.resolve().as_uri())
        until = time.monotonic() + SECONDS
        while "Page.loadEventFired" not in self._events:
            self._next(until, f"loading {file}")

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def violations(self, tags: Sequence[str] = TAGS) -> list[Violation]:
        """What axe-core finds wrong with the page as it is shown now."""
        self.run(axe() + ";undefined")
        options = json.dumps({"runOnly": {"type": "tag", "values": list(tags)}, "resultTypes": ["violations"]})
        found = self.run(f"axe.run(document, {options}).then(r => JSON.stringify(r.violations))")
        return [
            Violation(rule=one["id"], help=one["help"], where=tuple(node["html"][:200] for node in one["nodes"]))
            for one in json.loads(found)
        ]

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window: 0 where nobody must scroll sideways."""
        return int(self.run("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def press(self, key: str) -> None:
        """A key, as a person without a mouse presses it: Tab, Enter, Escape, Space, an arrow."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowRight": 39, "ArrowDown": 40}
        text = {"Enter": "\r", " ": " "}.get(key, "")
        for kind in ("keyDown" if text else "rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=codes[key],
                text=text if kind == "keyDown" else "",
            )  # fmt: skip

    def picture(self, file: Path, *, whole: bool = True) -> None:
        """The page as a PNG."""
        file.write_bytes(
            base64.b64decode(self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])
        )


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium for one test module; its tests are skipped where there is none."""
    if missing := _missing():
        pytest.skip(missing)
    with tempfile.TemporaryDirectory(prefix="opsctl-chromium-", ignore_cleanup_errors=True) as folder:
        opened = Browser(Path(folder))
        try:
            yield opened
        finally:
            opened.close()


def read_by_everybody(
    page: Browser, file: Path, widths: Sequence[int] = (NARROW, WIDE), schemes: Sequence[Scheme] = ("light", "dark")
) -> list[str]:
    """Everything that keeps somebody from reading a page, at each width, light and dark; empty where all is well."""
    found = []
    for scheme in schemes:
        for width in widths:
            page.open(file, width=width, scheme=scheme)
            shown = f"{file.name}, {width} px, {scheme}"
            found += [f"{shown}: {violation}" for violation in page.violations()]
            if wider := page.overflow():
                found.append(f"{shown}: {wider} px wider than the window")
            own = (file.parent.resolve().as_uri(), "data:")
            found += [f"{shown}: asks for {url}" for url in page.requests if not url.startswith(own)]
    for width in BETWEEN:
        page.open(file, width=width)
        if wider := page.overflow():
            found.append(f"{file.name}, {width} px: {wider} px wider than the window")
    return found


@functools.cache
def axe() -> str:
    """The text of axe-core. The package that brings it is found, and never imported: it would want a driver."""
    spec = importlib.util.find_spec(_AXE_PACKAGE)
    places = (spec and spec.submodule_search_locations) or ()
    (file,) = (found for place in places for found in Path(place).rglob("axe.min.js"))
    return file.read_text(encoding="utf-8")


def _chromium() -> str:
    return shutil.which("chromium") or shutil.which("chromium-browser") or ""


def _missing() -> str:
    if not _chromium():
        return "no chromium is installed (.ci/system-packages installs it)"
    return "" if importlib.util.find_spec(_AXE_PACKAGE) else "no axe-core is installed (make setup installs it)"
