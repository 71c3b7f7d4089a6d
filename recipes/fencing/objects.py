"""A guard of objects in a store that can put on condition: S3, GCS, Azure Blob Storage, MinIO, or a folder.

*What it guarantees.* An object is never replaced with a lower token than one that it was ever put with. The
token is *in* the object, so the one conditional request that checks it also remembers it; nothing else is
kept anywhere, nothing is locked, and a paused holder keeps nobody waiting.

*What it does not.* It knows of no other object than the one that is put. An object that is deleted has
forgotten its token. And readers meet a short head before the content: :meth:`ObjectGuard.get`, or
:func:`opened`, takes it off.

*What to do about that.* Put an empty object rather than delete one. Take the right to put without a condition
away (S3: a bucket policy that asks for ``s3:if-match`` or ``s3:if-none-match``).

>>> from coord.recipes.fencing import MemoryObjects, ObjectGuard, StaleToken, Token
>>> guard = ObjectGuard(MemoryObjects())
>>> guard.put("reports/today", Token(1, 7), b"by the new holder")
>>> try:
...     guard.put("reports/today", Token(1, 5), b"by the old one, late")
... except StaleToken as error:
...     print(error.presented, "is below", error.greatest)
1-5 is below 1-7
>>> guard.get("reports/today")
b'by the new holder'

Why in the object, not in its metadata? S3's ETag is a digest of the content alone, so it can come back: 1.
the old holder reads the object (content A, token 5 in its metadata), and is paused. 2. the new one puts B,
and then A again, with token 6. 3. the old one puts on condition of A's ETag, and is let in. With the token in
the content, no ETag of an older token ever comes back.

An :class:`Objects` for a store is two methods:

============================ =============================================== =====================================
store                        ``put_if_match(key, data, tag)``                ``tag is None``: only where none is
============================ =============================================== =====================================
S3 (boto3 ``put_object``)    ``IfMatch=tag``; the answer's ``ETag``          ``IfNoneMatch="*"``
GCS (``upload_from_string``) ``if_generation_match=int(tag)``; generation    ``if_generation_match=0``
Azure (``upload_blob``)      ``etag=tag, match_condition=IfNotModified``     ``overwrite=False``
============================ =============================================== =====================================

An answer 412 (S3 also: 409, a concurrent put; 404, deleted meanwhile) becomes :class:`~coord.client.Conflict`.
Any other failure is raised as it is: it may have happened, and trying again with the same token is safe.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from coord.client import Conflict, DeadlineExceeded, InvalidRequest, Token
from coord.recipes.fencing.durable import DamagedGuard, TokenFile, make_folder, plain_name, replace
from coord.recipes.fencing.file import check_deadline
from coord.recipes.fencing.token import HEADER, Presentable, admit, check_name, checked

_HEAD: Final = f"{HEADER}: ".encode()
_HEAD_END: Final = b"\n\n"
_HEAD_BYTES_MAX: Final = 80
"""Of the whole head: two numbers of 19 digits, and what stands around them."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as it was read."""

    data: bytes
    tag: str
    """Changes whenever the data do: an ETag, a generation."""


class Objects(Protocol):
    """A store of objects. Both methods are linearizable, as those of the stores above are."""

    def get(self, key: str) -> Stored | None:
        """The object; ``None``: there is none."""

    def put_if_match(self, key: str, data: bytes, tag: str | None) -> str:
        """Put the object if it still has ``tag`` (``None``: if there is none), in one step; gives its new
        tag.

        Raises :class:`~coord.client.Conflict` (refused) if not.
        """


