"""The connection to one NetBox: the only importer of its client.

Reading asks again a few times and never follows a redirect; every request ends within `netbox.timeout` seconds,
however slowly its body comes. Listings come as cursor pages where the server has a cursor (4.6), as offset pages
elsewhere; `answers` says what an answer means. Writing is done once, and in bulk.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pynetbox
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ReadTimeoutError

from opsctl.inventory import token as tokens
from opsctl.inventory.address import checked_address, checked_authorities
from opsctl.inventory.answers import Answer, SourceFailed, document, pause, wait_before_again
from opsctl.state.redaction import HIDDEN

if TYPE_CHECKING:
    from opsctl.config import Settings

TRIES = 4
PAGE = 1000
# The request line of gunicorn and of most proxies ends at about 4 KiB: 400 ids of seven digits fit.
IDS = 400
# A shorter part of a token is found in ordinary words too.
SHORTEST_SECRET = 16
LARGEST = 256 * 1024 * 1024
OLDEST = (4, 2)
_CONNECT = 10.0
# NetBox's names of what is written, as its permissions have them.
OBJECTS = {
    "dcim/devices": "dcim.device",
    "virtualization/virtual-machines": "virtualization.virtualmachine",
    "dcim/device-roles": "dcim.devicerole",
    "dcim/device-types": "dcim.devicetype",
    "dcim/interfaces": "dcim.interface",
    "dcim/platforms": "dcim.platform",
    "dcim/sites": "dcim.site",
    "extras/custom-fields": "extras.customfield",
    "extras/tags": "extras.tag",
    "ipam/vrfs": "ipam.vrf",
    "tenancy/tenants": "tenancy.tenant",
    "virtualization/clusters": "virtualization.cluster",
    "virtualization/interfaces": "virtualization.vminterface",
    "ipam/ip-addresses": "ipam.ipaddress",
    "ipam/services": "ipam.service",
}
Right = Literal["view", "add", "change"]
Query = Mapping[str, str | int | Sequence[str | int]]
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Server:
    """What a NetBox says of itself, and what it can do by that."""

    version: str

    @property
    def number(self) -> tuple[int, int]:
        found = re.match(r"(\d+)\.(\d+)", self.version)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    @property
    def cursor(self) -> bool:
        """Has it listings with a cursor?"""
        return self.number >= (4, 6)

    @property
    def port_mappings(self) -> bool:
        """Does one service hold ports of several protocols?"""
        return self.number >= (4, 7)

    @property
    def any_parent(self) -> bool:
        """May any object be a service's parent?"""
        return self.number >= (4, 3)

    def said(self, message: str) -> Mapping[str, str]:
        """What a bulk write carries so that its entries in the changelog have this message, where they can."""
        return {"changelog_message": message} if self.number >= (4, 4) else {}


