"""Tokens that can be verified without asking the service: a member has signed which claim a token is of, and whose.

*What it guarantees.* :meth:`Verifier.verify` returns only what a member of the cluster has signed: at some moment not
longer ago than the text says, that session held the claim at that path with that token. Nobody else can make such a
text, nor change a character of one, nor pass one path's off as another's.

*What it does not.* **A signature says where a token is from, not that it is the latest.** One that was signed a
moment before its holder was paused, and its claim granted to somebody else, is as genuine afterwards as it was. So
the resource must still refuse tokens below the greatest that it has seen. Nor is a signed token a secret that proves
who presents it: whoever has seen it can present it, until it expires.

*What to do about that.* Verify first, then give the token to a guard of :mod:`coord.recipes.fencing`, as for any other
token. Send it over TLS. Do not rely on the expiry for anything but tidiness: it goes by wall clocks.

When it is worth its cost: where whoever presents tokens is not trusted to tell the truth. A forged greater token would
shut out everybody for ever.

>>> from coord.client import SignedToken
>>> from coord.client.blocking import connect
>>> from coord.recipes.fencing import MemoryHolds, StaleToken
>>> from coord.recipes.fencing.signed import TreeKeys, Verifier
>>> from coord.testing import cluster
>>> with cluster(1) as members, connect(members.endpoints) as client:
...     with client.claim("/locks/printer") as grant:
...         old = str(grant.sign(ttl=60))  # the holder sends it along with each request
...     with client.claim("/locks/printer") as grant:
...         new = str(grant.sign(ttl=60))
...     with client.cache(SignedToken.KEYS) as cache:  # at the resource; in tasks: async with keys_of(client) as keys
...         verifier, holds = Verifier(TreeKeys(cache)), MemoryHolds()
...         for text in (new, old):
...             genuine = verifier.verify(text, path="/locks/printer")
...             try:
...                 with holds.hold("printer", genuine.token):
...                     print("let in")
...             except StaleToken:
...                 print("genuine, and refused")
let in
genuine, and refused

Where the public keys are from: :func:`keys_of` (a client's cache of the tree), :class:`KeyFile` (what ``coord
token-keys jwks`` writes, read anew whenever it changes), :class:`KeySet` (a JWKS in hand).
"""

import json
import os
import time
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from coord.client import Client, CoordError, InvalidRequest, SignedToken, Token, Unavailable
from coord.recipes.fencing.token import NotGenuine

__all__ = [
    "BadSignature",
    "Expired",
    "KeyFile",
    "KeySet",
    "Keys",
    "NotGenuine",
    "OtherCluster",
    "OtherPath",
    "PublicKey",
    "TreeKeys",
    "UnknownKey",
    "Verifier",
    "keys_of",
]

LEEWAY_SECONDS: Final = 5.0
KEYS_REMEMBERED: Final = 256
FILE_BYTES_MAX: Final = 1024 * 1024


class BadSignature(NotGenuine):
    """It was not signed with the key that it names, or it was changed since."""

    slug = "bad_signature"


class UnknownKey(NotGenuine):
    """The key that it names is not among those that are known: revoked, retired, newer than the keys that are known
    here, or made up.
    """

    slug = "unknown_key"


class Expired(NotGenuine):
    """It was genuine. Its holder, if it still is one, has another one signed."""

    slug = "expired"


class OtherPath(NotGenuine):
    """It is of another claim."""

    slug = "other_path"


class OtherCluster(NotGenuine):
    """Another cluster signed it, or its key is another cluster's."""

    slug = "other_cluster"


class PublicKey(NamedTuple):
    """A key of a member."""

    cluster: str
    """Whose member's, in hex."""
    key: Ed25519PublicKey


class Keys(Protocol):
    """Where public keys are found. May raise :class:`~coord.client.Unavailable` (refused)."""

    def find(self, name: str) -> PublicKey | None: ...


