"""From a data folder to a replica."""

import gc
import logging
import secrets

from coord.disk.real import RealFileSystem
from coord.disk.storage import Recovered, Storage
from coord.limits import MemberLimits
from coord.raft.types import Configuration, SnapshotMeta
from coord.replica.inputs import Signer
from coord.replica.replica import Replica
from coord.replica.state import Who
from coord.server.causes import Stopped
from coord.server.config import Config, ConfigError
from coord.store.snapshot import StoreLoader
from coord.store.store import Store
from coord.wire.sections import decode_section


def open_folder(config: Config) -> RealFileSystem:
    """The data folder, made if it is missing; not locked yet. Raises :class:`ConfigError`, :class:`StorageError`."""
    try:
        config.data.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot make the folder of the data folder {config.data}: {error.strerror}"
        ) from error
    return RealFileSystem(config.data, create=True)


def open_storage(
    config: Config, filesystem: RealFileSystem, log: logging.Logger
) -> tuple[Storage, Recovered]:
    """Lock and read the folder, and tell its operator what was found.

    Raises :class:`StorageError`, :class:`Stopped`.
    """
    storage, recovered = Storage.open(
        filesystem, member_id=config.member, create=True, settings=config.storage_settings()
    )
    for note in recovered.notes:
        log.warning("%s: %s", config.data, note)
    if recovered.covered:
        log.info("%s", recovered.covered)
    if recovered.cut_bytes:
        log.warning(
            "%s: cut a torn tail of %d bytes, written when the process ended and never acknowledged",
            config.data,
            recovered.cut_bytes,
        )
    if recovered.damage is not None:
        damage = recovered.damage
        log.error("%s: damage in %s at byte %d: %s", config.data, damage.file, damage.offset, damage.what)
        if not config.others:
            storage.close()
            raise Stopped(
                f"{config.data}: damage in {damage.file} at byte {damage.offset}: {damage.what}. There are no other "
                "members to restore it from: restore the folder from a backup"
            )
    return storage, recovered


def make_replica(
    config: Config, who: Who, storage: Storage, recovered: Recovered, recovering: bool, signer: Signer
) -> Replica:
    """What the folder held, in memory: takes as long as that is large."""
    settings = config.replica_settings()
    configuration = Configuration(tuple(sorted(each.id for each in config.members)))
    snapshot = recovered.snapshot or SnapshotMeta(0, 0, configuration)
    store = _load_store(storage, snapshot, settings.limits) if recovered.snapshot else None
    seed = secrets.randbits(64)
    return Replica(
        who, settings, seed, recovered.hard_state, snapshot, store, recovered.entries, recovering, signer
    )


def _load_store(storage: Storage, snapshot: SnapshotMeta, limits: MemberLimits) -> Store:
    loader = StoreLoader(limits)
    collects = gc.isenabled()
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
        if collects:
            gc.enable()
