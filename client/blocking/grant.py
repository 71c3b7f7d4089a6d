"""What a claim gives, as plain threads hold it: see :mod:`coord.client.grant`."""

from functools import partial
from types import TracebackType
from typing import Self

from coord.api.errors import CoordError
from coord.api.tokens import Token
from coord.client.blocking.loop import Loop
from coord.client.grant import RELEASE_SECONDS
from coord.client.grant import Grant as AsyncGrant
from coord.client.request import NEVER


class Grant:
    """A claim that is held: ``with client.claim("/locks/a") as grant: …``, or :meth:`release` it.

    It is certain while ``held``: the service grants it to nobody else before this client knows, by its own clock,
    that it may have lost it. Who cannot look before each step (a request that is on its way may come late, a process
    may be stopped between the look and the step) hands ``token`` to the resource, which refuses lower ones; the
    service itself does so below a fence (``client.fence``, ``client.fenced``).
    """

    def __init__(self, owner: object, loop: Loop, grant: AsyncGrant) -> None:
        self._owner = owner  # see Client
        self._loop = loop
        self._grant = grant
        self.path = grant.path
        """The znode's."""
        self.token: Token = grant.token
        """The fencing token: of one path each later grant has a greater one."""
        self.value: bytes | None = grant.value
        """The znode's when it was claimed, where that was asked for."""

    def __repr__(self) -> str:
        return repr(self._grant)

    @property
    def number(self) -> int:
        """The claim's, by which the service knows it."""
        return self._grant.number

    @property
    def held(self) -> bool:
        """Whether it is certain that nobody else is granted it now. Any thread may ask."""
        return self._grant.held

    def remaining(self) -> float:
        """Seconds for which it is certain, whatever happens to the connection; 0: it may be over, or is.

        (Not if somebody forces it to be released, or deletes the znode: that is told as soon as it is heard.)
        """
        return self._grant.remaining()

    def check(self) -> None:
        """Raise :class:`~coord.api.errors.NotHeld` or :class:`~coord.api.errors.SessionEnded` unless it is ``held``."""
        self._grant.check()

    def wait_over(self) -> CoordError:
        """Wait until it is over; returns why: :class:`~coord.api.errors.NotHeld` or
        :class:`~coord.api.errors.SessionEnded`. *Cancellation* leaves nothing behind.
        """
        return self._loop.run(self._grant.wait_over, NEVER)

    def release(self, *, deadline: float = NEVER) -> None:
        """Give it up; the next in line has it then. Done when the service has answered; one that is over already is
        no error. Raises as any write does.
        """
        self._loop.run(partial(self._grant.release, deadline=deadline), deadline, True)

    def hand_over(self, to: int, *, deadline: float = NEVER) -> None:
        """Give it up in favour of a claim that waits for it, by its number, in one step and out of order.

        Raises :class:`~coord.api.errors.NotHeld` (refused) when it is not held any more, and
        :class:`~coord.api.errors.Conflict` (refused) when that claim does not wait here; it is held on then.
        """
        self._loop.run(partial(self._grant.hand_over, to, deadline=deadline), deadline, True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release it, also when the block was cancelled; what remains undone by the deadline ends with the session."""
        if self._loop.forked:
            return  # it is the parent's
        try:
            self.release(deadline=RELEASE_SECONDS)
        except CoordError:
            if self.held:
                raise
