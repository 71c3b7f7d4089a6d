"""One member, put together: its folder is opened, its cluster found or formed, and then it serves until stopped.

What belongs to a process and not to a member (signals, the collector) is left to who runs it: process.py, or the
tests of somebody's program (coord/testing), with several members in one process.
"""

import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

import trio

from coord.disk.storage import LockedFolder, Recovered, Storage
from coord.replica.formation import Formation, Formed
from coord.replica.inputs import FromPeer, PeerDown, PeerLost
from coord.replica.state import ReplicaState, Who
from coord.server.causes import Stopped
from coord.server.clients import ClientNetwork
from coord.server.config import Config
from coord.server.disk import DiskTasks
from coord.server.driver import Driver, form
from coord.server.loading import lock_folder, make_replica, open_folder, open_storage
from coord.server.peers import PeerNetwork
from coord.server.poller import Poller
from coord.server.sockets import accept_forever, listen
from coord.server.threads import run_thread
from coord.server.token_key import TokenKeyFile
from coord.server.writer import LogWriter
from coord.store.store import Store
from coord.wire.peer_frames import PeerMessage

PROBE_TICKS = 10


class Cut(NamedTuple):
    """What the network drops of all that is said to and by a member: nothing, outside of tests."""

    to_peers: frozenset[int] = frozenset()
    from_peers: frozenset[int] = frozenset()
    to_clients: bool = False
    from_clients: bool = False


