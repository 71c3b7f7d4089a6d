"""Signed tokens: a fencing token, and whose it is, in a text that says by its signature which cluster gave it.

The text is a JWT (RFC 7519) in the compact serialization of JWS (RFC 7515), signed with Ed25519 (RFC 8037): three
parts in base64url, joined by dots. What is signed is the text of the first two, so nothing has to be canonical, and any
JWT library can verify it. ``typ`` keeps it apart from JWTs of others (RFC 8725 §3.11).

Nothing here signs or verifies: a member signs, a resource verifies (``coord.recipes.fencing.signed``).
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from coord.api.errors import InvalidRequest
from coord.api.paths import TOKEN_KEYS
from coord.api.tokens import Token

ALGORITHM: Final = "EdDSA"
TYPE: Final = "coord-token+jwt"
TEXT_MAX: Final = 8_192
"""Characters. A path of 1024 bytes and a client's name of 128 characters, escaped and encoded, stay below it."""
SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class SignedToken:
    """What a signed token says. That somebody has one of these does not mean that it was verified."""

    KEYS: ClassVar[str] = TOKEN_KEYS
    """The path below which the public keys stand, each a JWK under its name."""

    text: str
    """The whole, as it is handed on."""
    cluster: str
    """The cluster's id, in hex."""
    path: str
    """Of the claimed znode, from the root of the whole tree."""
    token: Token
    session: int
    """Of the holder."""
    client: str
    """What the holder calls itself: for people, nobody has proved it."""
    issued_s: int
    """Seconds since 1970, by the clock of the member that signed."""
    expires_s: int
    """Likewise."""
    key: str
    """The name of the key that signed: ``/coord/token-keys/<key>``."""

    def __str__(self) -> str:
        return self.text

    @property
    def signed(self) -> bytes:
        """What the signature is of: the first two parts with their dot."""
        return self.text.rpartition(".")[0].encode("ascii")

    @property
    def signature(self) -> bytes:
        return decode(self.text.rpartition(".")[2])

    @classmethod
    def parse(cls, text: str) -> Self:
        """What ``text`` says, **without verifying it**.

        Raises :class:`InvalidRequest` (refused) for what is no signed token, whoever signed it.
        """
        key, facts = _taken_apart(text)
        numbers: list[Any] = [facts.get(name) for name in ("session", "iat", "exp")]
        texts: list[Any] = [facts.get(name) for name in ("iss", "sub", "client", "token")]
        if not all(type(each) is int and each >= 0 for each in numbers) or not all(
            type(each) is str for each in texts
        ):
            raise _malformed("its payload lacks a field, or has one of another type")
        cluster, path, client, token = texts
        session, issued_s, expires_s = numbers
        return cls(text, cluster, path, Token.parse(token), session, client, issued_s, expires_s, key)


def to_be_signed(
    key: str,
    cluster: bytes,
    path: str,
    token: Token,
    session: int,
    client: str,
    issued_s: int,
    expires_s: int,
) -> bytes:
    """What ``key`` signs."""
    header = {"alg": ALGORITHM, "kid": key, "typ": TYPE}
    # The token as text: its revision may be more than the 2^53 that JSON's readers hold exactly.
    payload = {
        "client": client,
        "exp": expires_s,
        "iat": issued_s,
        "iss": cluster.hex(),
        "session": session,
        "sub": path,
        "token": str(token),
    }
    return b".".join([encode(json_bytes(part)) for part in (header, payload)])


def signed_text(signed: bytes, signature: bytes) -> str:
    """The whole."""
    return f"{signed.decode('ascii')}.{encode(signature).decode('ascii')}"


def _taken_apart(text: str) -> tuple[str, dict[str, Any]]:
    """The name of the key, and the payload. Nothing of it is to be believed yet."""
    if type(text) is not str:
        raise _malformed(f"it is text, not {type(text).__name__}")
    if len(text) > TEXT_MAX or not text.isascii():
        raise _malformed(f"it has at most {TEXT_MAX} characters, all of them ASCII")
    parts = text.split(".")
    if len(parts) != 3:
        raise _malformed(f"it has three parts with dots between, not {len(parts)}")
    header, payload, signature = [decode(part) for part in parts]
    says = _object(header, "header")
    # The algorithm is not the sender's to choose: "none", or an HMAC with the public key as its secret, are how JWTs
    # are forged.
    if says.get("alg") != ALGORITHM or says.get("typ") != TYPE or "crit" in says:
        raise _malformed(f'its header says "alg": "{ALGORITHM}", "typ": "{TYPE}", and nothing critical')
    key = says.get("kid")
    if type(key) is not str:
        raise _malformed("its header names no key")
    if len(signature) != SIGNATURE_BYTES:
        raise _malformed(f"its signature has {SIGNATURE_BYTES} bytes, not {len(signature)}")
    return key, _object(payload, "payload")


def json_bytes(value: dict[str, Any]) -> bytes:
    """JSON, as short as it gets, and the same each time."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def encode(data: bytes) -> bytes:
    """base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=")


def decode(text: str) -> bytes:
    """The bytes of base64url without padding. Raises :class:`InvalidRequest` (refused).

    Of all texts of the same bytes only one is taken: 64 bytes leave four bits of their last character to whoever
    likes to change them, and what counts or blocks texts would take two of one token for different ones.
    """
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        data = b""
    if encode(data) != text.encode("ascii", "replace"):
        raise _malformed("a part of it is not base64url without padding")
    return data


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if type(found) is not dict:
        raise _malformed(f"its {what} is no JSON object")
    return found


def _malformed(why: str) -> InvalidRequest:
    return InvalidRequest(f"that is no signed token of coord: {why}")
