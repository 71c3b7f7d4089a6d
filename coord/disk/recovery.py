"""Reading the log back, and deciding what a bad record is: a torn tail to cut, or damage to confess.

Owns that decision and nothing that changes the disk: :func:`read_log` only reads, and returns what should be
done (``opening.py`` does it). The rule is the one of PAR / CTRL (Alagappan et al., FAST'18), for a log with
batches: a bad record is a *torn tail*, never acknowledged, unless something says that it was once synced:

* an intact record further on whose ``synced_through`` lies beyond it;
* a later segment, since one is only created after the last batch of the one before was synced;
* for a segment's first records, or a whole segment: ``newest_segment`` in the identity file;
* for the last batch, which has nothing behind it: the witness (``witness.py``).

Then it is *damage*: acknowledged records are gone, and the member must not vote or acknowledge until its
peers have restored them. Cutting there would be forgetting; refusing to start would waste what is left.
"""

from coord.api.checks import check
from coord.disk.errors import WrongCluster, WrongMember
from coord.disk.faults import opening
from coord.disk.filesystem import FileSystem
from coord.disk.identity import Damage, FolderState
from coord.disk.names import segment_name, segment_numbers
from coord.disk.record import (
    HEADER_BYTES,
    KIND_ENTRY,
    KIND_HARD_STATE,
    KIND_SEGMENT_START,
    BadRecord,
    Header,
    Nonsense,
    SegmentStart,
    check_body,
    decode_start,
    encode_first_copy,
    encode_second_copy,
    owner_digest,
    read_header,
    search,
    unpack_header,
    written_end,
)
from coord.disk.salvage import read_salvaging
from coord.disk.scan import LogScan, Tail
from coord.disk.witness import read_witness
from coord.raft.types import Entry, HardState

_START_READ_BYTES = 4096
_COPY_REACH_BYTES = 2**17
"""The second copy of a hard state begins within this many bytes of the first."""


def read_log(fs: FileSystem, state: FolderState, snapshot_index: int) -> LogScan:
    """Read all of the log that a snapshot at ``snapshot_index`` does not make superfluous.

    Never repairs, never writes. Raises: WrongMember, WrongCluster, NewerFormat, CannotOpen.
    """
    return _LogReader(fs, state).read(snapshot_index)


class _Segment:
    """One segment of the live log. ``end``: where the next one says that it ends; None: nobody says."""

    __slots__ = ("end", "number", "start")

    def __init__(self, number: int, start: SegmentStart, end: int | None) -> None:
        self.number = number
        self.start = start
        self.end = end


