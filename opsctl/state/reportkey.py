"""The key with which this installation signs its reports: Ed25519, beside the store, readable by its group alone.

`opsctl ledger key` makes it, once. The public half goes to whoever is to verify reports, by another way than reports.
The only importer of cryptography.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl.errors import Refused, StoreError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FILE = "ledger.key"


@dataclass(frozen=True, kw_only=True)
class ReportKey:
    """A private key that signs; its repr shows nothing of it. `public` is the other half in PEM."""

    public: str
    _private: Ed25519PrivateKey

    def __repr__(self) -> str:
        return "ReportKey(...)"

    def sign(self, message: bytes) -> bytes:
        """64 bytes (RFC 8032)."""
        return self._private.sign(message)


def load(state: Path) -> ReportKey | None:
    """The key of a store's folder; None where nobody has made one. Raises StoreError for one that cannot be used."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    path = state / FILE
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
            if os.fstat(stream.fileno()).st_mode & 0o007:
                raise StoreError(f"{path} can be read by everybody on this machine", hint=f"chmod o= {path}")
            text = stream.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"the signing key {path} cannot be read: {error.strerror}") from error
    try:
        private = load_pem_private_key(text, password=None)
    except (ValueError, TypeError) as error:
        raise StoreError(f"the signing key {path} is damaged", hint=_RENEW) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise StoreError(f"the signing key {path} is no Ed25519 key", hint=_RENEW)
    return _key(private)


_RENEW = "take it from your own safe copy; or move it away and make another: opsctl ledger key"


def make(state: Path) -> ReportKey:
    """Make the key. Raises Refused where there is one."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = Ed25519PrivateKey.generate()
    text = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = state / FILE
    part = state / f".{FILE}.{secrets.token_hex(8)}"
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "wb") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(part, path)  # never over one that another has made meanwhile
    except FileExistsError:
        raise Refused(f"{path} is there already", hint="opsctl ledger key shows it") from None
    except OSError as error:
        raise StoreError(f"the signing key {path} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return _key(private)


def _key(private: Ed25519PrivateKey) -> ReportKey:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return ReportKey(public=public.decode("ascii"), _private=private)
