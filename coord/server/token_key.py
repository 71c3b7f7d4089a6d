"""This member's key for signing tokens: made at its first start, and never anywhere but in its data folder.

The file ``token-key`` is JSON, for people in an emergency, with a checksum. It is replaced whole: written aside,
synced, renamed, the folder synced. Only the member's own user may read it. It says whose it is: in the folder of
another member it would sign as that one, and neither could be told from the other, nor revoked alone.

What goes out of here is the public key and a function that signs. Neither the log nor a snapshot nor a frame has ever
seen the private one.
"""

import json
import os
import stat
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coord.api.errors import InvalidRequest
from coord.api.signed import ALGORITHM, decode, encode, json_bytes
from coord.disk.errors import CannotOpen, DamagedFolder, NewerFormat, StorageError
from coord.disk.identity import Identity
from coord.replica.inputs import Signer

NAME: Final = "token-key"
FORMAT_VERSION: Final = 1
MODE: Final = 0o600
BYTES_MAX: Final = 64 * 1024

_SUFFIX: Final = ".tmp"
_ANEW: Final = (
    "Or remove the file: the member makes a new key when it starts, and nobody who holds a claim notices; if somebody "
    "else may have the old one, revoke it (coord token-keys revoke …)."
)


class TokenKeyFile:
    """The key in one data folder, which is locked by this process."""

    def __init__(self, folder: Path, identity: Identity) -> None:
        """``identity``: the folder's, with the cluster's id."""
        self._path = folder / NAME
        self._identity = identity

    def load(self) -> Signer:
        """The key in the folder; made now, if there is none.

        Raises :class:`StorageError` for one that is damaged, somebody else's, or readable for others.
        """
        try:
            content = self._read()
        except FileNotFoundError:
            return self.make(0)
        except OSError as error:
            raise CannotOpen(f"Cannot read {self._path}: {error.strerror}.") from error
        return self._signer(content)

    def make(self, generation: int) -> Signer:
        """A new key in the place of whichever is there. Raises :class:`StorageError`."""
        private = Ed25519PrivateKey.generate()
        content = {
            "format": FORMAT_VERSION,
            **self._owner(),
            "generation": generation,
            "made_ms": time.time_ns() // 1_000_000,
            "private_key": encode(private.private_bytes_raw()).decode(),
        }
        content["checksum"] = _checksum(content)
        try:
            self._write(json.dumps(content, indent=1).encode() + b"\n")
        except OSError as error:
            raise StorageError(f"Cannot write a new key to {self._path}: {error.strerror}.") from error
        return self._signer(content)

    # --- the file ---

    def _read(self) -> dict[str, Any]:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            if mode & 0o077:
                raise CannotOpen(
                    f"{self._path} has the mode {mode:04o}: others than its owner may read or write the key with which "
                    f"this member signs tokens. If nobody has: chmod 600 {self._path}. {_ANEW}"
                )
            data = os.read(descriptor, BYTES_MAX)
        finally:
            os.close(descriptor)
        try:
            content = json.loads(data)
            version = content["format"]
            damaged = version == FORMAT_VERSION and content.pop("checksum") != _checksum(content)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            damaged, version = True, None
        if damaged:
            raise DamagedFolder(
                f"{self._path} is damaged: it does not hold the key that was written to it. Put the file back from a "
                f"backup of this folder. {_ANEW}"
            )
        if version != FORMAT_VERSION:
            raise NewerFormat(
                f"{self._path} has format version {version!r:.20}; this coord reads version {FORMAT_VERSION}. Start "
                "the member with the coord that wrote it, or a newer one."
            )
        if any(content.get(name) != value for name, value in self._owner().items()):
            raise CannotOpen(
                f"{self._path} is the key of another data folder (member {content.get('member')!r:.20}): two that sign "
                f"with one key cannot be told apart. Put this folder's own back. {_ANEW}"
            )
        return dict(content)

    def _write(self, data: bytes) -> None:
        aside = self._path.with_name(NAME + _SUFFIX)
        aside.unlink(missing_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        aside.rename(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _owner(self) -> dict[str, object]:
        identity = self._identity
        return {
            "cluster": (identity.cluster_id or b"").hex(),
            "member": identity.member_id,
            "folder": identity.folder_id.hex(),
        }

    def _signer(self, content: dict[str, Any]) -> Signer:
        try:
            private = Ed25519PrivateKey.from_private_bytes(decode(content["private_key"]))
            generation, made_ms = int(content["generation"]), int(content["made_ms"])
        except (ValueError, LookupError, TypeError, InvalidRequest) as error:
            raise DamagedFolder(
                f"{self._path} has no key in it, though its checksum is right. {_ANEW}"
            ) from error
        public = private.public_key().public_bytes_raw()
        member = self._identity.member_id
        key = key_name(member, public)
        value = public_jwk(key, public, member, (self._identity.cluster_id or b"").hex(), made_ms)
        sign: Callable[[bytes], bytes] = private.sign
        return Signer(key, value, generation, sign)


def key_name(member: int, public: bytes) -> str:
    """``<member>-<128 bits of the key's SHA-256>``."""
    return f"{member}-{urlsafe_b64encode(sha256(public).digest()[:16]).rstrip(b'=').decode()}"


def public_jwk(key: str, public: bytes, member: int, cluster: str, made_ms: int) -> bytes:
    """The public key as it stands in the tree: a JWK (RFC 7517, RFC 8037), with some members of ours."""
    return json_bytes(
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": encode(public).decode(),
            "kid": key,
            "use": "sig",
            "alg": ALGORITHM,
            "member": member,
            "cluster": cluster,
            "made_ms": made_ms,
        }
    )


def _checksum(content: dict[str, Any]) -> int:
    return crc32(json_bytes(content))
