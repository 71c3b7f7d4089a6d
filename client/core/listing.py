"""How a part of the tree is read, page by page: what to ask next, and whether that was all. Sans IO.

The order does not matter and many questions may be on their way at once: each page is the truth about its range of
names at its own revision, whatever the others say (``mirror.py`` has what follows from that). A znode without
children needs no listing of its own: what comes below it later is told by the watch.
"""

from collections.abc import Iterator
from typing import Final, TypeAlias

from coord.api.ops import Exists, Get, List, WatchScope
from coord.api.paths import join
from coord.api.results import Page, Result, Stat, Znode

Question: TypeAlias = Get | Exists | List
Found: TypeAlias = tuple[str, bytes | None, Stat]
"""``(path, value, stat)``; the value only where it was asked for."""

PAGE: Final = 1_000
"""Znodes of one page; with values it may end earlier."""


class Listing:
    """One reading of what a watch is about: of ``path`` itself, its children, or it and everything below.

    Invariant: every path that it is about was read (as there, or as missing) at or before ``revision``, or is of the
    range of a question that is still open.
    """

    __slots__ = ("_open", "_scope", "_values", "revision")

    def __init__(self, path: str, scope: WatchScope, values: bool) -> None:
        self._scope = scope
        self._values = values
        self._open: dict[Question, None] = {}
        self.revision = 0
        """The greatest that a page was read at."""
        if scope != WatchScope.CHILDREN:
            self._open[Get(path) if values else Exists(path)] = None
        if scope != WatchScope.ZNODE:
            self._ask(path)

    @property
    def finished(self) -> bool:
        return not self._open

    def questions(self, count: int) -> list[Question]:
        """At most ``count`` of those that are still open, the same ones until they are answered."""
        return [question for question, _ in zip(self._open, range(count), strict=False)]

    def answer(self, question: Question, result: Result, revision: int) -> Iterator[Found]:
        """What an open question's answer says is there; ``None``: there is no such znode."""
        del self._open[question]
        self.revision = max(self.revision, revision)
        if isinstance(result, Znode):
            yield question.path, result.value, result.stat
        elif isinstance(result, Stat):
            yield question.path, None, result
        elif isinstance(result, Page):
            for child in result.children:
                if child.stat is None:
                    raise ValueError("a page without the stats that were asked for")
                path = join(question.path, child.name)
                yield path, child.value, child.stat
                if self._scope == WatchScope.SUBTREE and child.stat.child_count:
                    self._ask(path)
            if result.more:
                self._ask(question.path, result.children[-1].name)

    def _ask(self, path: str, after: str | None = None) -> None:
        self._open[List(path, self._values, True, PAGE, after)] = None