class NetBox:
    """A session with one token. Raises SourceFailed for whatever NetBox, the network or a proxy does."""

    def __init__(
        self,
        address: str,
        token: str,
        *,
        timeout: float = 60,
        ca_file: str = "",
        page: int = PAGE,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.address = address.rstrip("/")
        self._token, self._timeout, self._ca_file, self._wait = token, timeout, ca_file, wait
        self.page_size = page
        self._api = pynetbox.api(self.address, token=token)
        session: requests.Session = self._api.http_session
        # ~/.netrc would replace the token, and a proxy of the environment would see it.
        session.trust_env = False
        session.verify = ca_file or True
        session.headers["User-Agent"] = "opsctl"
        session.mount("http://", _Adapter(timeout))
        session.mount("https://", _Adapter(timeout))
        self._session = session

    @classmethod
    def of(cls, settings: Settings, tenant: str = "") -> NetBox:
        """The NetBox of a workspace. Raises ConfigError for an address or a token that cannot be used."""
        return cls(
            checked_address(settings),
            tokens.read(settings, tenant),
            timeout=settings.number("netbox.timeout"),
            ca_file=checked_authorities(settings),
        )

    @property
    def reader(self) -> str:
        """Whose eyes these are: another one for another token, of which it tells nothing."""
        return hashlib.sha256(f"{self.address}\0{self._token}".encode()).hexdigest()[:16]

    def twin(self) -> NetBox:
        """A session of its own to the same NetBox, for another thread."""
        return NetBox(
            self.address,
            self._token,
            timeout=self._timeout,
            ca_file=self._ca_file,
            page=self.page_size,
            wait=self._wait,
        )

    def close(self) -> None:
        self._session.close()

    def server(self) -> Server:
        """Version of the server. Raises SourceFailed for one that is too old, or is no NetBox."""
        found = self.get("status")
        version = found.get("netbox-version") if isinstance(found, dict) else None
        if not isinstance(version, str):
            raise SourceFailed(f"{self.address} does not answer as NetBox does", hint="set netbox.url to NetBox itself")
        server = Server(version=version)
        if server.number < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise SourceFailed(f"{self.address} is NetBox {version}; opsctl reads {oldest} and newer")
        return server

    def get(self, path: str, query: Query | None = None) -> object:
        """The JSON of `/api/PATH/`; asked again where that can help."""
        url = f"{self.address}/api/{path.strip('/')}/"
        asked = f"GET {url}"
        for attempt in range(1, TRIES + 1):
            last = attempt == TRIES
            try:
                answer = self._ask(url, query or {})
            except _Lost as lost:
                if last or not lost.passing:
                    raise SourceFailed(f"{asked}: {lost}; nothing was written", hint=lost.hint) from lost.__cause__
                self._wait(pause(attempt))
                continue
            wait = wait_before_again(answer, attempt)
            if wait is None or last:
                return document(answer, asked)
            self._wait(wait)
        raise AssertionError("the last attempt returns or raises")

    def page(self, path: str, query: Query) -> tuple[list[Row], bool, int | None]:
        """The rows of one page, whether there are more, and how many in all (None: the server did not count)."""
        found = self.get(path, query)
        rows = found.get("results") if isinstance(found, dict) else None
        if not isinstance(found, dict) or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise SourceFailed(f"GET {self.address}/api/{path}/: the answer is not a listing of NetBox's")
        count = found.get("count")
        return rows, bool(found.get("next")), count if isinstance(count, int) else None

    def rows(self, path: str, query: Query, *, cursor: bool, start: int = 0) -> Iterator[Row]:
        """Every row of a listing, ordered by id; with a cursor, those from id `start` on.

        `next` only says that there is more: its address is never followed.
        """
        place, last = (start if cursor else 0), 0
        while True:
            where: Query = {"start": place} if cursor else {"offset": place, "ordering": "id"}
            rows, more, _ = self.page(path, {**query, **where, "limit": self.page_size})
            yield from rows
            # With the cursor, the page after an exactly full last one is empty.
            if not more or not rows:
                return
            highest = rows[-1].get("id")
            # A cache, or a server that does not know how to page, would give the same rows for ever.
            if not isinstance(highest, int) or highest <= last:
                raise SourceFailed(f"GET {self.address}/api/{path}/: the pages of the listing do not go on")
            last = highest
            place = last + 1 if cursor else place + len(rows)

    def count(self, path: str, query: Query) -> int:
        """How many rows a listing has."""
        _, count = self._counted(path, {**query, "fields": "id"})
        return count

    def extent(self, path: str, query: Query) -> tuple[int, int]:
        """How many rows a listing has, and the highest id of them."""
        rows, count = self._counted(path, {**query, "fields": "id", "ordering": "-id"})
        return count, int(rows[0]["id"]) if rows else 0

    def _counted(self, path: str, query: Query) -> tuple[list[Row], int]:
        rows, _, count = self.page(path, {**query, "limit": 1})
        if count is None:
            raise SourceFailed(f"GET {self.address}/api/{path}/: NetBox does not count its rows")
        return rows, count

    def by_id(self, path: str, ids: Sequence[int], query: Query) -> Iterator[Row]:
        """The rows with these ids, as far as they are there."""
        for begin in range(0, len(ids), IDS):
            chosen = list(ids[begin : begin + IDS])
            rows, more, _ = self.page(path, {**query, "id": chosen, "limit": IDS})
            wanted = set(chosen)
            # A server that does not know the filter would give everything.
            if more or any(row.get("id") not in wanted for row in rows):
                raise SourceFailed(f"GET {self.address}/api/{path}/: NetBox gave other rows than those asked for")
            yield from rows

    def update(self, path: str, rows: Sequence[Row]) -> None:
        """Change many objects of one kind at once; each row has its id. All or none."""
        self._write("PATCH", path, list(rows))

    def create(self, path: str, row: Row) -> Row:
        """Make one object."""
        made = self._write("POST", path, dict(row))
        return made if isinstance(made, dict) else {}

    def create_all(self, path: str, rows: Sequence[Row]) -> tuple[int, ...]:
        """Make many objects of one kind at once; their ids in the same order. All or none."""
        made = self._write("POST", path, list(rows))
        if not isinstance(made, list) or len(made) != len(rows):
            raise SourceFailed(f"POST {self.address}/api/{path}/: NetBox does not say what it has made")
        return tuple(int(row["id"]) for row in made)

    def delete(self, path: str, rows: Sequence[Row]) -> None:
        """Remove many objects of one kind at once; each row has its id. All or none."""
        self._write("DELETE", path, list(rows))

    def lacks(self, path: str, rights: Sequence[Right]) -> tuple[str, ...]:
        """Which of these permissions the token does not have, as NetBox names them. Nothing is written."""
        url = f"{self.address}/api/{path.strip('/')}/"
        named = OBJECTS.get(path, path)
        try:
            seen = self._ask(url, {"limit": 1, "fields": "id"})
            told = self._ask(url, {}, "OPTIONS")
        except _Lost as lost:
            raise SourceFailed(f"GET {url}: {lost}; nothing was written", hint=lost.hint) from lost.__cause__
        if seen.status == 403 and b"permission" in seen.body:
            return tuple(f"{right} on {named}" for right in rights)
        document(seen, f"GET {url}")
        options = document(told, f"OPTIONS {url}")
        # NetBox tells which methods this very user may use on the whole kind of object.
        actions = options.get("actions", {}) if isinstance(options, dict) else {}
        methods = {"add": "POST", "change": "PUT"}
        return tuple(f"{right} on {named}" for right in rights if right in methods and methods[right] not in actions)

    def _write(self, method: str, path: str, body: Any) -> object:
        url = f"{self.address}/api/{path.strip('/')}/"
        asked = f"{method} {url}"
        right = {"POST": "add", "PATCH": "change", "DELETE": "delete"}[method]
        needs = f"{right} on {OBJECTS.get(path, path)}"
        try:
            return document(self._ask(url, {}, method, body), asked, needs=needs)
        except _Lost as lost:
            # It may have been done all the same: asking twice could do it twice.
            raise SourceFailed(
                f"{asked}: {lost}; whether NetBox took it is unknown",
                hint="opsctl inventory push --dry-run shows what is left",
            ) from lost.__cause__

    def _ask(self, url: str, query: Query, method: str = "GET", body: Any = None) -> Answer:
        ends = time.monotonic() + self._timeout
        try:
            with self._session.request(
                method,
                url,
                params=dict(query),
                json=body,
                headers={"Accept": "application/json", "Authorization": self._authorization},
                allow_redirects=False,
                stream=True,
            ) as response:
                content = bytearray()
                for piece in _pieces(response):
                    content += piece
                    if time.monotonic() > ends:
                        raise _Lost(f"the answer was not there after {self._timeout:g} seconds")
                    if len(content) > LARGEST:
                        raise _Lost(f"the answer has more than {LARGEST} bytes", passing=False)
                # What echoes a request (a proxy's error page) must not bring the token into a message or the inventory.
                last = self._token.rpartition(".")[2]
                secret = last if len(last) >= SHORTEST_SECRET else self._token
                return Answer(
                    status=response.status_code,
                    content_type=response.headers.get("Content-Type", "").replace(secret, HIDDEN),
                    body=bytes(content).replace(secret.encode(), HIDDEN.encode()),
                    location=response.headers.get("Location", "").replace(secret, HIDDEN),
                    retry_after=response.headers.get("Retry-After", ""),
                )
        except requests.RequestException as error:
            raise _lost(error, self._timeout) from error

    @property
    def _authorization(self) -> str:
        second = self._token.startswith("nbt_") and "." in self._token
        return f"{'Bearer' if second else 'Token'} {self._token}"


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """The body as it comes in, unpacked: `iter_content` would wait until a piece is full."""
    try:
        while piece := response.raw.read1(65536, decode_content=True):
            yield piece
    except ReadTimeoutError as error:
        raise requests.exceptions.ReadTimeout(error) from error
    except HTTPError as error:
        raise requests.exceptions.ChunkedEncodingError(error) from error


class _Adapter(HTTPAdapter):
    """Ends every wait: pynetbox itself sets no time-out."""

    def __init__(self, timeout: float) -> None:
        super().__init__(max_retries=0)
        self._patience = (min(_CONNECT, timeout), timeout)

    def send(self, request: Any, **options: Any) -> requests.Response:  # type: ignore[override] # requests' own signature is positional
        options["timeout"] = options.get("timeout") or self._patience
        return super().send(request, **options)


class _Lost(Exception):
    """No answer, or not the whole of it."""

    def __init__(self, message: str, *, passing: bool = True, hint: str = "") -> None:
        super().__init__(message)
        self.passing = passing
        self.hint = hint


def _lost(error: requests.RequestException, timeout: float) -> _Lost:
    """What went wrong below HTTP. The text of `error` is not shown: it may hold what was sent."""
    said = str(error)
    if isinstance(error, requests.exceptions.SSLError):
        if "CERTIFICATE" not in said and "hostname" not in said:
            hint = "what listens there does not speak TLS, or another version: is the port of netbox.url right?"
            return _Lost("there is no TLS connection to be had", passing=False, hint=hint)
        reason = "the certificate does not fit its address or its signer is unknown"
        return _Lost(reason, passing=False, hint="netbox.ca_file names the file of your own certificate authority")
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return _Lost(
            f"no connection within {min(_CONNECT, timeout):g} seconds", hint="is the address right, and the way open?"
        )
    if isinstance(error, requests.exceptions.ReadTimeout):
        return _Lost(f"no answer within {timeout:g} seconds", hint="netbox.timeout sets how long to wait")
    if isinstance(error, (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)):
        return _Lost("the answer is cut off")
    if isinstance(error, requests.exceptions.ConnectionError):
        if "NameResolution" in said or "Name or service" in said or "getaddrinfo" in said:
            return _Lost("no machine has this name", hint="is netbox.url right, and does this machine's resolver work?")
        if "timed out" in said:
            return _Lost(f"no answer within {timeout:g} seconds", hint="netbox.timeout sets how long to wait")
        if "refused" in said:
            return _Lost("nothing listens there (connection refused)", hint="is NetBox running, and netbox.url right?")
        return _Lost("the connection was lost")
    return _Lost(f"it cannot be asked ({type(error).__name__})", passing=False)
