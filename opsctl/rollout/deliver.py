"""Sends one letter to one target: the only importer of apprise. It says why not, and never with an address in it."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Sequence
from typing import Any

from opsctl.rollout.notice import Letter, Occasion

_KINDS = {Occasion.FAILURE: "failure", Occasion.STALLED: "failure", Occasion.PAUSE: "warning", Occasion.END: "success"}
_CODE = re.compile(r"error=(\d{3})\b")


def deliver(addresses: Sequence[str], letter: Letter, seconds: float) -> str:
    """Send; empty where every address took it, else why not. A connection waits at most `seconds`. Never raises."""
    try:
        failed = [why for one in addresses if (why := _one(one, letter, seconds))]
    except Exception as error:  # noqa: BLE001 - whatever a plugin does, a rollout must not feel it
        return f"not sent: {type(error).__name__}"
    return "; ".join(dict.fromkeys(failed))


def _one(address: str, letter: Letter, seconds: float) -> str:
    import apprise
    from apprise.attachment import memory

    complaints = _Complaints()
    # No pool of threads (service_timeout): Python waits for such at its end, and one that hangs would hold opsctl back.
    # Escapes, emojis and templates are for senders who write them; our words came from elsewhere.
    asset = apprise.AppriseAsset(
        app_id="opsctl", app_desc="opsctl", app_url="", secure_logging=True, plugin_paths=[],
        async_mode=False, service_timeout=0,
        interpret_escapes=False, interpret_emojis=False, pgp_autogen=False, pem_autogen=False,
    )  # fmt: skip
    with complaints:
        plugin: Any = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
        if plugin is None:
            return "its address is not one that apprise knows"
        plugin.socket_connect_timeout = plugin.socket_read_timeout = float(seconds)
        # One message at a time goes out; waiting between them would only make the next one late.
        plugin.request_rate_per_sec = 0
        added = letter.attachment
        in_memory: Any = memory.AttachMemory  # apprise does not say what it takes
        attach = [in_memory(content=added.content, name=added.name, mimetype=added.kind)] if added else None
        began = time.monotonic()
        sender = apprise.Apprise(asset=asset)
        sender.add(plugin)
        sent = sender.notify(
            body=letter.body,
            title=letter.title,
            notify_type=_KINDS.get(letter.occasion, "info"),
            body_format="text",
            attach=attach,
            interpret_escapes=False,
        )
    return "" if sent else complaints.why(time.monotonic() - began, seconds)


class _Complaints(logging.Handler):
    """Hears what apprise logs of one sending, for its error code alone; nothing of it is shown or kept."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: list[str] = []
        self._thread = threading.get_ident()
        self._logger = logging.getLogger("apprise")

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:  # others send at the same time
            self._said.append(record.getMessage())

    def __enter__(self) -> None:
        # Without this, Python prints warnings that nobody handles to stderr, with the address's host in it.
        self._logger.propagate = False
        self._logger.addHandler(self)

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)

    def why(self, took: float, seconds: float) -> str:
        codes = [found.group(1) for text in self._said if (found := _CODE.search(text))]
        if codes:
            return f"it answered {codes[0]}"
        if took >= 0.9 * seconds:
            return f"no answer within {seconds:g} s"
        return "no connection" if any("onnection" in text for text in self._said) else "it was not accepted"
