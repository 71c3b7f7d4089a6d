"""From a data folder to a replica."""

import gc
import logging
import secrets
from collections.abc import Callable

from coord.disk.real import RealFileSystem
from coord.disk.storage import LockedFolder, Recovered, Storage
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


class Loading:
    """A store in the making, while the disk reads and checks what it is made of."""

    def __init__(self, limits: MemberLimits) -> None:
        self._limits = limits
        self._loader = StoreLoader(limits)
        self._error: ValueError | None = None

    def begin(self, _: SnapshotMeta) -> Callable[[bytes], None]:
        """Another snapshot: whatever came before was damaged."""
        self._loader, self._error = StoreLoader(self._limits), None
        return self._add

    def _add(self, section: bytes) -> None:
        if self._error is not None:
            return
        try:
            self._loader.add(*decode_section(section))
        except ValueError as error:
            # Not raised here: what was not checked yet may show that the disk is to blame, and an older one will do.
            self._error = error

    def finish(self, snapshot: SnapshotMeta) -> Store:
        """The store. Only once the whole snapshot is known to be sound. Raises :class:`Stopped`."""
        try:
            if self._error is not None:
                raise self._error
            return self._loader.finish()
        except ValueError as error:
            raise Stopped(
                f"snapshot {snapshot.index} passes its checksums but cannot be loaded: {error}"
            ) from error


def open_folder(config: Config) -> RealFileSystem:
    """The data folder, made if it is missing; not locked yet. Raises :class:`ConfigError`, :class:`StorageError`."""
    try:
        config.data.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot make the folder of the data folder {config.data}: {error.strerror}"
        ) from error
    return RealFileSystem(config.data, create=True)


def lock_folder(config: Config, filesystem: RealFileSystem) -> LockedFolder:
    """Raises :class:`StorageError`."""
    return Storage.lock(filesystem, member_id=config.member, create=True, settings=config.storage_settings())


def open_storage(
    config: Config, folder: LockedFolder, log: logging.Logger
) -> tuple[Storage, Recovered, Store | None]:
    """Read the folder, and tell its operator what was found: takes as long as that is large.

    The store is what the snapshot held, if there is one. Raises :class:`StorageError`, :class:`Stopped`.
    """
    loading = Loading(config.replica_settings().limits)
    collects = gc.isenabled()
    gc.disable()  # every object made here stays
    try:
        storage, recovered = folder.open(loading.begin)
        _tell(config, recovered, log)
        try:
            if recovered.damage is not None and not config.others:
                damage = recovered.damage
                raise Stopped(
                    f"{config.data}: damage in {damage.file} at byte {damage.offset}: {damage.what}. There are no "
                    "other members to restore it from: restore the folder from a backup"
                )
            return storage, recovered, loading.finish(recovered.snapshot) if recovered.snapshot else None
        except Stopped:
            storage.close()
            raise
    finally:
        if collects:
            gc.enable()


def _tell(config: Config, recovered: Recovered, log: logging.Logger) -> None:
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


def make_replica(
    config: Config, who: Who, recovered: Recovered, store: Store | None, recovering: bool, signer: Signer
) -> Replica:
    """What the folder held, put together."""
    settings = config.replica_settings()
    configuration = Configuration(tuple(sorted(each.id for each in config.members)))
    snapshot = recovered.snapshot or SnapshotMeta(0, 0, configuration)
    seed = secrets.randbits(64)
    return Replica(
        who, settings, seed, recovered.hard_state, snapshot, store, recovered.entries, recovering, signer
    )
