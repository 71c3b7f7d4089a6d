"""One watch, and what is read beside it: how a mirror is fed, whoever holds it."""

from collections.abc import Callable, Iterable
from typing import Final

from coord.api.errors import Disconnected, NotFound
from coord.api.events import Event
from coord.api.ops import ReadMode
from coord.api.results import Result
from coord.client.calls import typed
from coord.client.core.listing import Question
from coord.client.core.mirror import Mirror
from coord.client.core.namespace import Namespace
from coord.client.core.request import Request, itself
from coord.client.core.watching import Watching
from coord.client.link import Bell, Link

QUESTIONS_MAX: Final = 64
"""Pages that are asked for at a time. Each is at most ``list_page_bytes`` of a member, plus its names."""


class Feed:
    """An open watch, in the paths of its namespace.

    ``news`` is called, by whoever reads the connection, as soon as there is something to take or the watch has
    ended; it must neither wait nor raise. Those who wait on ``bell`` are woken after it.
    """

    def __init__(
        self,
        link: Link,
        path: str,
        scope: int,
        space: Namespace | None,
        bell: Bell,
        news: Callable[[], None] | None = None,
    ) -> None:
        self._link = link
        self._path = path if space is None else space.outside(path)
        self._scope = scope
        self._space = space
        self._bell = bell
        self._news = news
        self._watching: Watching | None = None

    def set(self) -> None:
        """The link says that there is news."""
        if self._news is not None:
            self._news()
        self._bell.set()

    @property
    def watching(self) -> Watching:
        """Once :meth:`open` was called."""
        if self._watching is None:
            raise RuntimeError("a feed that is not open")
        return self._watching

    async def open(self, from_revision: int | None, ends_at: float) -> None:
        """Open the watch. *Cancellation*, or an error: it is closed."""
        self._watching = self._link.core.watch(self._path, self._scope, from_revision, ends_at, self)
        self._link.settle()
        opening = self._watching.opening
        try:
            while not opening.done:
                await self._bell.wait()
            if opening.error is None and opening.reply is None:
                raise Disconnected("this watch was closed while it was opened", outcome="refused")
            opening.row()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """May be called at any time, and again."""
        if self._watching is not None and not self._watching.closed:
            self._link.core.unwatch(self._watching)
            self._link.settle()
            self._bell.set()

    # --- events ---

    def take(self) -> Event:
        """The next event, which must be there. :meth:`went_on` is to be called after some."""
        event = self.watching.take()
        return event if self._space is None else self._space.event(event)

    def went_on(self) -> None:
        """Events were taken: a watch that was paused for want of room may go on."""
        if self.watching.paused:
            self._link.core.taken(self.watching)
            self._link.settle()

    @property
    def told(self) -> int:
        """Everything through this revision was told: it was taken, or it waits to be."""
        return self._link.core.told(self.watching) or 0

    # --- reads ---

    async def fill(self, mirror: Mirror, ends_at: float, tell: Callable[[Event], None] | None = None) -> None:
        """Read and take events until ``mirror`` is whole; each event is told to ``tell``, too.

        Raises the watch's error, and those of reads. *Cancellation:* may be called again, and goes on.
        """
        while True:
            # Everything that was told is applied before anything is asked: so no page is older than the mirror.
            while self.watching.buffer:
                event = self.take()
                mirror.apply(event)
                if tell is not None:
                    tell(event)
            if self.watching.error is not None:
                raise self.watching.error
            mirror.check_size()
            mirror.told(self.told)
            if mirror.whole:
                return
            self.went_on()
            questions = mirror.questions(QUESTIONS_MAX)
            answers = await self.ask(questions, ends_at)
            for question, (result, revision) in zip(questions, answers, strict=True):
                mirror.answer(question, result, revision)

    async def ask(
        self, questions: Iterable[Question], ends_at: float, at_least: int | None = None
    ) -> list[tuple[Result, int]]:
        """Read all at the same time; for each what it found, ``None`` where no znode is, and the revision of that.

        *Cancellation:* they are abandoned.
        """
        core, watching = self._link.core, self.watching
        mode = ReadMode.LINEARIZABLE if at_least is None else ReadMode.AT_LEAST
        number = watching.number if watching.opened else 0
        requests: list[Request] = []
        try:
            for question in questions:
                row = question.row() if self._space is None else self._space.op(question.row())
                requests.append(core.read(row, mode, at_least or 0, ends_at, self._link.waiter()))
            for request in requests:
                await self._link.finished(request, itself)
        finally:
            for request in requests:
                if not request.done:
                    core.abandon(request)
        answers = [_answer(request) for request in requests]
        for _, revision in answers:
            watching.heard(number, revision)
        return answers


def _answer(request: Request) -> tuple[Result, int]:
    try:
        result = typed(Request.result, request)
    except NotFound:
        result = None
    if request.reply is None:
        raise RuntimeError("an answer without a reply")
    return result, int(request.reply[2])
