"""The requests of one client: queued, sent, answered, sent again. Sans IO.

Ids. One counter for everything that a session sends. A write takes its id when it is first sent and keeps it for
every sending; ``confirmed`` is the id before the first write that is not answered. Reads take new ids with each
sending: they have no effect that could double.

After a reconnection everything that is unanswered goes out again, in its order, before anything new. What a former
connection had sent may be applied meanwhile; its answer then comes here, perhaps before the write was sent again.

So does a write whose caller has gone (its deadline, a cancellation); its answer is awaited in silence. The
interleaving that forbids to drop it: 1. Writes 4, 5 and 6 were sent on a connection that breaks; they are still on
their way. The caller of 5 has given up. 2. The client sends 4 and 6 again; as 4 is unanswered, nothing past 3 is
confirmed. Both are applied. 3. What the former connection had sent arrives: 4 and 6 are known, 5 is new, and is
applied after 6.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from coord.api.commands import Reply
from coord.api.errors import (
    ERRORS,
    OK,
    CoordError,
    DeadlineExceeded,
    LimitExceeded,
    Overloaded,
    SessionEnded,
    Unavailable,
    from_code,
)
from coord.api.ops import CLAIMS, LIST, SESSIONS, ReadMode, Row
from coord.client.core.arguments import PAGE
from coord.client.core.request import NEVER, WRITE, Request, encode_op, item
from coord.client.core.settings import CoreSettings
from coord.limits import KIB
from coord.wire.cbor import array_of, dumps
from coord.wire.client_frames import READS_FRAME, WRITES_FRAME
from coord.wire.framing import encode_raw_frame

FRAME_BYTES: Final = 512 * KIB
"""Requests share a frame up to about this size; a larger one stands alone."""

LINEARIZABLE: Final = int(ReadMode.LINEARIZABLE)

LIMIT_AT: Final = {LIST: 3, SESSIONS: 2, CLAIMS: 5}
"""Code of an op that reads page by page -> where in its row the page's size is."""


