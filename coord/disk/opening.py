"""Opening a folder: check whose it is, read it, mend what may be mended, and make what was read durable.

Owns the order of those steps, which a crash may cut anywhere (and the next opening begins again). The order is:

1. The lock; whose folder it is; nothing is changed before both are known to be right.
2. Damage, if there is any, is noted in the identity file before anything that would hide it.
3. Leftovers of unfinished work go, and the directory is synced: names read now must still be there tomorrow. Only
   then, and only without damage, segments that the snapshot covers go too. Nobody would read them again (a peer that is
   so far behind is sent the snapshot), so whatever is wrong in them is neither looked for nor a loss.
4. What was read but is not proven to be synced is written again and synced. Reading it back proves nothing: after
   a failed fsync Linux keeps the page, marks it clean and drops it whenever it likes; the process
   that saw the failure has ended, and its successor would find the record in the page cache, promise it to the
   leader, and lose it with the next power cut.
5. Where the log cannot go on in its last file, a new segment begins that says where it does go on.
6. The witness is told what is durable now: from here on it is promised. After damage this comes last of all, and
   need not come at all: the new segment, which the identity names, makes nothing of what the witness says of others.
"""

from dataclasses import dataclass, replace

from coord.disk.errors import JOIN_AGAIN, CannotOpen, DamagedFolder, FolderInUse, WrongCluster, WrongMember
from coord.disk.faults import Fuse, opening, write_all, writing
from coord.disk.filesystem import File, FileSystem
from coord.disk.identity import Damage, FolderState, Identity, load, save
from coord.disk.names import (
    IDENTITY_NAME,
    segment_name,
    segment_numbers,
    snapshot_indexes,
    snapshot_name,
    unfinished,
)
from coord.disk.record import owner_digest, search
from coord.disk.recovery import read_log
from coord.disk.salvage import read_salvaging
from coord.disk.scan import LogScan, Tail
from coord.disk.settings import StorageSettings
from coord.disk.snapshot import SnapshotStore
from coord.disk.snapshot_format import Take
from coord.disk.wal import Position, create_segment
from coord.disk.witness import Witness, open_witness
from coord.raft.types import Entry, HardState, SnapshotMeta


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the folder says. All of it is durable by the time it is returned."""

    identity: Identity
    hard_state: HardState
    """``(0, 0)`` when nothing was ever written."""
    snapshot: SnapshotMeta | None
    """The newest sound one; its content is what was taken last (``Storage.open``)."""
    entries: list[Entry]
    """Contiguous, the first right after the snapshot (at index 1 without one)."""
    damage: Damage | None
    """Not None: start recovering. It stays until ``Storage.end_recovering()``, over any number of restarts."""
    cut_bytes: int
    """Size of a torn tail that was cut, without zeros at its end; it was never acknowledged. 0: none."""
    notes: tuple[str, ...]
    """Sentences for the operator's log: what was mended or cut, or what a crash left and was removed."""
    covered: str = ""
    """A sentence on log segments that the snapshot covers and that were removed unread; empty: there were none.
    Nothing is wrong then: it happens at every start soon after a segment was filled."""


@dataclass(slots=True)
class Opened:
    """Everything that the face needs to work on."""

    recovered: Recovered
    state: FolderState
    snapshots: SnapshotStore | None
    file: File | None
    position: Position | None
    witness: Witness | None


def take_lock(fs: FileSystem) -> None:
    """Raises: FolderInUse, CannotOpen."""
    where = fs.describe("")
    try:
        with opening("locking", where):
            fs.lock()
    except CannotOpen as failure:
        if isinstance(failure.__cause__, BlockingIOError):
            raise FolderInUse(
                f"The data folder {where} is in use ({failure.__cause__.strerror}). Is this member running already? "
                "Each member needs a folder of its own."
            ) from None
        raise


def identify(
    fs: FileSystem, member_id: int | None, cluster_id: bytes | None, create: bool, fuse: Fuse
) -> tuple[FolderState, list[str]]:
    """Whose folder it is, if it is the right one; a new identity for an empty folder, if asked."""
    where = fs.describe("")
    loaded = load(fs)
    if loaded is None:
        return _create(fs, member_id, create, fuse), []
    state, whole = loaded
    identity = state.identity
    if member_id is not None and identity.member_id != member_id:
        raise WrongMember(
            f"The data folder {where} belongs to member {identity.member_id}, but this member is configured as "
            f"{member_id}. Correct the member id or the folder's path. Never let one member use another's folder: "
            "it would vote twice."
        )
    if cluster_id is not None and identity.cluster_id is not None and identity.cluster_id != cluster_id:
        raise WrongCluster(
            f"The data folder {where} belongs to cluster {identity.cluster_id.hex()}, not to {cluster_id.hex()}. "
            "Correct the folder's path or the peers' addresses; to join the other cluster, give this member "
            "an empty folder."
        )
    if whole:
        return state, []
    save(fs, state, fuse)
    return state, [f"One of the two copies in {fs.describe(IDENTITY_NAME)} was damaged and is written anew."]