class ObjectGuard:
    """Puts objects of ``objects`` with a token. ``deadline``: how many seconds a put may go on meeting
    others' puts.
    """

    def __init__(self, objects: Objects, *, deadline: float = 10.0) -> None:
        self._objects = objects
        self._deadline = check_deadline(deadline)

    def put(self, key: str, token: Presentable, data: bytes) -> None:
        """Make ``data`` the object. Raises :class:`~coord.recipes.fencing.StaleToken` (refused)."""
        held = memoryview(data).tobytes()
        self.update(key, token, lambda _: held)

    def update(self, key: str, token: Presentable, change: Callable[[bytes | None], bytes]) -> bytes:
        """Make ``change(data)`` the object, of the data that it replaces (``None``: there was none); gives
        the new data.

        ``change`` may be called again, when another put of the same holder, or of a lower token, was faster.
        Raises :class:`~coord.recipes.fencing.StaleToken`, or
        :class:`DeadlineExceeded` after too many of those (both refused).
        """
        presented = checked(token)
        check_name(key)
        until = time.monotonic() + self._deadline
        while True:
            stored = self._objects.get(key)
            before, greatest = (None, None) if stored is None else opened(stored.data)
            admit(key, presented, greatest)
            after = memoryview(change(before)).tobytes()
            try:
                self._objects.put_if_match(
                    key, sealed(presented, after), None if stored is None else stored.tag
                )
            except Conflict:
                if time.monotonic() < until:
                    continue  # at once: whoever was faster has got on, so somebody always does
                late = DeadlineExceeded(
                    f"others kept replacing {key!r} for {self._deadline:g} s; nothing was put"
                )
                late.outcome = "refused"
                raise late from None
            return after

    def get(self, key: str) -> bytes | None:
        """The object's data, without their head; ``None``: there is none."""
        stored = self._objects.get(check_name(key))
        return None if stored is None else opened(stored.data)[0]

    def greatest(self, key: str) -> Token | None:
        """The token that the object was put with: for people to look at, never to decide by."""
        stored = self._objects.get(check_name(key))
        return None if stored is None else opened(stored.data)[1]


def sealed(token: Token, data: bytes) -> bytes:
    """``data`` behind the head that says ``token``."""
    return b"%b%b%b%b" % (_HEAD, str(token).encode(), _HEAD_END, data)


def opened(data: bytes) -> tuple[bytes, Token | None]:
    """The data behind the head, and the token; all of it, and ``None``, for an object that was put without
    one.

    Raises :class:`~coord.recipes.fencing.DamagedGuard` (refused) for a head that says no token.
    """
    if not data.startswith(_HEAD):
        return data, None
    end = data.find(_HEAD_END, 0, _HEAD_BYTES_MAX)
    try:
        if end >= 0:
            return data[end + len(_HEAD_END) :], Token.parse(
                data[len(_HEAD) : end].decode("ascii", "replace")
            )
    except InvalidRequest:
        pass  # as bad as a head without an end
    raise DamagedGuard(f"the object begins with {data[:_HEAD_BYTES_MAX]!r}, which says no fencing token")


class MemoryObjects:
    """A store for tests, and for one process. Safe to share among threads."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._objects: dict[str, Stored] = {}
        self._puts = 0

    def get(self, key: str) -> Stored | None:
        return self._objects.get(key)

    def put_if_match(self, key: str, data: bytes, tag: str | None) -> str:
        with self._mutex:
            stored = self._objects.get(key)
            check_tag(key, None if stored is None else stored.tag, tag)
            self._puts += 1
            self._objects[key] = Stored(data, str(self._puts))
            return str(self._puts)


class FileObjects:
    """A store in a folder: for tests, and for the processes of one machine.

    A put is one rename, under a lock, so a kill -9 leaves the old object or the new one. (A new name for each
    version, made by ``link``, would need no lock; but old versions would have to stay for ever: a paused put
    would take the name of one that was cleaned away, and believe to have been the first.)
    """

    def __init__(self, folder: Path, *, deadline: float = 10.0) -> None:
        self._folder = Path(folder)
        self._deadline = check_deadline(deadline)
        make_folder(self._folder)

    def get(self, key: str) -> Stored | None:
        try:
            tag, _, data = self._path(key).read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        return Stored(data, tag.decode("ascii"))

    def put_if_match(self, key: str, data: bytes, tag: str | None) -> str:
        path = self._path(key)
        with TokenFile(path.with_suffix(".lock")).locked(self._deadline):
            stored = self.get(key)
            check_tag(key, None if stored is None else stored.tag, tag)
            new = str(1 if stored is None else int(stored.tag) + 1)
            replace(path, new.encode() + b"\n" + data, path.with_suffix(".new"))
        return new

    def _path(self, key: str) -> Path:
        return self._folder / plain_name(key)


def check_tag(key: str, present: str | None, wanted: str | None) -> None:
    if present != wanted:
        raise Conflict(f"{key!r} has the tag {present}, not {wanted}", {"key": key, "tag": present})
