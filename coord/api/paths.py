"""Paths: the names of znodes.

A path is ``/`` (the root) or ``/`` and names joined by ``/``. A name is any text without ``/`` and
control characters, except ``.`` and ``..``. Nothing is normalised: two paths are the same znode
exactly when they are the same text.
"""

import re

from coord.api.errors import InvalidRequest

ROOT = "/"
PATH_MAX_BYTES = 1024
"""In UTF-8. A constant of the format, not a setting: paths are keys of the replicated state."""

RESERVED = "/coord"
"""The service's own subtree; nobody creates, sets or deletes in it by request."""

TOKEN_KEYS = "/coord/token-keys"
"""Below it stand the public keys of the members, for signed tokens, each a JWK. Its value is the *generation* in
decimal: how often new keys were asked for."""

# No C0/C1 controls or DEL (they hide in terminals and logs), no lone surrogates (not UTF-8).
_NAME = r"(?!\.{1,2}(?:/|\Z))[^/\x00-\x1f\x7f-\x9f\ud800-\udfff]+"
_VALID = re.compile(rf"(?:/{_NAME})+\Z")
_VALID_NAME = re.compile(rf"{_NAME}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def is_valid(path: str) -> bool:
    """Say whether ``path`` may name a znode."""
    if len(path) > PATH_MAX_BYTES // 4 and len(path.encode("utf-8", "surrogatepass")) > PATH_MAX_BYTES:
        return False
    return _VALID.match(path) is not None or path == ROOT


def check_path(path: str) -> str:
    """Return ``path``, or raise :class:`InvalidRequest` (refused) that says what is wrong with it."""
    if not is_valid(path):
        raise InvalidRequest(f"{shown(path)} is not a path: {_fault(path)}")
    return path


def shown(path: str) -> str:
    """``path`` quoted for an error text: escaped and of bounded length."""
    text = repr(path)
    return text if len(text) <= 120 else f"{text[:100]}…{text[-1]}"


def _fault(path: str) -> str:
    if not path.startswith("/"):
        return "it does not start with '/'"
    if len(path.encode("utf-8", "surrogatepass")) > PATH_MAX_BYTES:
        return f"it is longer than {PATH_MAX_BYTES} bytes"
    if _CONTROL.search(path):
        return "it has a control character"
    if _SURROGATE.search(path):
        return "it is not text in UTF-8"
    names = path[1:].split("/")
    if "" in names:
        return "it has an empty name (a '//' or a '/' at the end)"
    return "'.' and '..' are not names"


def is_valid_name(name: str) -> bool:
    """Say whether ``name`` may be the last part of a path."""
    return _VALID_NAME.match(name) is not None


def is_reserved(path: str) -> bool:
    """Say whether ``path`` is in the service's own subtree."""
    return path.startswith(RESERVED) and (len(path) == len(RESERVED) or path[len(RESERVED)] == "/")


def parent(path: str) -> str:
    """The path above; the root is its own parent."""
    return path[: path.rfind("/")] or ROOT


def name(path: str) -> str:
    """The last part; ``""`` for the root."""
    return path[path.rfind("/") + 1 :]


def join(parent_path: str, child_name: str) -> str:
    """The path of ``child_name`` below ``parent_path``."""
    return f"/{child_name}" if parent_path == ROOT else f"{parent_path}/{child_name}"


def ancestors(path: str) -> list[str]:
    """Every path strictly above ``path``, nearest first, the root last; ``[]`` for the root."""
    found = []
    while path != ROOT:
        path = parent(path)
        found.append(path)
    return found


def is_below(path: str, top: str) -> bool:
    """Say whether ``path`` is strictly below ``top``."""
    return path != top and (top == ROOT or path.startswith(f"{top}/"))
