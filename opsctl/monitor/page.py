"""One look at a web page from this machine: its status, and whether a text is in it."""

from __future__ import annotations

import time
from dataclasses import dataclass

LARGEST = 2 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Page:
    """What an address answered; `error` says why there was no answer."""

    status: int = 0
    has_text: bool = False
    error: str = ""


def look(url: str, text: str = "", *, timeout: float = 10.0, ca_file: str = "") -> Page:
    """Ask once. No redirect is followed and no proxy used; at most 2 MiB are read for the text."""
    import requests

    ends = time.monotonic() + timeout
    try:
        with requests.Session() as session:
            session.trust_env = False
            session.verify = ca_file or True
            with session.get(
                url, headers={"User-Agent": "opsctl"}, timeout=(min(5.0, timeout), timeout), allow_redirects=False,
                stream=True,
            ) as answer:  # fmt: skip
                content = bytearray()
                while text and len(content) < LARGEST and (piece := answer.raw.read1(65536, decode_content=True)):
                    content += piece
                    if time.monotonic() > ends:
                        return Page(error=f"the answer was not there after {timeout:g} seconds")
                return Page(status=answer.status_code, has_text=text.encode() in bytes(content))
    except requests.exceptions.SSLError:
        return Page(error="its certificate does not fit, or its signer is unknown")
    except requests.exceptions.Timeout:
        return Page(error=f"no answer within {timeout:g} seconds")
    except requests.exceptions.RequestException as error:
        refused = "refused" in str(error)
        return Page(error="connection refused" if refused else f"no answer ({type(error).__name__})")
    except Exception as error:  # noqa: BLE001 - what urllib3 raises while the body comes; it is no answer either
        return Page(error=f"the answer is cut off ({type(error).__name__})")