class _LogReader:
    def __init__(self, fs: FileSystem, state: FolderState) -> None:
        identity = state.identity
        check(identity.cluster_id is not None, "no log before the cluster id is known")
        self._fs = fs
        self._state = state
        self._owner = owner_digest(identity.folder_id, identity.cluster_id or b"", identity.member_id)
        self._witnessed = read_witness(fs, self._owner)
        self._newest_known = max(state.newest_segment, self._witnessed.segment)
        self._scan = LogScan()
        self._numbers = segment_numbers(fs.names())

    def read(self, snapshot_index: int) -> LogScan:
        scan = self._scan
        scan.highest_number = max([self._newest_known, *self._numbers])
        live = self._find_live(snapshot_index)
        used = self._read_live(live)
        scan.dead = [
            number for number in self._numbers if number not in used and number != scan.unfinished_segment
        ]
        if scan.damage is not None:
            self._see_beyond(scan.damage)
        return scan

    # Which segments are the log

    def _find_live(self, snapshot_index: int) -> list[_Segment]:
        """Follow the segments back, from the newest, until one begins at or below the snapshot."""
        live: list[_Segment] = []
        numbers = list(self._numbers)
        newest = self._newest_known
        if not numbers or numbers[-1] < newest:
            self._damaged(
                f"the newest segment of the log, number {newest}, is missing", segment_name(newest), 0
            )
        if numbers and numbers[-1] > newest and self._is_unfinished(numbers[-1]):
            self._scan.unfinished_segment = numbers.pop()
        end: int | None = None
        while numbers:
            number = numbers.pop()
            try:
                start = self._start(number)
            except BadRecord as bad:
                self._damaged(f"its first record is bad: {bad}", segment_name(number), 0)
                live.clear()  # what comes after it cannot be joined to what comes before
                end = None
                continue
            live.append(_Segment(number, start, end))
            if start.base_index <= snapshot_index:
                self._scan.covered = numbers  # all before is in the snapshot, so damage there is no loss
                break
            end = start.previous_end
            while numbers and numbers[-1] != start.previous_segment:
                numbers.pop()  # dead: before a reset, or behind damage, or below a hole that a trim left
        live.reverse()
        return live

    def _is_unfinished(self, number: int) -> bool:
        """A segment that the identity does not know yet, and with no batch in it: its creation was cut short.

        The second half is for an identity file that was put back from a backup.
        """
        for header in search(self._bytes(number), 0, self._owner, number):
            if header.synced_through > 0:
                return False
        self._scan.notes.append(
            f"{segment_name(number)} was being created when the process died; nothing was in it, it is removed."
        )
        return True

    def _start(self, number: int) -> SegmentStart:
        data = self._bytes(number, _START_READ_BYTES)
        buffer = memoryview(data)
        header = read_header(buffer, 0, None, number)
        check_body(buffer, header)
        start = decode_start(header, data[HEADER_BYTES : HEADER_BYTES + header.length])
        identity = self._state.identity
        where = self._fs.describe(segment_name(number))
        if start.member_id != identity.member_id:
            raise WrongMember(
                f"{where} was written by member {start.member_id}, but this folder belongs to member "
                f"{identity.member_id}. Was it copied here from another member? Put the right file back, or "
                "let this member join again with an empty folder."
            )
        if start.cluster_id != identity.cluster_id:
            raise WrongCluster(
                f"{where} belongs to cluster {start.cluster_id.hex()}, the folder's identity to cluster "
                f"{(identity.cluster_id or b'').hex()}. Put the right file back, or let this member join again "
                "with an empty folder."
            )
        if header.owner != self._owner:
            raise BadRecord("the segment comes from another folder of the same member")
        return start

    # What the segments hold

    def _read_live(self, live: list[_Segment]) -> set[int]:
        """Read forward until the end or the first damage; the numbers of the segments that were used."""
        scan = self._scan
        used: set[int] = set()
        if live:
            scan.base_index, scan.base_term = live[0].start.base_index, live[0].start.base_term
        chain: int | None = None
        for segment in live:
            if scan.tail is not None:
                scan.closed.append((scan.tail.segment, scan.segment_last_index))
            scan.segment_last_index = 0
            used.add(segment.number)
            scan.tail, whole = self._read_segment(segment, chain)
            chain = scan.tail.chain
            if not whole:
                break
        return used

    def _read_segment(self, segment: _Segment, chain: int | None) -> tuple[Tail, bool]:
        """Read one segment: where it ends, and whether the log may go on in the next.

        ``chain`` None: the segment before is not looked at, so the first record follows anything.
        """
        scan, number = self._scan, segment.number
        newest = number == scan.highest_number
        data = self._bytes(number)
        buffer = memoryview(data)
        limit = len(data) if segment.end is None else segment.end
        # Only where nobody else says where the segment ends: after damage the next one names a place before what
        # the witness still tells of, and what lies between is lost already, and told.
        last = segment.end is None and number == self._witnessed.segment
        witnessed = self._witnessed.end if last else 0
        offset = 0
        proven = witnessed
        started = False  # its own hard state was read
        before: Header | None = None
        bad: BadRecord | None = None
        while offset < limit and bad is None:
            try:
                header = read_header(buffer, offset, self._owner, number)
                if header.previous_crc != chain and chain is not None:
                    raise BadRecord("the record does not follow the one before it")
                check_body(buffer, header)
                self._take(header, data)
            except BadRecord as error:
                restored = self._restore_hard_state(data, offset, limit, number, chain, before)
                if restored is None:
                    if segment.end is None and written_end(data, offset) == offset:
                        # Zeros only, as they are written ahead: as if the file ended here. Were they a bad record, the
                        # mere existence of a later segment, which a crash left unfinished, would make damage of them.
                        limit = offset
                    else:
                        bad = error
                    break
                header = restored
            if header.kind == KIND_HARD_STATE:
                started = True
            if header.synced_through > proven:
                proven = header.synced_through
            chain = header.header_crc
            offset += HEADER_BYTES + header.length
            before = header
        # A start block whose end was lost before is told already: then the next segment says where it ends.
        if bad is None and (offset != limit or (not started and segment.end is None)):
            bad = BadRecord("the segment does not end with a whole record")
        if bad is None and offset < witnessed:
            bad = BadRecord("no record follows")
        if bad is not None:
            evidence = self._evidence(bad, data, offset, number, started, witnessed)
            if evidence:
                self._damaged(f"{bad}, but {evidence}", segment_name(number), offset)
            else:
                scan.cut_bytes = written_end(data, offset) - offset
                scan.notes.append(
                    f"A torn batch, never acknowledged, is cut from {segment_name(number)}: {scan.cut_bytes} "
                    f"bytes from offset {offset} on ({bad})."
                )
        tail = Tail(
            number, offset, chain or 0, len(data), min(proven, offset), newest and scan.damage is None
        )
        return tail, bad is None

    def _take(self, header: Header, data: bytes) -> None:
        """Let one intact record have its effect. Raises: Nonsense, and then it had none."""
        scan, kind = self._scan, header.kind
        if kind == KIND_ENTRY:
            entries, index, term = scan.entries, header.index, header.term
            keep = index - 1 - scan.base_index
            begin = header.offset + HEADER_BYTES
            entry = Entry(index, term, header.detail, data[begin : begin + header.length])
            if keep > len(entries):
                raise Nonsense(f"entry {index} follows entry {scan.last_index}")
            if keep > 0 and entries[keep - 1].term > term:
                raise Nonsense(f"entry {index} of term {term} follows one of term {entries[keep - 1].term}")
            if keep < 0:
                # It supersedes entries that lie in segments we did not read, all of them below the snapshot.
                entries.clear()
                scan.base_index, scan.base_term = index - 1, None
            elif keep < len(entries):
                del entries[keep:]  # the later record wins
            entries.append(entry)
            if index > scan.segment_last_index:
                scan.segment_last_index = index
        elif kind == KIND_HARD_STATE:
            if header.term < scan.hard_state.term:
                raise Nonsense(f"term {header.term} follows term {scan.hard_state.term}")
            scan.hard_state = HardState(header.term, header.vote)
        elif kind == KIND_SEGMENT_START:
            if header.offset != 0:
                raise Nonsense("a segment begins in the middle of another")
        else:
            raise Nonsense(f"records of kind {kind} are unknown")

    def _restore_hard_state(
        self, data: bytes, offset: int, limit: int, number: int, chain: int | None, before: Header | None
    ) -> Header | None:
        """A hard state is written twice: restore the copy at ``offset`` from the other one.

        The padding between the copies says nothing: a copy whose header is intact is as good as whole.
        """
        scan = self._scan
        copy: bytes | None = None
        own = self._intact_header(data, offset, number)
        if own is not None and own.kind == KIND_HARD_STATE and own.previous_crc == chain:
            copy = data[offset : offset + HEADER_BYTES] + bytes(own.length)
        elif before is not None and before.kind == KIND_HARD_STATE and before.detail == 0:
            copy = encode_second_copy(self._owner, before)
        elif chain is not None:
            reach = offset + _COPY_REACH_BYTES
            other = next(search(data, offset + 1, self._owner, number, reach), None)
            if other is None or other.kind != KIND_HARD_STATE or other.detail != 1:
                return None
            if other.offset - HEADER_BYTES - other.length != offset:
                return None
            copy = encode_first_copy(self._owner, other, chain)
        if copy is None or offset + len(copy) > limit:
            return None
        header = unpack_header(copy)
        if header.term < scan.hard_state.term:
            return None
        scan.hard_state = HardState(header.term, header.vote)
        scan.repairs.append((number, offset, copy))
        scan.notes.append(
            f"A damaged copy of term and vote in {segment_name(number)} at offset {offset} is restored "
            "from the other."
        )
        return header

    def _intact_header(self, data: bytes, offset: int, number: int) -> Header | None:
        try:
            return read_header(memoryview(data), offset, self._owner, number)
        except BadRecord:
            return None

    # Torn or damaged

    def _evidence(
        self, bad: BadRecord, data: bytes, offset: int, number: int, started: bool, witnessed: int
    ) -> str:
        """What says that the record at ``offset`` was once synced; empty: nothing does."""
        if isinstance(bad, Nonsense):
            return (
                "it is intact and in its place: this is a bug in coord or somebody's edit, please report it"
            )
        if offset < witnessed:
            return f"the witness shows that the segment was once synced through byte {witnessed}"
        if number != self._scan.highest_number:
            return "a later segment shows that it was once synced"
        if not started:
            return "the folder's identity shows that this segment was once synced"
        for header in search(data, offset, self._owner, number):
            if header.synced_through > offset:
                return f"the record at offset {header.offset} shows that it was once synced"
        return ""

    def _damaged(self, what: str, file: str, offset: int) -> None:
        """The damage nearest to the log's beginning is the one that counts; it is found last."""
        self._scan.damage = Damage(what, file, offset, 0, 0)

    def _see_beyond(self, damage: Damage) -> None:
        """Gather the highest index, term and hard state seen anywhere, in dead segments too."""
        scan = self._scan
        index = scan.last_index
        term = max([scan.hard_state.term, *(entry.term for entry in scan.entries[-1:])])
        for number in self._numbers:
            for header in search(self._bytes(number), 0, self._owner, number):
                index, term = max(index, header.index), max(term, header.term)
                if header.kind == KIND_HARD_STATE and header.term >= scan.hard_state.term:
                    scan.hard_state = HardState(header.term, header.vote)
        if term > scan.hard_state.term:
            scan.hard_state = HardState(term, 0)  # the vote is lost; a recovering member gives none
        scan.damage = Damage(damage.what, damage.file, damage.offset, index, term)

    def _bytes(self, number: int, limit: int | None = None) -> bytes:
        name = segment_name(number)
        with opening("reading", self._fs.describe(name)):
            file = self._fs.open(name)
            try:
                return read_salvaging(file, limit)
            finally:
                file.close()
