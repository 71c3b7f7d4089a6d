"""Claims and fences, for plain threads. A part of :class:`coord.client.blocking.Client`; see
:mod:`coord.client.claiming`.
"""

from functools import partial

from coord.api.results import ClaimFacts, ClaimPage, Released
from coord.client.arguments import PAGE
from coord.client.blocking.grant import Grant
from coord.client.blocking.loop import Loop
from coord.client.client import Client as AsyncClient
from coord.client.grant import Grant as AsyncGrant


class Claiming:
    """How a client claims znodes, looks at claims, and fences what they protect."""

    _owner: object
    _loop: Loop
    _client: AsyncClient

    def claim(
        self,
        path: str,
        *,
        wait: bool = True,
        shared: bool = False,
        units: int = 1,
        label: bytes = b"",
        create: bool = True,
        deadline: float | None = None,
    ) -> Grant:
        """Claim a znode, and wait until it is granted: first come, first served, in one request.

        ``shared``: together with others who share it, and with nobody else. ``units``: of its capacity (1, unless
        :meth:`claim_settings` said otherwise). ``label``: for people who look. ``create`` makes the znode, and what is
        missing above it, if it is not there; it goes again once nobody claims it.

        Raises :class:`~coord.api.errors.Claimed` (refused) with ``wait=False`` when it can't be had at once, and
        :class:`~coord.api.errors.DeadlineExceeded` (refused) when it was not granted in time: if it is granted all the
        same it is given back at once. *Ctrl-C* likewise.
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
            deadline=deadline,
        )
        grant = self._loop.run(work, client._seconds(deadline), unwanted=self._withdraw)
        return Grant(self._owner, self._loop, grant)

    def claim_first(
        self,
        parent: str,
        count: int = 1,
        *,
        wait: bool = True,
        values: bool = False,
        label: bytes = b"",
        deadline: float | None = None,
    ) -> list[Grant]:
        """Claim up to ``count`` children that nobody claims, in the order of their names, in one request.

        With ``wait`` and no such child: wait for one, first come, first served; else the list may be empty.
        ``values`` reads their values with them (``Grant.value``). Raises as :meth:`claim` does.
        """
        client = self._client
        work = partial(
            client.claim_first, parent, count, wait=wait, values=values, label=label, deadline=deadline
        )
        grants = self._loop.run(work, client._seconds(deadline), unwanted=self._withdraw_all)
        return [Grant(self._owner, self._loop, grant) for grant in grants]

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
        """What holds for claims at ``path``: capacity, lock delay, how many hold and wait, and the fences."""
        client = self._client
        work = partial(client.claim_info, path, at_least=at_least, local=local, deadline=deadline)
        return self._loop.run(work, client._seconds(deadline))

    # --- inside, in the client's thread ---

    def _withdraw(self, grant: AsyncGrant) -> None:
        self._client._withdraw(grant._claim)

    def _withdraw_all(self, grants: list[AsyncGrant]) -> None:
        for grant in grants:
            self._withdraw(grant)