class Verifier:
    """Verifies signed tokens with ``keys``. Any number of threads may use one."""

    def __init__(self, keys: Keys, *, leeway: float = LEEWAY_SECONDS) -> None:
        """``leeway``: for how many seconds after its expiry a token is still taken, since clocks differ."""
        if isinstance(leeway, bool) or not isinstance(leeway, int | float) or not 0 <= leeway < float("inf"):
            raise InvalidRequest(f"a leeway is a number of seconds from 0, not {leeway!r:.40}")
        self._keys = keys
        self._leeway = leeway

    def verify(
        self, text: str, *, path: str, cluster: str | None = None, now: float | None = None
    ) -> SignedToken:
        """What the cluster says with ``text``.

        ``path``: of the claim that this resource is guarded by, whole; it comes from the resource, never from whoever
        presents the token. ``cluster``: its id in hex, where keys of several are known. ``now``: seconds since 1970;
        ``None``: as this machine's clock says.

        Raises a :class:`NotGenuine` (refused) that says what is wrong; and :class:`~coord.client.InvalidRequest`
        (refused) for what is no signed token at all.
        """
        if type(path) is not str or not path.startswith("/"):
            raise InvalidRequest(f"path is that of the claim, such as '/locks/a'; not {path!r:.60}")
        token = SignedToken.parse(text)
        found = self._keys.find(token.key)
        if found is None:
            raise UnknownKey(f"there is no key {token.key!r:.60} among those known here", {"key": token.key})
        try:
            found.key.verify(token.signature, token.signed)
        except InvalidSignature:
            raise BadSignature(f"the key {token.key!r:.60} has not signed this", {"key": token.key}) from None
        # From here on it is what a member said. (A member's key signs for its own cluster only, so the first of these
        # cannot be but by somebody's mistake with the keys.)
        if token.cluster != found.cluster or (cluster is not None and token.cluster != cluster):
            expected = found.cluster if cluster is None else cluster
            raise OtherCluster(
                f"that is a token of the cluster {token.cluster}, not of {expected!r:.60}",
                {"cluster": token.cluster},
            )
        if token.path != path:
            raise OtherPath(
                f"that is a token of {token.path!r:.200}, not of {path!r:.200}", {"path": token.path}
            )
        if (time.time() if now is None else now) >= token.expires_s + self._leeway:
            raise Expired(f"the signed token expired at {token.expires_s}", {"expires_s": token.expires_s})
        return token

    def checking(self, path: str | Callable[[str], str]) -> Callable[[str, str], Token]:
        """``verify=verifier.checking("/locks/a")`` for :class:`~coord.recipes.fencing.FencingASGI` and ``FencingWSGI``.

        ``path`` of the claim; or how to tell it by the name of what is guarded.
        """
        return lambda text, name: self.verify(text, path=path(name) if callable(path) else path).token


# --- where keys are from -------------------------------------------------------------------------------------


class KeySet:
    """The keys of a JWKS (RFC 7517), as ``coord token-keys jwks`` prints it: text, bytes, or what it says in JSON.

    Keys of other kinds in it are passed over. Raises :class:`~coord.client.InvalidRequest` (refused) for what is none.
    """

    def __init__(self, jwks: Mapping[str, Any] | str | bytes) -> None:
        said = _json(jwks) if isinstance(jwks, str | bytes) else jwks
        rows = said.get("keys") if isinstance(said, Mapping) else None
        if not isinstance(rows, list):
            raise InvalidRequest('keys are a JWKS: {"keys": [ … ]}, as `coord token-keys jwks` prints it')
        self._keys: dict[str, PublicKey] = {}
        for row in rows:
            if not isinstance(row, Mapping) or row.get("kty") != "OKP" or row.get("crv") != "Ed25519":
                continue
            name, key = _from_jwk(row)
            if self._keys.setdefault(name, key) != key:
                raise InvalidRequest(f"two keys have the name {name!r:.60}")

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, name: str) -> PublicKey | None:
        return self._keys.get(name)


