"""What an answer of NetBox means: a document, a reason to ask again, or an error with its own message. Pure.

NetBox has no 401: missing and wrong tokens are 403, told apart only by `detail`. A server that is not NetBox (a login
page, a proxy's error page, another path) answers with HTML.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from opsctl.errors import FuseTripped

AGAIN = frozenset({429, 500, 502, 503, 504})
LONGEST_WAIT = 30.0
_NOTHING = "; nothing was written, the last good copy stays as it is"
_NONE_OF_IT = "; NetBox took none of this"


class SourceFailed(FuseTripped):
    """NetBox could not be read, or said no; the last good copy stays as it is."""

    default_hint = "opsctl doctor shows what this machine can reach; the hosts can be worked with from the last copy"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer, as far as it matters here."""

    status: int
    content_type: str
    body: bytes
    location: str = ""
    retry_after: str = ""


def wait_before_again(answer: Answer, attempt: int) -> float | None:
    """Seconds to wait before asking once more, or None where asking again is no use. `attempt` counts from 1."""
    if answer.status not in AGAIN:
        return None
    if re.fullmatch(r"\d{1,6}", answer.retry_after.strip()):
        return min(float(answer.retry_after), LONGEST_WAIT)
    return pause(attempt)


def pause(attempt: int) -> float:
    """Half a second, then one, two, four: a server in trouble is not helped by haste."""
    return float(min(0.5 * 2 ** (attempt - 1), 4.0))


def document(answer: Answer, asked: str, *, needs: str = "") -> object:
    """The JSON of a good answer to `asked` (METHOD URL). Raises SourceFailed with what is the matter.

    `needs`: the permission without which NetBox says no to writing.
    """
    nothing = _NONE_OF_IT if needs else _NOTHING
    if 300 <= answer.status < 400:
        raise SourceFailed(
            f"{asked} is redirected to {_short(answer.location) or 'nowhere'}{nothing}",
            hint="a login page or another address stands there: set netbox.url to NetBox itself, https:// included",
        )
    if answer.status == 403:
        raise _forbidden(answer, asked, needs, nothing)
    if answer.status == 401:
        raise SourceFailed(
            f"{asked}: something in front of NetBox wants a login of its own (401){nothing}",
            hint="NetBox itself says 403; ask whoever runs the proxy",
        )
    if answer.status == 404 and not _is_json(answer):
        raise SourceFailed(
            f"{asked}: there is no API at this address (404){nothing}",
            hint="netbox.url is the address of NetBox's start page, without /api",
        )
    if answer.status == 429:
        raise SourceFailed(
            f"{asked}: asked too often (429), and still so after waiting{nothing}",
            hint="a proxy in front of NetBox limits requests: sync less often, or have this machine exempted",
        )
    if answer.status >= 500:
        raise SourceFailed(
            f"{asked}: NetBox or what stands before it is broken ({answer.status}{_said(answer)}){nothing}"
        )
    if answer.status >= 400:
        raise SourceFailed(
            f"{asked}: NetBox does not accept this ({answer.status}{_said(answer)}){nothing}",
            hint="opsctl config show names what was asked: netbox.filters and the mapping",
        )
    if answer.status == 204 and needs:  # something was removed, and there is nothing to say
        return None
    if not _is_json(answer):
        raise SourceFailed(
            f"{asked}: the answer is {_short(answer.content_type) or 'of no type'}, not JSON{nothing}",
            hint="a login page or a proxy answers in place of NetBox: open the address in a browser",
        )
    return _parsed(answer, asked, nothing)


def _parsed(answer: Answer, asked: str, nothing: str) -> object:
    try:
        return json.loads(answer.body) if answer.body else None
    except (ValueError, RecursionError) as error:
        raise SourceFailed(f"{asked}: the answer is cut off or broken: not JSON to its end{nothing}") from error


def _forbidden(answer: Answer, asked: str, needs: str, nothing: str) -> SourceFailed:
    detail = _detail(answer)
    if "not provided" in detail:
        return SourceFailed(
            f"{asked}: NetBox saw no token (403){nothing}",
            hint="a proxy may have taken the Authorization header away; else set OPSCTL_NETBOX_TOKEN",
        )
    if "permission" in detail:
        return SourceFailed(
            f"{asked}: the token's user has no permission for this (403){nothing}",
            hint=f"the token must be write-enabled, and its user needs the permission `{needs}`"
            if needs
            else "its user needs `view` on devices, virtual machines, services, sites, custom fields and the changelog",
        )
    if "header" in detail or "parse key" in detail:
        return SourceFailed(
            f"{asked}: NetBox cannot read the token (403: {_short(detail)}){nothing}",
            hint="a v2 token is nbt_KEY.TOKEN, both parts; a v1 token is 40 characters",
        )
    if "expired" in detail:
        return SourceFailed(f"{asked}: the token has expired (403){nothing}", hint="make a new token in NetBox")
    if _is_json(answer):
        return SourceFailed(
            f"{asked}: the token is wrong (403: {_short(detail)}){nothing}",
            hint="is it this NetBox's token, whole, and not deleted? opsctl config show tells where it comes from",
        )
    return SourceFailed(f"{asked}: something in front of NetBox refuses us (403){nothing}")


def _is_json(answer: Answer) -> bool:
    return answer.content_type.partition(";")[0].strip().lower() == "application/json"


def _detail(answer: Answer) -> str:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return ""
    return str(found.get("detail", "")) if isinstance(found, dict) else ""


def _said(answer: Answer) -> str:
    """What a body of JSON says, in one short line: `detail`, `error`, a list, or fields with their faults."""
    if not _is_json(answer):
        return ""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return ""
    if isinstance(found, dict):
        parts = [str(found[key]) for key in ("detail", "exception", "error") if found.get(key)] or _faults(found)
        if isinstance(found.get("errors"), list):  # of a bulk write, since NetBox 4.7
            parts += [text for one in found["errors"] if isinstance(one, dict) for text in _faults(one.get("errors"))]
    else:
        parts = [str(item) for item in found] if isinstance(found, list) else [str(found)]
    return ": " + _short("; ".join(parts)) if parts else ""


def _faults(found: object) -> list[str]:
    if not isinstance(found, dict):
        return [str(found)]
    return [
        f"{name}: {' '.join(map(str, faults)) if isinstance(faults, list) else faults}"
        for name, faults in found.items()
    ]


def _short(text: str) -> str:
    plain = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return plain if len(plain) <= 200 else plain[:199] + "…"
