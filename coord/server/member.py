"""One member, put together: its folder is opened, its cluster found or formed, and then it serves until stopped."""

import contextlib
import gc
import logging
import resource
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable

import trio

from coord.api.checks import InvariantViolation
from coord.disk.errors import StorageError
from coord.disk.real import RealFileSystem
from coord.disk.storage import Recovered, Storage
from coord.limits import MemberLimits
from coord.raft.types import Configuration, SnapshotMeta
from coord.replica.formation import Formation, Formed
from coord.replica.inputs import FromPeer, PeerLost
from coord.replica.replica import Replica
from coord.replica.state import Who
from coord.server.clients import ClientNetwork
from coord.server.config import Config, ConfigError
from coord.server.disk import DiskTasks
from coord.server.driver import Driver, form
from coord.server.garbage import collect_forever
from coord.server.peers import PeerNetwork
from coord.server.poller import Poller
from coord.server.sockets import accept_forever, listen
from coord.server.writer import LogWriter
from coord.store.snapshot import StoreLoader
from coord.store.store import Store
from coord.wire.peer_frames import PeerMessage
from coord.wire.sections import decode_section

PROBE_TICKS = 10

SWITCH_INTERVAL_S = 0.0002
"""How long a busy thread keeps the interpreter from one that is ready: the writer's, back from a sync that a quorum
waits for. CPython's default, 5 ms, is many syncs."""

logger = logging.getLogger("coord")


class Stopped(Exception):
    """The member cannot go on; the text says why, for the operator."""


def serve(config: Config, ready: Callable[[], None] | None = None) -> None:
    """Run one member until SIGINT or SIGTERM. ``ready`` is called once clients can be served.

    Raises :class:`ConfigError`, :class:`~coord.disk.errors.StorageError`, :class:`Stopped`.
    """
    if sys.flags.optimize:
        raise Stopped("coord does not run under python -O: it takes away checks that libraries rely on")
    _raise_descriptor_limit(config.replica_settings().limits.connections)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        trio.run(_run, config, ready or (lambda: None), strict_exception_groups=True)
    except BaseExceptionGroup as group:
        raise _first_cause(group) from None


async def _run(config: Config, ready: Callable[[], None]) -> None:
    # The ports first: a member that runs already is told before its folder is touched.
    client_listeners = await listen(config.listen, "clients")
    peer_listeners = await listen(config.peer_listen, "members") if config.others else []
    try:
        storage, recovered = _open(config)
        try:
            await _run_in(config, storage, recovered, client_listeners, peer_listeners, ready)
        finally:
            storage.close()
    finally:
        for listener in client_listeners + peer_listeners:
            listener.close()


async def _run_in(
    config: Config,
    storage: Storage,
    recovered: Recovered,
    client_listeners: list[socket.socket],
    peer_listeners: list[socket.socket],
    ready: Callable[[], None],
) -> None:
    settings = config.replica_settings()
    # The poller outlives the nursery, whose threads use it.
    with contextlib.closing(Poller()) as poller:
        async with trio.open_nursery() as nursery:
            stopping = trio.CancelScope()
            nursery.start_soon(_stop_on_signal, stopping)
            peers = PeerNetwork(
                config.member, {each.id: each.peer for each in config.others}, poller, nursery, logger.info
            )
            clients = ClientNetwork(settings.limits, poller, logger.warning)
            peers.cluster = storage.identity.cluster_id or b""
            for listener in peer_listeners:
                nursery.start_soon(accept_forever, listener, nursery, peers.accepted, logger.warning)
            for listener in client_listeners:
                nursery.start_soon(accept_forever, listener, nursery, clients.accepted, logger.warning)
            peers.start()
            with stopping:
                await _begin(config, storage, recovered, nursery, poller, peers, clients)
                logger.info("member %d serves clients on %s", config.member, config.listen)
                ready()
                await trio.sleep_forever()
            logger.info("member %d stops", config.member)
            nursery.cancel_scope.cancel()


