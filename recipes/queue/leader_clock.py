"""The time of day that schedules go by: the leader's, as its stamps tell it. Pure.

Each worker has a wall clock of its own, and one of many is wrong some day. Were each to go by its own, the one that is
furthest ahead would decide for all. So a worker's wall clock has no say: it takes the time from the stamps that the
leader puts on what is written, and counts on from there by its monotonic clock. That leaves one clock to be wrong, and
it is the same for all.

What a wrong one can do: ticks come early by as much as it is ahead, and none comes again when it is set right, since
the last one is written down; until then there are none. None is ever enqueued twice.
"""


class LeaderClock:
    """``local_ms``: a monotonic clock's; what it shows at no point in particular."""

    def __init__(self) -> None:
        self._ahead_ms: int | None = None

    @property
    def is_set(self) -> bool:
        return self._ahead_ms is not None

    def now_ms(self, local_ms: int) -> int:
        """The leader's time of day, in ms since 1970. Only once it :attr:`is_set`."""
        if self._ahead_ms is None:
            raise ValueError("this clock was not set yet")
        return local_ms + self._ahead_ms

    def wrote(self, stamp_ms: int, sent_ms: int, received_ms: int) -> None:
        """The leader stamped a write somewhere between its being sent and its answer's being received: what differs by
        more than this leaves open is put right. (Less is not: so two workers don't differ by the length of their
        requests' ways, once both were right.)
        """
        least, most = stamp_ms - received_ms, stamp_ms - sent_ms
        if self._ahead_ms is None:
            self._ahead_ms = (least + most) // 2
        else:
            self._ahead_ms = min(max(self._ahead_ms, least), most)

    def saw(self, stamp_ms: int, received_ms: int) -> None:
        """The leader has stamped something some time ago: it is no earlier there."""
        if self._ahead_ms is not None:
            self._ahead_ms = max(self._ahead_ms, stamp_ms - received_ms)