def _create(fs: FileSystem, member_id: int | None, create: bool, fuse: Fuse) -> FolderState:
    where = fs.describe("")
    with opening("listing", where):
        names = fs.names()
    if segment_numbers(names) or snapshot_indexes(names):
        raise DamagedFolder(
            f"The data folder {where} holds a log or snapshots, but its identity file is missing. If a backup of "
            f"{fs.describe(IDENTITY_NAME)} exists, put it back. Else {JOIN_AGAIN}"
        )
    if not create or member_id is None:
        raise CannotOpen(
            f"{where} is not a data folder: it has no identity file. Check its path; if this member is new, "
            "start it in the way that creates its folder."
        )
    state = FolderState(Identity(member_id, None, fs.fresh_bytes(16)))
    save(fs, state, fuse)
    return state


def open_folder(
    fs: FileSystem,
    state: FolderState,
    notes: list[str],
    settings: StorageSettings,
    fuse: Fuse,
    take: Take | None,
) -> Opened:
    """Read and mend the folder; ``state`` is its checked identity. Raises: StorageError."""
    identity = state.identity
    if identity.cluster_id is None:
        _remove_leftovers(fs, _unformed_segments(fs, state), fuse)
        recovered = Recovered(identity, HardState(0, 0), None, [], state.damage, 0, tuple(notes))
        return Opened(recovered, state, None, None, None, None)

    owner = owner_digest(identity.folder_id, identity.cluster_id, identity.member_id)
    snapshots = SnapshotStore(fs, owner, settings, fuse)
    snapshot, bad_snapshots = snapshots.load_newest(take)
    snapshot_index = 0 if snapshot is None else snapshot.index
    scan = read_log(fs, state, snapshot_index)
    notes += scan.notes
    notes += [f"{fs.describe(name)} is damaged ({what}); it is set aside." for name, what in bad_snapshots]
    damage = scan.damage or _missing_link(scan, snapshot_index, bad_snapshots)
    if damage is not None:
        state = replace(state, damage=_merge(state.damage, damage))
        save(fs, state, fuse)

    leftovers = [] if scan.unfinished_segment is None else [scan.unfinished_segment]
    _remove_leftovers(fs, leftovers, fuse)
    covered = "" if state.damage is not None else _remove_covered(fs, scan, snapshot_index, fuse)
    with writing("setting aside a damaged snapshot in", fs.describe(""), fuse):
        for name, _ in bad_snapshots:
            snapshots.set_aside(name)
    _repair(fs, scan, fuse)

    joined = _joins(scan, snapshot)
    entries = scan.entries[snapshot_index - scan.base_index :] if joined else []
    if not joined and damage is None:
        notes.append(
            f"The log, up to index {scan.last_index}, does not reach or fit the snapshot at {snapshot_index} and "
            "begins anew after it."
        )
    tail = scan.tail
    if joined and tail is not None and tail.in_place and damage is None:
        file = _make_durable(fs, tail, fuse, cut=True)
        position = _position(scan, tail.segment, tail.end, tail.chain)
        position.closed, position.dead = scan.closed, scan.dead
        position.segment_last_index = scan.segment_last_index
    else:
        base = (scan.last_index, scan.term_at(scan.last_index) or 0)
        previous = (0, 0, 0)
        if joined and tail is not None:
            _make_durable(fs, tail, fuse, cut=False).close()
            previous = (tail.segment, tail.end, tail.chain)
        elif snapshot is not None:
            base = (snapshot.index, snapshot.term)
        else:
            base = (0, 0)
        number = scan.highest_number + 1
        file, end, chain = create_segment(
            fs, identity, settings, fuse, number, previous, base, scan.hard_state
        )
        position = _position(scan, number, end, chain)
        older = [*scan.closed, *([] if tail is None else [(tail.segment, scan.segment_last_index)])]
        if previous[0]:
            position.closed, position.dead = older, scan.dead
        else:
            position.dead = [*scan.dead, *(old for old, _ in older)]
            position.base_index, position.last_index = base[0], base[0]
            position.last_term = base[1]
    if state.newest_segment != position.segment:
        state = replace(state, newest_segment=position.segment)
        save(fs, state, fuse)
    witness = open_witness(fs, owner, fuse)
    witness.note(position.segment, position.end)
    recovered = Recovered(
        identity, scan.hard_state, snapshot, entries, state.damage, scan.cut_bytes, tuple(notes), covered
    )
    return Opened(recovered, state, snapshots, file, position, witness)


def _position(scan: LogScan, segment: int, end: int, chain: int) -> Position:
    return Position(
        segment=segment,
        end=end,
        chain=chain,
        hard_state=scan.hard_state,
        last_index=scan.last_index,
        last_term=scan.term_at(scan.last_index) or 0,
        base_index=scan.base_index,
    )


