"""The key that a host shows now, read without logging in. paramiko speaks the protocol up to the key exchange.

The exchange proves that the host holds the private key, so a shown key is more than a claim.
"""

from __future__ import annotations

import logging
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opsctl.errors import Unreachable
from opsctl.model.host import Host
from opsctl.ssh.failure import Kind, hint_of
from opsctl.ssh.hostkeys import Key

# Asked for in this order; one kind a connection, because a server shows one key in each.
KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")
_OFFERS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


def shown_key(host: Host, kind: str, *, through: Sequence[str] = (), timeout: float) -> Key | None:
    """The host's key of this kind; None when it has none. `through` is an ssh command that
    connects its stdin and stdout with the host's port, from a jump host. Raises Unreachable."""
    import paramiko

    # The protocol thread logs every refused connection; the exception says all of it.
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    with _stream(host, through, timeout) as stream:
        protocol = paramiko.Transport(stream)
        protocol.banner_timeout = timeout
        try:
            protocol.get_security_options().key_types = _OFFERS.get(kind, (kind,))
            protocol.start_client(timeout=timeout)
            key = protocol.get_remote_server_key()
            return Key(kind=key.get_name(), base64=key.get_base64())
        except paramiko.SSHException as error:
            if "Incompatible ssh server" in str(error) or "no acceptable host key" in str(error):
                return None
            raise Unreachable(host.key, f"its key could not be read: {error}") from None
        except (OSError, EOFError) as error:
            raise Unreachable(host.key, f"its key could not be read: {str(error) or 'connection closed'}") from None
        finally:
            protocol.close()


def _kind_of(error: OSError) -> Kind:
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    return "timeout" if isinstance(error, TimeoutError) else "unreachable"


@contextmanager
def _stream(host: Host, through: Sequence[str], timeout: float) -> Iterator[socket.socket]:
    if not through:
        try:
            stream = socket.create_connection((host.address, host.port), timeout=timeout)
        except OSError as error:
            reason = f"no contact with {host.address} port {host.port}: {error.strerror or error}"
            raise Unreachable(host.key, reason, hint=hint_of(_kind_of(error))) from None
        with stream:
            yield stream
        return
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = subprocess.Popen(
            through, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        theirs.close()
        try:
            yield ours
        finally:
            channel.kill()
            channel.wait()