class KeyFile:
    """The keys of a JWKS in a file, which is looked at before each use, and read anew when it has changed.

    For resources that cannot reach the service: let something write ``coord token-keys jwks`` there now and then, aside
    and renamed. New keys are in the tree for a minute before they are used; revoked ones are refused here once the file
    is new. Raises :class:`~coord.client.InvalidRequest` (refused) for a file that is none, or is not there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._read = (self._seen(), self._keys())
        """In one piece: other threads look at it while it is replaced."""

    def find(self, name: str) -> PublicKey | None:
        seen, keys = self._read
        now = self._seen()
        if now != seen:
            # Looked at before it is read: if it changes in between, it is read once more the next time.
            keys = self._keys()
            self._read = (now, keys)
        return keys.find(name)

    def _seen(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise InvalidRequest(f"there are no keys in {self._path}: {error.strerror}") from error
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _keys(self) -> KeySet:
        try:
            with self._path.open("rb") as file:
                return KeySet(file.read(FILE_BYTES_MAX))
        except OSError as error:
            raise InvalidRequest(f"there are no keys in {self._path}: {error.strerror}") from error
        except InvalidRequest as error:
            raise InvalidRequest(f"{self._path}: {error.message}") from error


class Copy(Protocol):
    """A cache of ``/coord/token-keys``: of tasks, or of threads."""

    def get(self, path: str) -> Any: ...

    @property
    def stale_for(self) -> float: ...

    @property
    def failure(self) -> CoordError | None: ...


class TreeKeys:
    """The keys as they stand in the tree, by a cache of :attr:`coord.client.SignedToken.KEYS`. In threads:

    ``with client.cache(SignedToken.KEYS) as cache: verifier = Verifier(TreeKeys(cache))``
    """

    def __init__(self, cache: Copy, *, stale_max: float | None = None) -> None:
        """``stale_max``: seconds for which the service may be out of reach before nothing is verified any more (then
        :class:`~coord.client.Unavailable` is raised); ``None``: the keys known last go on being good.
        """
        self._cache = cache
        self._stale_max = stale_max

    def find(self, name: str) -> PublicKey | None:
        if self._stale_max is not None and self._cache.stale_for > self._stale_max:
            raise Unavailable(
                f"nothing was heard of the keys' cluster for {self._cache.stale_for:.1f} s: a key may be revoked by now"
            )
        if "/" in name or not name:
            return None  # the name is anybody's word until its key is found
        found = self._cache.get(f"{SignedToken.KEYS}/{name}")
        return None if found is None else _of_tree(found.value)


@asynccontextmanager
async def keys_of(client: Client, *, stale_max: float | None = None) -> AsyncIterator[TreeKeys]:
    """The public keys of the client's cluster, kept up for the length of the block: ``async with keys_of(client)``.

    The client needs no session, and no namespace. ``stale_max``: as for :class:`TreeKeys`.
    """
    if client.root != "/":
        raise InvalidRequest(f"the keys are outside of the namespace {client.root}: use a client without one")
    async with client.cache(SignedToken.KEYS) as cache:
        yield TreeKeys(cache, stale_max=stale_max)


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"that is no JSON: {error}") from error


@lru_cache(maxsize=KEYS_REMEMBERED)
def _of_tree(value: bytes) -> PublicKey:
    return _from_jwk(_json(value))[1]


def _from_jwk(row: Mapping[str, Any]) -> tuple[str, PublicKey]:
    name, x, cluster = row.get("kid"), row.get("x"), row.get("cluster")
    try:
        if not isinstance(name, str) or not isinstance(x, str) or not isinstance(cluster, str):
            raise ValueError
        key = Ed25519PublicKey.from_public_bytes(urlsafe_b64decode(x + "=" * (-len(x) % 4)))
    except ValueError as error:
        raise InvalidRequest(
            f"the key {name!r:.60} has no name (kid), cluster, or Ed25519 public key (x) of 32 bytes"
        ) from error
    return name, PublicKey(cluster, key)
