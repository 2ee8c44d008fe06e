"""Package archives, as this machine's own apt knows them; the project names none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from opsctl.errors import Refused
from opsctl.lab.command import run
from opsctl.lab.recipe import COMPONENT, SUITE

_FIELDS = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)/$(LABEL)"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True, kw_only=True)
class Archives:
    """Where this machine gets Debian and its security updates from."""

    release: str
    security: str

    def release_line(self) -> str:
        return f"deb {_signed_by()}{self.release} {SUITE} {COMPONENT}\n"

    def security_line(self) -> str:
        return f"deb {_signed_by()}{self.security} {SUITE}-security {COMPONENT}\n"


def of_this_machine() -> Archives:
    """Reads apt's own list; raises Refused when it names no Debian archive.

    apt leaves out what it has fetched no list of, as on an image that came with half of its lists. So it is asked a
    second time without what the lists say of themselves; what they do say comes first.
    """
    ask = ("apt-get", "indextargets", "--format", _FIELDS)
    fetched = run(*ask, "Created-By: Packages").stdout
    configured = run(*ask, "--no-release-info", "Created-By: Packages").stdout
    return parse(fetched + configured)


def parse(listed: str) -> Archives:
    """Finds both archives in lines of `URI RELEASE COMPONENT ORIGIN/LABEL`."""
    rows = [line.split(" ", 3) for line in listed.splitlines()]
    debian = [row for row in rows if len(row) == 4 and row[2] == COMPONENT]
    security = [row for row in debian if row[1].endswith("-security") and row[3] in _either("Debian-Security")]
    # A list that does not say whose it is counts as Debian's where its -security suite is known too.
    names = {row[1].removesuffix("-security") for row in security}
    release = [row for row in debian if row[1] in names and row[3] in _either("Debian")]
    if not security or not release:
        raise Refused(
            "this machine's apt knows no archive of Debian with its security updates",
            hint="the lab's hosts are made from it: add the release and its -security suite to apt's sources",
        )
    return Archives(release=release[0][0], security=security[0][0])


def _either(label: str) -> tuple[str, str]:
    # where no list was fetched the last field is not filled in
    return f"Debian/{label}", "$(ORIGIN)/$(LABEL)"


def _signed_by() -> str:
    return f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""


def reach_options() -> str:
    """This machine's settings for proxies, certificates and credentials, as an apt.conf."""
    wanted = (
        "Acquire::http",
        "Acquire::https",
        "Acquire::Check-Valid-Until",
        "Acquire::Check-Date",
        "Acquire::Retries",
    )
    dump = run("apt-config", "dump", "--format", '%F "%v";%n', *wanted).stdout
    kept = ['Acquire::Retries "3";', *(line for line in dump.splitlines() if not line.endswith(' "";'))]
    kept += ['Dir::Etc::netrc "/etc/apt/auth.conf";', 'Dir::Etc::netrcparts "/etc/apt/auth.conf.d";']
    return "".join(line + "\n" for line in kept)