class Requests:
    """The queues of one client, and what is in flight.

    Invariants: ``_sent`` holds, by growing id, every write that was sent and is not answered (answered ones
    linger only behind one that is not); ``_waiting`` holds, by id, the same writes and all reads in flight.
    """

    def __init__(self, settings: CoreSettings) -> None:
        self._settings = settings
        self._last_id = 0
        self._writes: deque[Request] = deque()
        self._reads: deque[Request] = deque()
        self._queued_bytes = 0
        self._waiting: dict[int, Request] = {}
        self._sent: deque[Request] = deque()
        self._writes_in_flight = 0
        self._write_bytes_in_flight = 0
        self._reads_in_flight = 0
        self._resend: deque[Request] = deque()
        """Writes of a former connection that were not sent on this one yet, in order."""
        self._page = PAGE
        """Rows of a page that members grant, as far as we know: pages are as large as this at most, save those that
        somebody asks for who wants more than ``PAGE``, and is told of the limit."""
        self.earliest_deadline = NEVER
        """No deadline of what is not done is before it; the core's own waits are heeded too."""

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    @property
    def writes_are_out(self) -> bool:
        """Every write that was asked for is on its way, or answered."""
        return not self._writes and not self._resend

    @property
    def has_frames(self) -> bool:
        """Whether ``take_frames`` has anything (or only what is done already)."""
        if self._reads and self._reads_in_flight < self._settings.reads_in_flight:
            return True
        return bool(self._resend) or (bool(self._writes) and self._writes_fit(len(self._writes[0].encoded)))

    @property
    def unanswered(self) -> int:
        """Requests that are queued or in flight."""
        return len(self._writes) + len(self._reads) + len(self._waiting)

    # --- in ---

    def submit(self, op: Row, mode: int, at_least: int, deadline: float, context: Any) -> Request:
        """Queue an op. Raises :class:`CoordError` (refused)."""
        if self._page < PAGE:
            op = self._granted(op)
        encoded = encode_op(op)
        queue = self._writes if mode == WRITE else self._reads
        bounds = self._settings
        queued_bytes = self._queued_bytes + len(encoded)
        if queued_bytes > bounds.queue_bytes or len(queue) >= bounds.queue:
            raise Overloaded(
                f"{len(queue)} requests of {self._queued_bytes} bytes wait to be sent; at most {bounds.queue} and "
                f"{bounds.queue_bytes} may"
            )
        self._queued_bytes = queued_bytes
        request = Request(op, encoded, mode, at_least, deadline, context)
        queue.append(request)
        if deadline < self.earliest_deadline:
            self.earliest_deadline = deadline
        return request

    def heed(self, deadline: float) -> None:
        """Something besides requests has this deadline."""
        if deadline < self.earliest_deadline:
            self.earliest_deadline = deadline

    # --- out ---

    def take_frames(self) -> list[bytes]:
        """Everything that may be sent now. What it holds counts as sent."""
        frames: list[bytes] = []
        if self._resend:
            self._resend_frames(frames)
        if self._writes:
            self._write_frames(frames)
        if self._reads:
            self._read_frames(frames)
        return frames

    def _resend_frames(self, frames: list[bytes]) -> None:
        items: list[bytes] = []
        size = 0
        while self._resend:
            request = self._resend.popleft()
            if request.answered:
                continue  # by way of the former connection's sending
            if items and size + len(request.encoded) > FRAME_BYTES:
                frames.append(self._writes_frame(items))
                items, size = [], 0
            request.sendings += 1
            items.append(item(request))
            size += len(request.encoded)
        if items:
            frames.append(self._writes_frame(items))

    def _write_frames(self, frames: list[bytes]) -> None:
        queue, waiting, sent = self._writes, self._waiting, self._sent
        items: list[bytes] = []
        size = 0
        while queue:
            request = queue[0]
            length = len(request.encoded)
            if not self._writes_fit(length):
                break
            queue.popleft()
            self._queued_bytes -= length
            if request.done:
                continue  # its caller went before it was sent
            if items and size + length > FRAME_BYTES:
                frames.append(self._writes_frame(items))
                items, size = [], 0
            request.id = self._last_id = self._last_id + 1
            request.sendings = 1
            waiting[request.id] = request
            sent.append(request)
            self._writes_in_flight += 1
            self._write_bytes_in_flight += length
            items.append(item(request))
            size += length
        if items:
            frames.append(self._writes_frame(items))

    def _writes_fit(self, length: int) -> bool:
        bounds = self._settings
        return self._writes_in_flight < bounds.writes_in_flight and (
            not self._writes_in_flight or self._write_bytes_in_flight + length <= bounds.in_flight_bytes
        )

    def _writes_frame(self, items: list[bytes]) -> bytes:
        return encode_raw_frame(WRITES_FRAME, array_of([dumps(self._confirmed()), *items]))

    def _confirmed(self) -> int:
        """Every id up to it was answered, or was no write's."""
        sent = self._sent
        while sent and sent[0].answered:
            sent.popleft()
        # Asked before ids of the same frame are given, or after: those stand in `_sent` already either way.
        return sent[0].id - 1 if sent else self._last_id

    def _read_frames(self, frames: list[bytes]) -> None:
        queue, waiting = self._reads, self._waiting
        groups: dict[tuple[int, int], list[Request]] = {}
        room = self._settings.reads_in_flight - self._reads_in_flight
        while queue and room > 0:
            request = queue.popleft()
            self._queued_bytes -= len(request.encoded)
            if request.done:
                continue
            room -= 1
            request.id = self._last_id = self._last_id + 1
            request.sendings += 1
            waiting[request.id] = request
            self._reads_in_flight += 1
            groups.setdefault((request.mode, request.at_least), []).append(request)
        for (mode, at_least), requests in groups.items():
            head = [dumps(mode), dumps(at_least)]
            items: list[bytes] = []
            size = 0
            for request in requests:
                if items and size + len(request.encoded) > FRAME_BYTES:
                    frames.append(encode_raw_frame(READS_FRAME, array_of([*head, *items])))
                    items, size = [], 0
                items.append(item(request))
                size += len(request.encoded)
            frames.append(encode_raw_frame(READS_FRAME, array_of([*head, *items])))

    # --- answers ---

    def answered(self, row: Reply, completed: list[Request]) -> bool | CoordError:
        """Take a reply; its request joins ``completed`` if its caller still waits. False: no request has this id.

        Returns an error when the member cannot serve what was asked, and another one should be asked instead.
        """
        request = self._waiting.pop(row[0], None)
        if request is None:
            return False
        status = row[1]
        if request.mode == WRITE:
            self._writes_in_flight -= 1
            self._write_bytes_in_flight -= len(request.encoded)
        else:
            self._reads_in_flight -= 1
            if status == Unavailable.code and request.mode == LINEARIZABLE and not request.done:
                self._queue_again([request])
                return from_code(status, row[4], row[5])
            if status == LimitExceeded.code and self._asked_smaller(request, row):
                return True
        request.answered = True
        if not request.done:
            request.done = True
            request.reply = row
            if status != OK:
                request.error = self._refusal(request, row)
            completed.append(request)
        return True

    def _asked_smaller(self, request: Request, row: Reply) -> bool:
        """Whether what was refused is a page larger than this member grants, and is asked for again, as small as that.

        A page may end early in any case, so who asked goes on after it, and never knows.
        """
        maximum = row[5].get("maximum") if row[5].get("limit") == "list_page" else None
        if type(maximum) is not int or not 0 < maximum < PAGE:
            return False
        self._page = min(self._page, maximum)
        smaller = self._granted(request.op)
        if smaller is request.op:
            return False
        request.op, request.encoded = smaller, encode_op(smaller)
        self._queue_again([request])
        return True

    def _granted(self, op: Row) -> Row:
        """A read as it may be asked: with a page of the size that is granted."""
        at = LIMIT_AT.get(op[0])
        if at is None or not self._page < op[at] <= PAGE:
            return op
        return [*op[:at], self._page, *op[at + 1 :]]

    def _refusal(self, request: Request, row: Reply) -> CoordError:
        error = from_code(row[1], row[4], row[5])
        if (
            request.mode == WRITE
            and request.sendings > 1
            and (row[1] == SessionEnded.code or row[1] not in ERRORS)
        ):
            error.outcome = "unknown"  # this sending was refused; of the ones before it says nothing
        return error

    def disconnected(self) -> None:
        """What was in flight is to be sent again: writes under their ids and in their order, reads as if new."""
        reads = [request for request in self._waiting.values() if request.mode != WRITE]
        self._reads_in_flight = 0
        self._waiting.clear()
        self._writes_in_flight = self._write_bytes_in_flight = 0
        kept: deque[Request] = deque()
        for request in self._sent:
            if not request.answered:
                kept.append(request)
                self._waiting[request.id] = request
                self._writes_in_flight += 1
                self._write_bytes_in_flight += len(request.encoded)
        self._sent = kept
        self._resend = deque(kept)
        self._queue_again([request for request in reads if not request.done])

    def _queue_again(self, reads: list[Request]) -> None:
        self._reads.extendleft(reversed(reads))
        self._queued_bytes += sum(len(request.encoded) for request in reads)

    # --- ends ---

    def expire(self, now: float, message: str, completed: list[Request]) -> None:
        """Tell those whose deadline has come, with ``message``."""
        earliest = NEVER
        for requests in (self._writes, self._reads, self._waiting.values()):
            for request in requests:
                if request.done:
                    continue
                if request.deadline <= now:
                    request.fail(DeadlineExceeded(message))
                    completed.append(request)
                elif request.deadline < earliest:
                    earliest = request.deadline
        self.earliest_deadline = earliest
        self._writes = self._without_done(self._writes)
        self._reads = self._without_done(self._reads)

    def _without_done(self, queue: Iterable[Request]) -> deque[Request]:
        kept: deque[Request] = deque()
        for request in queue:
            if request.done:
                self._queued_bytes -= len(request.encoded)
            else:
                kept.append(request)
        return kept

    def fail_all(self, make_error: Callable[[], CoordError], completed: list[Request]) -> None:
        """Nothing will be sent or answered any more."""
        for requests in (self._waiting.values(), self._writes, self._reads):
            for request in requests:
                if not request.done:
                    request.fail(make_error())
                    completed.append(request)
        self._waiting.clear()
        for queue in (self._writes, self._reads, self._sent, self._resend):
            queue.clear()
        self._queued_bytes = self._writes_in_flight = self._write_bytes_in_flight = self._reads_in_flight = 0
