"""Claims and fences, for plain threads. A part of :class:`coord.client.blocking.Client`; see
:mod:`coord.client.claiming`.
"""

from collections.abc import Callable, Iterable
from functools import partial

from coord.api.ops import Lane
from coord.api.results import ClaimFacts, ClaimPage, Released, Rotated
from coord.client.blocking.calls import Calls
from coord.client.blocking.grant import Grant
from coord.client.blocking.portal import Portal
from coord.client.core.arguments import PAGE
from coord.client.grant import Grant as AsyncGrant


class Claiming(Calls):
    """How a client claims znodes, looks at claims, and fences what they protect."""

    def claim(
        self,
        path: str,
        *,
        wait: bool = True,
        shared: bool = False,
        units: int = 1,
        label: bytes = b"",
        create: bool = True,
        capacity: int = 0,
        deadline: float | None = None,
    ) -> Grant:
        """Claim a znode, and wait until it is granted: first come, first served, in one request.

        ``shared``: together with others who share it, and with nobody else. ``units``: of its capacity (1, unless
        :meth:`claim_settings` said otherwise). ``label``: for people who look. ``create`` makes the znode, and what is
        missing above it, if it is not there; all that goes again once nobody claims it. ``capacity``: what the znode's
        is believed to be: a znode that this creates has it, and where it is another the claim is refused with a
        :class:`~coord.api.errors.Conflict`, so that a lock does not share what somebody made a semaphore; 0: whatever
        it is.

        Raises :class:`~coord.api.errors.Claimed` (refused) with ``wait=False`` when it can't be had at once, and
        :class:`~coord.api.errors.DeadlineExceeded` when it was not granted in time: ``refused`` when it was known to
        wait, or was not sent yet; ``unknown`` when no member had answered. If it is granted all the same, as that was
        already on its way, it is given back at once: others may see it held for a moment, and this client never has
        it. *Ctrl-C* likewise.
        """
        client = self._client
        work = partial(
            client.claim,
            path,
            wait=wait,
            shared=shared,
            units=units,
            label=label,
            create=create,
            capacity=capacity,
            deadline=deadline,
        )
        grant = self._loop.run(work, client._seconds(deadline), unwanted=AsyncGrant.release_nowait)
        return Grant(Portal(self), grant)

    def claim_first(
        self,
        parent: str,
        count: int = 1,
        *,
        wait: bool = True,
        values: bool = False,
        waits: Callable[[], object] | None = None,
        label: bytes = b"",
        deadline: float | None = None,
    ) -> list[Grant]:
        """Claim up to ``count`` children that nobody claims, in the order of their names, in one request. Those that
        are held back are passed over, and those whose lanes have no room.

        With ``wait`` and no such child: wait for one, first come, first served; else the list may be empty.
        ``values`` reads their values with them (``Grant.value``). ``waits`` is called, in the event loop's thread, when
        it is known that it has to wait. Raises as :meth:`claim` does.
        """
        client = self._client
        work = partial(
            client.claim_first,
            parent,
            count,
            wait=wait,
            values=values,
            waits=waits,
            label=label,
            deadline=deadline,
        )
        grants = self._loop.run(work, client._seconds(deadline), unwanted=self._withdraw_all)
        return [Grant(Portal(self), grant) for grant in grants]

    def release(self, number: int, *, force: bool = False, deadline: float | None = None) -> Released:
        """Give a claim of this session up by its number, held or waiting; with ``force`` another session's, too.

        Raises :class:`~coord.api.errors.NotHeld` (refused) when there is no such claim.
        """
        client = self._client
        work = partial(client.release, number, force=force, deadline=deadline)
        return self._loop.run(work, client._seconds(deadline), True)

    def claim_settings(
        self, path: str, *, capacity: int = 1, lock_delay: float = 0.0, deadline: float | None = None
    ) -> None:
        """How many units of ``path`` can be held at a time, and for how many seconds after the *expiry* of a holder's
        session nobody is granted it: for resources that can't check tokens. They go with the znode, which must exist.
        """
        client = self._client
        work = partial(
            client.claim_settings, path, capacity=capacity, lock_delay=lock_delay, deadline=deadline
        )
        self._loop.run(work, client._seconds(deadline), True)

    def hold_back(self, path: str, delay: float | None, *, deadline: float | None = None) -> None:
        """Grant no claim of ``path`` for ``delay`` seconds of cluster time, which stands still while the cluster has no
        leader; ``None``: until it is said otherwise; 0: the holding back is over. Who holds it goes on, and who waits,
        waits. At a parent it holds back :meth:`claim_first` there, too: a queue that is paused. It goes with the
        znode, which must exist, and says nothing about how long that lives.
        """
        client = self._client
        work = partial(client.hold_back, path, delay, deadline=deadline)
        self._loop.run(work, client._seconds(deadline), True)

    def lanes(self, path: str, lanes: Iterable[Lane], *, deadline: float | None = None) -> None:
        """Limits that ``path`` shares with all znodes which have a lane of the same name, wherever in the cluster: a
        claim is granted only while each has room (see :class:`~coord.api.ops.Lane`). At most 4; none takes them away.
        They go with the znode, which must exist. Where some share much and others little, name the widest shared one
        first: that decides only what it costs.
        """
        client = self._client
        work = partial(client.lanes, path, lanes, deadline=deadline)
        self._loop.run(work, client._seconds(deadline), True)

    def fence(self, path: str, claim: str | None, *, deadline: float | None = None) -> None:
        """From now on only who presents the current token of the claim at ``claim`` writes at ``path`` and below
        (see :meth:`coord.client.Client.fenced`); anybody else is refused with :class:`~coord.api.errors.StaleToken`.
        ``None`` takes the fence away.
        """
        client = self._client
        self._loop.run(partial(client.fence, path, claim, deadline=deadline), client._seconds(deadline), True)

    def claims(
        self,
        path: str = "/",
        *,
        subtree: bool = True,
        session: int | None = None,
        after: int | None = None,
        limit: int = PAGE,
        at_least: int | None = None,
        local: bool = False,
        deadline: float | None = None,
    ) -> ClaimPage:
        """One page of the claims at ``path`` (and below), held and waiting, by number; the next one is ``after`` the
        last number here. ``session``: only its.
        """
        client = self._client
        work = partial(
            client.claims,
            path,
            subtree=subtree,
            session=session,
            after=after,
            limit=limit,
            at_least=at_least,
            local=local,
            deadline=deadline,
        )
        return self._loop.run(work, client._seconds(deadline))

    def claim_info(
        self, path: str, *, at_least: int | None = None, local: bool = False, deadline: float | None = None
    ) -> ClaimFacts:
        """What holds for claims at ``path``: capacity, lock delay, how many hold and wait, how many were lost, whether
        it is held back, lanes, fences; and how many of its children are free, held, held back, blocked.
        """
        client = self._client
        work = partial(client.claim_info, path, at_least=at_least, local=local, deadline=deadline)
        return self._loop.run(work, client._seconds(deadline))

    def rotate_token_keys(self, *, revoke: str | None = None, deadline: float | None = None) -> Rotated:
        """Have every member make a new key for signing tokens; it is used a minute after it has come into the tree
        (``/coord/token-keys``). Former keys stay there until no token that they signed can be believed any more.
        ``revoke``: the name of a key that goes at once, and whose tokens are refused by whoever has heard of it.
        """
        client = self._client
        work = partial(client.rotate_token_keys, revoke=revoke, deadline=deadline)
        return self._loop.run(work, client._seconds(deadline), True)

    # --- inside, in the client's thread ---

    def _withdraw_all(self, grants: list[AsyncGrant]) -> None:
        for grant in grants:
            grant.release_nowait()