class Member:
    """One member, from its ports to its end: :meth:`run`, once."""

    def __init__(
        self,
        config: Config,
        log: logging.Logger | None = None,
        look: Callable[[ReplicaState], None] | None = None,
    ) -> None:
        """``look`` is shown the state at each tick, in the driver's thread."""
        self._config = config
        self._log = log or logging.getLogger("coord")
        self._look = look
        self._seen = (0, 0)
        """The term and the leader that the log last told of."""
        self._recovering = False
        self._poller = Poller()
        peers = {each.id: each.peer for each in config.others}
        self._peers = PeerNetwork(config.member, peers, self._poller, self._log.info)
        self._clients = ClientNetwork(config.replica_settings().limits, self._poller, self._log.warning)
        self._stopping = trio.CancelScope()
        self._killed = False

    async def run(
        self, loaded: Callable[[], None] | None = None, ready: Callable[[], None] | None = None
    ) -> None:
        """Serve until stopped. ``loaded`` is called once the data is in memory, ``ready`` once clients can be served.

        Raises what stopped the member, in a group: see causes.py.
        """
        config = self._config
        with contextlib.ExitStack() as stack:
            stack.callback(self._close)
            # The ports first: a member that runs already is told before its folder is touched.
            client_listeners = await listen(config.listen, "clients")
            for listener in client_listeners:
                stack.enter_context(listener)
            peer_listeners = await listen(config.peer_listen, "members") if config.others else []
            for listener in peer_listeners:
                stack.enter_context(listener)
            filesystem = open_folder(config)
            stack.callback(filesystem.close)
            folder = lock_folder(config, filesystem)
            self._peers.cluster = folder.identity.cluster_id or b""
            async with trio.open_nursery() as nursery:
                for listener in peer_listeners:
                    nursery.start_soon(
                        accept_forever, listener, nursery, self._peers.accepted, self._log.warning
                    )
                for listener in client_listeners:
                    nursery.start_soon(
                        accept_forever, listener, nursery, self._clients.accepted, self._log.warning
                    )
                self._peers.start(nursery)
                with self._stopping:
                    await self._begin(folder, stack, nursery, loaded)
                    self._log.info("member %d serves clients on %s", config.member, config.listen)
                    if ready is not None:
                        ready()
                    await trio.sleep_forever()
                if not self._killed:
                    self._log.info("member %d stops", config.member)
                nursery.cancel_scope.cancel()

    def stop(self) -> None:
        """Say goodbye to the clients, and end. In trio's thread."""
        self._stopping.cancel()

    # --- for tests of what uses coord; from any thread, while it runs ------------------------------

    def call(self, function: Callable[[], None]) -> None:
        """Have ``function`` called in the thread that does all that others can see: it does nothing else meanwhile."""
        self._poller.call(lambda _: function(), None)

    def cut(self, cut: Cut) -> None:
        """What is in ``cut`` is lost from now on, and nothing else."""
        self._poller.call(self._cut, cut)

    def fall_silent(self) -> None:
        """As if the process had been killed: no connection is left, no word is said any more. Then :meth:`stop` it."""
        self._killed = True
        self._poller.call(self._hang_up, None)

    # --- the parts ------------------------------------------------------------------------------

    def _cut(self, cut: Cut) -> None:
        self._peers.cut(cut.to_peers, cut.from_peers)
        self._clients.cut(cut.to_clients, cut.from_clients)

    def _hang_up(self, _: None) -> None:
        self._peers.close()
        self._clients.close()

    def _close(self) -> None:
        """All threads have ended. What they had for each other is taken once more: there may be connections in it."""
        self._hang_up(None)
        self._poller.poll(0)
        self._poller.close()

    async def _begin(
        self,
        folder: LockedFolder,
        stack: contextlib.ExitStack,
        nursery: trio.Nursery,
        loaded: Callable[[], None] | None,
    ) -> None:
        """From a locked folder to a replica that is driven; ``stack`` closes what was opened."""
        config, peers, clients, log = self._config, self._peers, self._clients, self._log
        opened: list[tuple[Storage, Recovered, Store | None]] = []

        def load() -> None:
            opened.append(open_storage(config, folder, log))
            stack.callback(opened[0][0].close)  # also when nobody waits for it any more

        if folder.identity.cluster_id is None:
            load()  # nothing is in it, and the others' first words, which may come as soon as this waits, are heard
        else:
            # In a thread: a large snapshot takes seconds, and meanwhile clients are told so, and a signal is heard.
            await run_thread("loading", load, lambda: None)
        [(storage, recovered, store)] = opened
        boot = secrets.randbits(40)
        recovering = recovered.damage is not None
        if storage.identity.cluster_id is None:
            formed = await self._form(boot)
            if formed.recovering:
                # Before the folder is formed. The other way round: 1. this member's disk was replaced; it votes and
                # acknowledges no more, but did; 2. it is given the cluster's id, and dies; 3. started again, it is a
                # member with an empty log and nothing against voting, and elects a leader without what it once
                # acknowledged.
                storage.begin_recovering("this member joined an established cluster with an empty disk")
                recovering = True
            storage.set_cluster_id(formed.cluster)
        cluster = storage.identity.cluster_id
        if cluster is None:
            raise Stopped("the cluster's id is not on the disk after it was written there")
        peers.cluster = cluster
        self._recovering = recovering
        if recovering:
            log.warning(
                "recovering: this member neither votes nor acknowledges until its peers have restored it"
            )
        who = Who(config.member, cluster, boot, {each.id: str(each.client) for each in config.members})
        token_key = TokenKeyFile(config.data, storage.identity)
        replica = make_replica(config, who, recovered, store, recovering, token_key.load())
        if loaded is not None:
            loaded()
        driver = Driver(self._poller, self._look_at)
        writer = LogWriter(storage, driver.put_from_thread)
        disk = DiskTasks(storage, writer, driver.put_from_thread, log.warning, token_key)

        def receive(peer: int, messages: list[PeerMessage]) -> None:
            driver.put(FromPeer(peer, messages))

        peers.receive = receive
        peers.lost = lambda peer: driver.put(PeerLost(peer))
        peers.down = lambda peer: driver.put(PeerDown(peer))
        nursery.start_soon(writer.run)
        nursery.start_soon(disk.run)
        nursery.start_soon(driver.run, replica, config.timing.tick_ms, peers, clients, disk)
        clients.serve_from(driver.put)

    async def _form(self, boot: int) -> Formed:
        """Find or form the cluster, and tell everybody meanwhile what is waited for."""
        config, peers, clients = self._config, self._peers, self._clients
        others = tuple(each.id for each in config.others)
        formation = Formation(config.member, others, boot, secrets.token_bytes(16), PROBE_TICKS)

        def receive(peer: int, messages: list[PeerMessage]) -> None:
            for message in messages:
                formation.receive(peer, message)

        told: list[int] = []
        started = time.monotonic()

        def watch_out(waiting_for: list[int]) -> None:
            nonlocal told
            names = ", ".join(str(member) for member in waiting_for)
            clients.waiting_for = (
                f"the cluster's first start needs all members, and this one waits for {names}"
            )
            if waiting_for != told and time.monotonic() - started > 1:
                told = waiting_for
                self._log.info("the cluster's first start needs all members: waiting for %s", names)

        peers.receive, peers.lost = receive, formation.lost
        return await form(formation, self._poller, peers, config.timing.tick_ms, watch_out)

    def _look_at(self, state: ReplicaState) -> None:
        """Tell the operator of each new leader and of a recovery's end, and show it to whoever else wants to look."""
        seen = (state.term, state.leader)
        if seen != self._seen:
            self._seen = seen
            member = self._config.member
            if state.leader == member:
                self._log.info("member %d leads in term %d", member, state.term)
            elif state.leader:
                self._log.info("member %d follows member %d in term %d", member, state.leader, state.term)
        if self._recovering and not state.raft.recovering:
            self._recovering = False
            self._log.info(
                "recovered: its peers have restored this member, which votes and acknowledges again"
            )
        if self._look is not None:
            self._look(state)