async def _begin(
    config: Config,
    storage: Storage,
    recovered: Recovered,
    nursery: trio.Nursery,
    poller: Poller,
    peers: PeerNetwork,
    clients: ClientNetwork,
) -> None:
    """From an open folder to a replica that is driven."""
    boot = secrets.randbits(40)
    recovering = recovered.damage is not None
    if storage.identity.cluster_id is None:
        formed = await _form(config, poller, peers, clients, boot)
        if formed.recovering:
            # Before the folder is formed. The other way round: 1. this member's disk was replaced; it votes and
            # acknowledges no more, but did; 2. it is given the cluster's id, and dies; 3. started again, it is a member
            # with an empty log and nothing against voting, and elects a leader without what it once acknowledged.
            storage.begin_recovering("this member joined an established cluster with an empty disk")
            recovering = True
        storage.set_cluster_id(formed.cluster)
    cluster = storage.identity.cluster_id
    if cluster is None:
        raise Stopped("the cluster's id is not on the disk after it was written there")
    peers.cluster = cluster
    if recovering:
        logger.warning(
            "recovering: this member neither votes nor acknowledges until its peers have restored it"
        )
    who = Who(config.member, cluster, boot, {each.id: str(each.client) for each in config.members})
    # In a thread: a large snapshot takes seconds, and meanwhile clients are told so, and a signal is heard.
    replica = await trio.to_thread.run_sync(_make_replica, config, who, storage, recovered, recovering)
    driver = Driver(poller)
    writer = LogWriter(storage, driver.put_from_thread)
    disk = DiskTasks(storage, writer, driver.put_from_thread, logger.warning)

    def receive(peer: int, messages: list[PeerMessage]) -> None:
        driver.put(FromPeer(peer, messages))

    peers.receive = receive
    peers.lost = lambda peer: driver.put(PeerLost(peer))
    gc.collect()
    gc.freeze()
    nursery.start_soon(collect_forever)
    nursery.start_soon(writer.run)
    nursery.start_soon(disk.run)
    nursery.start_soon(driver.run, replica, config.timing.tick_ms, peers, clients, disk)
    clients.serve_from(driver.put)


def _open(config: Config) -> tuple[Storage, Recovered]:
    try:
        config.data.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot make the folder of the data folder {config.data}: {error.strerror}"
        ) from error
    filesystem = RealFileSystem(config.data, create=True)
    storage, recovered = Storage.open(
        filesystem, member_id=config.member, create=True, settings=config.storage_settings()
    )
    for note in recovered.notes:
        logger.warning("%s: %s", config.data, note)
    if recovered.cut_bytes:
        logger.warning(
            "%s: cut a torn tail of %d bytes, written when the process ended and never acknowledged",
            config.data,
            recovered.cut_bytes,
        )
    if recovered.damage is not None:
        damage = recovered.damage
        logger.error("%s: damage in %s at byte %d: %s", config.data, damage.file, damage.offset, damage.what)
        if not config.others:
            storage.close()
            raise Stopped(
                f"{config.data}: damage in {damage.file} at byte {damage.offset}: {damage.what}. There are no other "
                "members to restore it from: restore the folder from a backup"
            )
    return storage, recovered


async def _form(
    config: Config, poller: Poller, peers: PeerNetwork, clients: ClientNetwork, boot: int
) -> Formed:
    """Find or form the cluster, and tell everybody meanwhile what is waited for."""
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
        clients.waiting_for = f"the cluster's first start needs all members, and this one waits for {names}"
        if waiting_for != told and time.monotonic() - started > 1:
            told = waiting_for
            logger.info("the cluster's first start needs all members: waiting for %s", names)

    peers.receive = receive
    return await form(formation, poller, peers, watch_out)


def _make_replica(
    config: Config, who: Who, storage: Storage, recovered: Recovered, recovering: bool
) -> Replica:
    settings = config.replica_settings()
    configuration = Configuration(tuple(sorted(each.id for each in config.members)))
    snapshot = recovered.snapshot or SnapshotMeta(0, 0, configuration)
    store = _load_store(storage, snapshot, settings.limits) if recovered.snapshot else None
    seed = secrets.randbits(64)
    return Replica(who, settings, seed, recovered.hard_state, snapshot, store, recovered.entries, recovering)


def _load_store(storage: Storage, snapshot: SnapshotMeta, limits: MemberLimits) -> Store:
    loader = StoreLoader(limits)
    gc.disable()  # every object made here stays
    try:
        for section in storage.sections(snapshot.index):
            loader.add(*decode_section(section))
        return loader.finish()
    except ValueError as error:
        raise Stopped(
            f"snapshot {snapshot.index} passes its checksums but cannot be loaded: {error}"
        ) from error
    finally:
        gc.enable()


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
            return


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error that stopped the member; the others were cancelled by it."""
    causes = list(_leaves(group))
    expected = (ConfigError, StorageError, Stopped)
    for cause in causes:
        if isinstance(cause, expected):
            return cause
    for cause in causes:
        if isinstance(cause, InvariantViolation):
            return cause
    return causes[0]


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            found += _leaves(each)
        else:
            found.append(each)
    return found


def _raise_descriptor_limit(wanted: int) -> None:
    """As many descriptors as the connections may need, if the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = min(wanted + 256, hard) if hard != resource.RLIM_INFINITY else wanted + 256
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
