"""What a client knows of its session's time, by its own monotonic clock. Sans IO.

A keepalive's answer says that the leader, confirmed to be one, has heard of the session after the keepalive was
sent; likewise the welcome that opens or resumes it. So the session is safe until the sending of the last one
that was answered, plus the timeout (less one percent, for the drift of clocks). Past that it may be over, and
the client says that it is: a lock that might be somebody else's by now is not held. That is the only safe side
to err on.

    |--interval--|--patience--|------ time to find another member ------|
    sent ok      sent         given up                                  safe_until

A keepalive that is sent late was held up by the program itself: nothing else is between the clock and its
sending. That is told (:meth:`Lease.keepalive_sent`), since the next time it may be the end of the session.
"""

from coord.client.core.request import NEVER
from coord.client.core.settings import CoreSettings, keepalive_seconds, open_seconds, resume_seconds

SAFE_SHARE = 0.99
"""Of the timeout: the rest allows for clocks that do not run alike."""

LATE_SHARE = 0.25
"""Of the time between keepalives. One that is later is worth a warning."""


class Lease:
    """Invariant: ``safe_until`` never goes back; it is :data:`NEVER` before a session, and without one."""

    def __init__(self, settings: CoreSettings) -> None:
        self._timeout = settings.session_timeout_ms / 1000
        self._interval = keepalive_seconds(self._timeout)
        self._hello_at: float | None = None
        self._asked: tuple[int, float] | None = None
        self._next_at = NEVER
        self._over = False
        self.safe_until = NEVER

    @property
    def timeout(self) -> float:
        """Seconds: as granted once there is a session, as asked for before."""
        return self._timeout

    def hello_sent(self, now: float) -> None:
        self._hello_at = now

    def welcomed(self, timeout_ms: int) -> None:
        """``timeout_ms`` as granted; 0 without a session."""
        sent_at, self._hello_at = self._hello_at or 0.0, None
        if timeout_ms:
            self._timeout = timeout_ms / 1000
            self._interval = keepalive_seconds(self._timeout)
            self._heard(sent_at)
        self._next_at = sent_at + self._interval

    def keepalive_due(self, now: float) -> bool:
        return self._asked is None and now >= self._next_at

    def keepalive_sent(self, request: int, now: float) -> float:
        """Returns by how many seconds it was late; 0: by no more than anything may be."""
        self._asked = (request, now)
        late = now - self._next_at
        return late if late > LATE_SHARE * self._interval else 0.0

    def awaits(self, request: int) -> bool:
        """``request`` is the keepalive that is not answered yet."""
        return self._asked is not None and self._asked[0] == request

    def keepalive_answered(self, request: int) -> None:
        """All was well when it was sent; anything but the keepalive that is awaited is passed over."""
        if self._asked is not None and self._asked[0] == request:
            sent_at = self._asked[1]
            self._asked = None
            self._next_at = sent_at + self._interval
            if self.safe_until != NEVER:
                self._heard(sent_at)

    def is_over(self, now: float) -> bool:
        """The session may be over. Once that was told it stays so: an answer that comes late does not bring back
        a lock that its holder has let go of.
        """
        if now >= self.safe_until:
            self._over = True
        return self._over

    def disconnected(self) -> None:
        self._hello_at = self._asked = None
        self._next_at = NEVER

    def _heard(self, sent_at: float) -> None:
        until = sent_at + self._timeout * SAFE_SHARE
        self.safe_until = until if self.safe_until == NEVER else max(self.safe_until, until)

    @property
    def patience_ends_at(self) -> float:
        """When the present member has let the client wait for too long."""
        if self._hello_at is not None:
            first = self.safe_until == NEVER
            wait = open_seconds(self._timeout) if first else resume_seconds(self._timeout)
            return self._hello_at + wait
        if self._asked is not None:
            return self._asked[1] + self._interval
        return NEVER

    @property
    def next_at(self) -> float:
        """When something is next to be done or decided."""
        due_at = self._next_at if self._asked is None else NEVER
        return min(due_at, self.patience_ends_at, self.safe_until)
