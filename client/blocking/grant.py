"""What a claim gives, as plain threads hold it: see :mod:`coord.client.grant`."""

from functools import partial
from types import TracebackType
from typing import Self

from coord.api.errors import CoordError
from coord.api.signed import SignedToken
from coord.api.tokens import Token
from coord.client.blocking.portal import Portal
from coord.client.core.request import NEVER
from coord.client.grant import RELEASE_SECONDS
from coord.client.grant import Grant as AsyncGrant
from coord.client.kept import GRANT, KeptHere


class Grant(KeptHere):
    """A claim that is held: ``with client.claim("/locks/a") as grant: …``, or :meth:`release` it.

    It is certain while ``held``: the service grants it to nobody else before this client knows, by its own clock,
    that it may have lost it. Who cannot look before each step (a request that is on its way may come late, a process
    may be stopped between the look and the step) hands ``token`` to the resource, which refuses lower ones; the
    service itself does so below a fence (``client.fence``, ``client.fenced``).
    """

    _instead = GRANT

    def __init__(self, portal: Portal, grant: AsyncGrant) -> None:
        self._portal = portal
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
    def lost_before(self) -> int:
        """How many claims of the znode were lost before, since it was created: their session ended or expired while
        they were held, or somebody else released them by force. (Those that were released are not among them.)
        """
        return self._grant.lost_before

    @property
    def held(self) -> bool:
        """Whether it is certain that nobody else is granted it now: not any more once it is being given up. Any thread
        may ask.
        """
        return self._grant.held

    @property
    def over(self) -> CoordError | None:
        """Why it is over, once that was heard; ``None`` before. Any thread may ask."""
        return self._grant.over

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
        self._portal.check_thread()
        return self._grant.over or self._portal.run(self._grant.wait_over, NEVER)

    def release(self, *, deadline: float = NEVER) -> None:
        """Give it up; the next in line has it then. Done when the service has answered; one that is over already is
        no error. Raises as any write does.
        """
        self._portal.check_thread()
        if self._grant.over is None:
            self._portal.run(partial(self._grant.release, deadline=deadline), deadline, effect=True)

    def sign(self, *, ttl: float | None = None, deadline: float = NEVER) -> SignedToken:
        """The token with the service's signature, as a text that can be verified without asking the service: it is of
        this path, and of this session. ``ttl``: for how many seconds from now, by wall clocks, at most 900; ``None``:
        the session's timeout, or those, if it is longer.

        A signature says where a token is from, not that it is the latest: the resource still refuses tokens below the
        greatest that it has seen. Its path is the one in the whole tree, also in a namespace. Each call asks anew: it
        was held at some moment during the call. Raises :class:`~coord.api.errors.NotHeld` (refused) when it is not.
        """
        return self._portal.run(partial(self._grant.sign, ttl=ttl, deadline=deadline), deadline)

    def release_nowait(self) -> None:
        """Give it up, and do not wait for the answer: for code that must not wait. It is sent, and applied, in any
        case while the session lives. One that is over already is no error.

        What this client asks for at once after it (a claim, to stand in line again) is sent together with it.
        """
        self._portal.hand(self._grant.release_nowait)

    def hand_over(self, to: int, *, deadline: float = NEVER) -> None:
        """Give it up in favour of a claim that waits for it, by its number, in one step and out of order.

        Raises :class:`~coord.api.errors.NotHeld` (refused) when it is not held any more, and
        :class:`~coord.api.errors.Conflict` (refused) when that claim does not wait here; it is held on then.
        """
        self._portal.run(partial(self._grant.hand_over, to, deadline=deadline), deadline, effect=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release it, also when the block was cancelled; what remains undone by the deadline ends with the session."""
        if self._portal.forked:
            return  # it is the parent's
        try:
            self.release(deadline=RELEASE_SECONDS)
        except CoordError:
            if self.held:
                raise
