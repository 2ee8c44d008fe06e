"""Every error that opsctl raises on purpose, and the exit code each one ends with.

    OpsctlError                     1  something could not be done
    ├── UsageError                  2  the command line asks for something that cannot be
    ├── SetupError                  3  what we were told does not hold together
    │   ├── ConfigError                opsctl.yml
    │   ├── InventoryError             an inventory file, a tenant's file, a source
    │   ├── UnknownName                no such host, tenant, plan, ...
    │   ├── NothingMatches             a selection without a single host
    │   ├── FuseTripped                a source that is down, empty or shrunken
    │   ├── StalePlan                  a frozen plan that no longer fits
    │   └── Refused                    not here, not like this (and why)
    ├── Locked                      4  somebody else is at it
    ├── Stopped                     5  a gate, the failure budget or a pause
    ├── HostError                   1  a host: always with the host's name
    │   ├── Unreachable                no contact; never a pass
    │   │   └── HostKeyRefused         no pin, or another key than the pinned one
    │   └── HostFailed                 contact, but the work on it failed
    ├── Incomplete                  1  done in part; the message says which part
    ├── StoreError                  1  the store or ledger cannot be read or written
    ├── LabError                    1  the embedded fleet
    └── NotCompliant                6  findings that no waiver covers

`Interrupted` (130) stands outside the tree, with `Declined` (0): they are the user's wish, not an error.
The core raises; only `cli/main.py` turns an error into a message and an exit code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class OpsctlError(Exception):
    """Something could not be done."""

    exit_code: ClassVar[int] = 1
    outcome: ClassVar[str] = "failed"
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.default_hint


class UsageError(OpsctlError):
    """The command line asks for something that cannot be."""

    exit_code = 2
    outcome = "usage"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One fault in a file that a person wrote: where it is, what it is, what would be right."""

    where: str
    what: str
    allowed: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" ({self.allowed})" if self.allowed else "")


class SetupError(OpsctlError):
    """What we were told does not hold together."""

    exit_code = 3
    outcome = "refused"

    def __init__(self, message: str, *, hint: str = "", problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class ConfigError(SetupError):
    """opsctl.yml, an OPSCTL_ variable or the workspace itself is not usable."""

    default_hint = "docs/reference/configuration.md lists every option"


class InventoryError(SetupError):
    """An inventory file does not say what it must."""

    default_hint = "mend the lines above, then: opsctl inventory check"


class UnknownName(SetupError):
    """There is nothing of this name."""


class NothingMatches(SetupError):
    """The selection holds no host; nothing was done."""

    default_hint = "opsctl inventory list shows every host that can be named"


class FuseTripped(SetupError):
    """A source gave too little to be believed; the last good copy stays as it is."""


class StalePlan(SetupError):
    """The world has moved since the plan was frozen."""

    default_hint = "make a new plan"


class Refused(SetupError):
    """Not here, or not like this."""


class Locked(OpsctlError):
    """Somebody else is at it."""

    exit_code = 4
    outcome = "locked"


class Stopped(OpsctlError):
    """A gate, the failure budget or a person stopped it; it can go on later."""

    exit_code = 5
    outcome = "stopped"


class HostError(OpsctlError):
    """One host could not be worked with."""

    outcome = "failed"

    def __init__(self, host: str, message: str, *, hint: str = "") -> None:
        # What a host says may have lines; none of them may look like a line about another host.
        reason = "; ".join(part.strip() for part in message.splitlines() if part.strip())
        super().__init__(f"{host}: {reason}", hint=hint)
        self.host = host
        self.reason = reason


class Unreachable(HostError):
    """No contact with the host: neither good nor bad, unknown."""

    outcome = "unreachable"


class HostKeyRefused(Unreachable):
    """The host showed no key that a person has approved."""

    default_hint = "compare the fingerprint with the owner's, then: opsctl host approve NAME --fingerprints FILE"


class HostFailed(HostError):
    """There was contact, and the work on the host failed."""


class Incomplete(OpsctlError):
    """Done in part."""

    outcome = "incomplete"


class StoreError(OpsctlError):
    """The store or the ledger cannot be read or written; the last good state is intact."""

    default_hint = "opsctl state check says what is wrong with it"


class LabError(OpsctlError):
    """The embedded fleet could not be set up, changed or taken down."""


class NotCompliant(OpsctlError):
    """There are findings that no waiver covers."""

    exit_code = 6
    outcome = "findings"


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM, after a clean stop; `hint` says how to go on."""

    exit_code: ClassVar[int] = 130
    outcome: ClassVar[str] = "interrupted"

    def __init__(self, message: str = "interrupted", *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Declined(Interrupted):
    """A person said no to the question; nothing was done."""

    exit_code = 0
    outcome = "declined"