def _unformed_segments(fs: FileSystem, state: FolderState) -> list[int]:
    """The first segment is created before the identity learns the cluster: it may be left from that."""
    numbers = segment_numbers(fs.names())
    for number in numbers:
        name = segment_name(number)
        with opening("reading", fs.describe(name)):
            file = fs.open(name)
            try:
                data = read_salvaging(file)
            finally:
                file.close()
        if number != 1 or any(header.synced_through for header in search(data, 0, None, number)):
            raise DamagedFolder(
                f"{fs.describe(name)} holds records, but according to {fs.describe(IDENTITY_NAME)} this member never "
                f"joined a cluster. If a newer backup of that file exists, put it back. Else {JOIN_AGAIN}"
            )
    return numbers


def _remove_leftovers(fs: FileSystem, segments: list[int], fuse: Fuse) -> None:
    """Remove what a crash left unfinished, and make the directory durable as it is now.

    Also without leftovers: 1. a segment or snapshot was renamed or created; 2. the process died before it synced the
    directory; 3. we read it, promise it; 4. the power fails and it was never there.
    And with them: were an unfinished segment's removal not durable, it might rise again, and its existence would
    swear that a batch which we append now to the one before, and which then tears, was once synced.
    """
    with writing("removing leftovers in", fs.describe(""), fuse):
        for name in unfinished(fs.names()):
            fs.remove(name)
        for number in segments:
            fs.remove(segment_name(number))
        fs.sync_directory()


def _remove_covered(fs: FileSystem, scan: LogScan, snapshot_index: int, fuse: Fuse) -> str:
    """Remove the segments wholly below the snapshot, from the front as any trim; what to tell of it."""
    covered = scan.covered
    if not covered:
        return ""
    with writing("removing old segments in", fs.describe(""), fuse):
        for number in covered:
            fs.remove(segment_name(number))
    scan.dead = [number for number in scan.dead if number not in covered]
    names = fs.describe(segment_name(covered[0]))
    if len(covered) > 1:
        names += f" to {segment_name(covered[-1])}"
    return (
        f"{names}: the snapshot at {snapshot_index} covers all of it, so it is removed without having been read. Had "
        "there been damage in it, nothing would be lost by that."
    )


def _missing_link(scan: LogScan, snapshot_index: int, bad: list[tuple[str, str]]) -> Damage | None:
    """The log is sound, but begins above what the newest sound snapshot covers."""
    if scan.base_index <= snapshot_index:
        return None
    file = bad[0][0] if bad else snapshot_name(scan.base_index)
    what = f"it is damaged: {bad[0][1]}" if bad else "it is missing"
    return Damage(
        f"the log begins after index {scan.base_index} and needs a snapshot at or above that, but {what}",
        file,
        0,
        scan.last_index,
        max(scan.hard_state.term, scan.term_at(scan.last_index) or 0),
    )


def _merge(noted: Damage | None, found: Damage) -> Damage:
    if noted is None:
        return found
    return replace(
        found,
        last_index_seen=max(noted.last_index_seen, found.last_index_seen),
        last_term_seen=max(noted.last_term_seen, found.last_term_seen),
    )


def _joins(scan: LogScan, snapshot: SnapshotMeta | None) -> bool:
    """Whether the log goes on where the snapshot ends; if not, the snapshot replaces it (Raft, figure 13).

    It does not after a crash between a received snapshot and the log's reset, when the log is shorter or
    conflicts; nor when the member applied, and put into a snapshot, entries that its peers had synced and it
    had not yet. Nothing is lost in either case: what the snapshot covers is committed.
    """
    index, term = (0, 0) if snapshot is None else (snapshot.index, snapshot.term)
    if not scan.base_index <= index <= scan.last_index:
        return False
    return scan.term_at(index) in (None, term)


def _repair(fs: FileSystem, scan: LogScan, fuse: Fuse) -> None:
    for number, offset, data in scan.repairs:
        name = segment_name(number)
        with writing("repairing", fs.describe(name), fuse):
            file = fs.open(name, writable=True)
            try:
                write_all(file, offset, data)
                file.sync()
            finally:
                file.close()


def _make_durable(fs: FileSystem, tail: Tail, fuse: Fuse, *, cut: bool) -> File:
    """Cut what is behind the end, write again what is not proven to be synced, and sync; see step 4 above.

    Zeros go, too: nobody knows whether they are on the disk, and the first batch brings its own.
    """
    name = segment_name(tail.segment)
    with writing("mending the end of", fs.describe(name), fuse):
        file = fs.open(name, writable=True)
        if cut and tail.size > tail.end:
            file.truncate(tail.end)
        if tail.unproven_from < tail.end:
            unproven = file.read_at(tail.unproven_from, tail.end - tail.unproven_from)
            write_all(file, tail.unproven_from, unproven)
        file.sync()
    return file
