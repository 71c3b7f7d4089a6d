"""A part of the tree as if it were the whole: paths from inside, and as the service knows them. Sans IO.

Ops are translated as rows, just before they are sent, and results just before they are returned: so every call,
and everything that is made of calls, is inside without knowing of it. Messages of errors are for people, and
keep the whole paths that the service wrote into them; ``details`` are for programs, and have the paths from inside.
"""

from dataclasses import replace
from typing import Final

from coord.api.errors import CoordError, InvalidRequest
from coord.api.events import ChangeKind, Event
from coord.api.ops import (
    CLAIM,
    CLAIM_FIRST,
    CLAIM_INFO,
    CLAIM_SETTINGS,
    CLAIMS,
    CREATE,
    DELETE,
    EXISTS,
    FENCE,
    FENCED_WRITE,
    GET,
    HOLD_BACK,
    LANES,
    LIST,
    LOG,
    MULTI,
    RELEASE,
    ROTATE_TOKEN_KEYS,
    SESSIONS,
    SET,
    SIGN_TOKEN,
    STATUS,
    CreateFlag,
    Row,
)
from coord.api.paths import ROOT, check_path, is_below
from coord.api.results import ClaimFacts, ClaimPage, Created, MultiResult, Result, Znode

_WITH_PATH: Final = (
    CREATE, SET, DELETE, GET, EXISTS, LIST, CLAIM, CLAIM_FIRST, CLAIM_SETTINGS, CLAIMS, CLAIM_INFO, HOLD_BACK, LANES,
)  # fmt: skip
"""Their rows have the path of a znode after the code."""
_PATHS_IN_DETAILS: Final = ("path", "fence", "claim")
_WITHOUT_PATH: Final = (LOG, SESSIONS, STATUS, RELEASE, SIGN_TOKEN, ROTATE_TOKEN_KEYS)


class Namespace:
    """What is below ``root``, seen from inside: there ``root`` itself is ``/``."""

    __slots__ = ("root",)

    def __init__(self, root: str) -> None:
        """``root`` is a whole path, and not ``/``."""
        self.root = root

    def outside(self, path: str) -> str:
        """The whole path of one from inside. Raises :class:`InvalidRequest` (refused).

        It is valid if ``path`` is, and not too long; that is checked like that of any op. Only what would lead out
        is stopped here: ``"x"`` would make ``/appx`` of ``/app``.
        """
        if type(path) is not str or not path.startswith("/"):
            check_text(path)
            check_path(path)
        return self.root if path == ROOT else self.root + path

    def inside(self, path: str) -> str | None:
        """What a whole path is from inside; ``None`` for one that is not there."""
        if path == self.root:
            return ROOT
        return path[len(self.root) :] if is_below(path, self.root) else None

    def surely_inside(self, path: str) -> str:
        """The same, of what a member told as being in here. Raises ValueError when it is not."""
        found = self.inside(path)
        if found is None:
            raise ValueError(f"{path!r} is not below {self.root!r}")
        return found

    # --- what is sent ---

    def op(self, row: Row) -> Row:
        """The op on whole paths."""
        code = row[0]
        if code in _WITH_PATH:
            path = self.outside(row[1])
            if code == CREATE and row[1] == ROOT and row[4] & CreateFlag.SEQUENTIAL:
                path += "/"  # the number is the whole name, below "/"
            return [code, path, *row[2:]]
        if code == MULTI:
            _, compare, then, otherwise = row
            return [
                MULTI,
                [[target, self.outside(path), *rest] for target, path, *rest in compare],
                [self.op(each) for each in then],
                [self.op(each) for each in otherwise],
            ]
        if code == FENCE:
            return [FENCE, self.outside(row[1]), None if row[2] is None else self.outside(row[2])]
        if code == FENCED_WRITE:
            return [FENCED_WRITE, row[1], self.op(row[2])]
        if code in _WITHOUT_PATH:
            return row
        raise InvalidRequest(
            f"an op with the code {code} cannot be asked for in a namespace"
        )  # it might lead out

    # --- what is answered ---

    def result(self, result: Result) -> Result:
        """A result as seen from inside."""
        if isinstance(result, Znode):
            return Znode(self.surely_inside(result.path), result.value, result.stat, result.revision)
        if isinstance(result, Created):
            return Created(self.surely_inside(result.path), result.revision)
        if isinstance(result, MultiResult):
            results = tuple(self.result(each) for each in result.results)
            return MultiResult(result.succeeded, results, result.revision)
        if isinstance(result, ClaimPage):
            claims = tuple([replace(each, path=self.surely_inside(each.path)) for each in result.claims])
            return replace(result, claims=claims)
        if isinstance(result, ClaimFacts):
            fenced_by, fences = self._those_inside(result.fenced_by), self._those_inside(result.fences)
            return replace(result, fenced_by=fenced_by, fences=fences)
        return result

    def _those_inside(self, paths: tuple[str, ...]) -> tuple[str, ...]:
        return tuple([inside for inside in map(self.inside, paths) if inside is not None])

    def event(self, event: Event) -> Event:
        """An event of a watch on a whole path in here, as seen from inside."""
        value = self.value(event.kind, event.value)
        return replace(event, path=self.surely_inside(event.path), value=value)

    def value(self, kind: ChangeKind, value: bytes | None) -> bytes | None:
        """A change's value as seen from inside. Of a fence it is a path: ``b""`` where that is not in here, as ``None``
        says that the fence was taken away.
        """
        if kind != ChangeKind.FENCED or value is None:
            return value
        return (self.inside(value.decode()) or "").encode()

    def error(self, error: CoordError) -> CoordError:
        """``error`` with details as seen from inside; a path that is not in here is none of its details."""
        seen: dict[str, object] = {}
        for key, value in error.details.items():
            within = self.inside(value) if key in _PATHS_IN_DETAILS and isinstance(value, str) else value
            if within is not None:
                seen[key] = within
        error.details = seen
        return error


def check_text(path: object) -> None:
    """Raise :class:`InvalidRequest` (refused) for what cannot even be looked at as a path."""
    if type(path) is not str:
        raise InvalidRequest(f"a path is text, not {type(path).__name__}")


def below(namespace: Namespace | None, path: str) -> Namespace | None:
    """The namespace that is ``path`` in ``namespace``; ``None`` is the whole tree."""
    check_text(path)
    check_path(path)
    root = path if namespace is None else namespace.outside(path)
    return None if root == ROOT else Namespace(check_path(root))
