"""From a failed ssh to the error that a person understands: which host, why, both fingerprints, what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opsctl.errors import HostFailed, HostKeyRefused, Unreachable
from opsctl.model.host import Host
from opsctl.ssh.channel import Ended
from opsctl.ssh.failure import classify, hint_of
from opsctl.ssh.hostkeys import Key
from opsctl.ssh.shown import KINDS

# What ssh says of a connection through a proxy command that ended: it knows no address.
NO_ADDRESS = b"UNKNOWN port 65535"
# How ssh tells that the master went away before it opened a session for us. It opens one before it reads a byte of our
# input, so no script was begun. A host that lost its power leaves such a master behind: it stands until it is used.
NO_SESSION = b"mux_client_request_session: read from master failed"
_APPROVE = "get the fingerprint from the host's owner, then: opsctl host approve {name} --fingerprint SHA256:..."
_REPLACE = (
    "ask the host's owner whether the key was changed on purpose (reinstalled?); if not, somebody else answers at this "
    "address. With the new fingerprint from the owner: opsctl host approve {name} --replace --fingerprint SHA256:..."
)


def key_refused(host: Host, approved: Sequence[Key], show: Callable[[str], Key | None]) -> Unreachable:
    """No key is approved, or another one than the host shows; `show` reads its key of a kind."""
    kinds = dict.fromkeys([*(key.kind for key in approved), *KINDS])
    try:
        shown = next((key for kind in kinds if (key := show(kind))), None)
    except Unreachable as error:
        if approved:
            return HostKeyRefused(host.key, f"its host key was refused, and now {error.reason}")
        return Unreachable(host.key, f"{error.reason} (and no key of it is approved yet)", hint=error.hint)
    if not approved:
        reason = f"no key is approved for it; it shows {shown or 'no key that we know'}"
        return HostKeyRefused(host.key, reason, hint=_APPROVE.format(name=host.key))
    ours = ", ".join(str(key) for key in approved)
    reason = f"it shows another key than the approved one; approved: {ours}; shown: {shown or 'no key that we know'}"
    return HostKeyRefused(host.key, reason, hint=_REPLACE.format(name=host.key))


def never_began(stderr: bytes) -> bool:
    """Whether a script that was to go over the shared connection alone certainly did not start."""
    return NO_ADDRESS in stderr and (NO_SESSION in stderr or b"mux_client" not in stderr)


def of_key(ended: Ended) -> bool:
    """Whether ssh ended because of the host's key."""
    return not ended.why and classify(_said(ended)).kind in ("unknown-key", "changed-key")


def no_contact(host: Host, ended: Ended, *, jump: Host | None, when_slow: str) -> Unreachable:
    """There was no contact, or it broke; `when_slow` says what it means that the time was up."""
    if ended.why == "stopped":
        return Unreachable(host.key, "stopped before it answered")
    if ended.why:
        return Unreachable(host.key, when_slow, hint="is the host overloaded, or frozen?")
    failure = classify(_said(ended))
    if jump is not None and NO_ADDRESS in ended.stderr:
        # What happened behind the jump host, ssh does not say; only whether it took too long.
        what = "no answer" if failure.kind == "timeout" else "no connection"
        hint = f"is the host up, and does {jump.key} get through to it?"
        return Unreachable(host.key, f"{what} from {host.address} port {host.port} through {jump.key}", hint=hint)
    if NO_ADDRESS in ended.stderr:
        # The connection is gone so thoroughly that ssh no longer knows whose it was.
        return Unreachable(host.key, f"no answer from {host.address} port {host.port}", hint=hint_of("timeout"))
    return Unreachable(host.key, failure.reason, hint=failure.hint)


def no_answer(host: Host, ended: Ended) -> HostFailed:
    """There was contact, and the script ended without an answer."""
    said = classify(_said(ended)).detail
    if "sudo:" in said:
        return HostFailed(host.key, said, hint="the automation account needs sudo without a password")
    if ended.code == 127:
        return HostFailed(host.key, f"Python 3 is missing: {said}", hint="install python3 on the host")
    return HostFailed(host.key, f"the script gave no answer (exit {ended.code}){f': {said}' if said else ''}")


def _said(ended: Ended) -> str:
    return ended.stderr.decode("utf-8", "replace")
