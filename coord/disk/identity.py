"""Whose folder it is, and the few things that must outlive the log: one small file, replaced whole.

Owns the file ``identity``: member id, cluster id, the folder's own id, the number of the newest segment (so that a
segment that vanished is missed), damage not yet healed, and room for later fields. The file holds two copies, 4 KiB
apart, so no single bad sector costs the member its name. It is JSON in a checksummed envelope: read by
people in an emergency, a few hundred bytes, written a few times a day.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from zlib import crc32

from coord.api.checks import check
from coord.disk.errors import JOIN_AGAIN, DamagedFolder, NewerFormat
from coord.disk.faults import Fuse, opening, write_all, writing
from coord.disk.filesystem import FileSystem
from coord.disk.names import IDENTITY_NAME, UNFINISHED_SUFFIX

MAGIC = b"coord-id"
FORMAT_VERSION = 1
MAX_MEMBER_ID = 2**31 - 1

_ENVELOPE = struct.Struct("<8sIII")  # magic, version, length of the JSON, crc of all that and the JSON
_SECOND_COPY_AT = 4096
_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose folder it is."""

    member_id: int
    cluster_id: bytes | None
    """16 bytes; None until the cluster is formed or joined. No log exists before."""
    folder_id: bytes
    """16 bytes, new for every folder that is ever created."""
    fields: Mapping[str, str | int] = field(default_factory=dict)
    """Small extras of the shell, for later; see :meth:`coord.disk.storage.Storage.set_fields`."""

    @property
    def formed(self) -> bool:
        return self.cluster_id is not None


@dataclass(frozen=True, slots=True)
class Damage:
    """This member promised things that its disk no longer holds. It stays noted until its peers restored them."""

    what: str
    file: str
    """Empty when no single file is to blame."""
    offset: int
    last_index_seen: int
    """The highest log index seen on the disk, beyond what could be kept too. More may have been lost unseen."""
    last_term_seen: int


@dataclass(frozen=True, slots=True)
class FolderState:
    """All that the identity file holds."""

    identity: Identity
    newest_segment: int = 0
    """A segment of this number was made durable, so it or a later one must be there; 0: none yet."""
    damage: Damage | None = None


def encode(state: FolderState) -> bytes:
    identity, damage = state.identity, state.damage
    content = {
        "member_id": identity.member_id,
        "cluster_id": None if identity.cluster_id is None else identity.cluster_id.hex(),
        "folder_id": identity.folder_id.hex(),
        "newest_segment": state.newest_segment,
        "damage": None
        if damage is None
        else [damage.what, damage.file, damage.offset, damage.last_index_seen, damage.last_term_seen],
        "fields": dict(identity.fields),
    }
    text = json.dumps(content, sort_keys=True).encode()
    front = _ENVELOPE.pack(MAGIC, FORMAT_VERSION, len(text), 0)[:-4]
    copy = front + struct.pack("<I", crc32(front + text)) + text
    check(len(copy) <= _SECOND_COPY_AT, "the identity fits into 4 KiB", len(copy))
    return copy.ljust(_SECOND_COPY_AT, b"\0") + copy


def decode(data: bytes, where: str) -> tuple[FolderState, bool]:
    """The state, and whether both copies were good. Raises: DamagedFolder, NewerFormat."""
    copies = [_decode_copy(data[at:], where) for at in (0, _SECOND_COPY_AT)]
    good = [state for state in copies if state is not None]
    if not good:
        raise DamagedFolder(
            f"Both copies of this member's identity in {where} are damaged, so nobody knows whose folder it is. "
            f"If the disk is sound again and a backup of this one file exists, put it back. Else {JOIN_AGAIN}"
        )
    return good[0], len(good) == 2 and good[0] == good[1]


def _decode_copy(data: bytes, where: str) -> FolderState | None:
    if len(data) < _ENVELOPE.size:
        return None
    magic, version, length, crc = _ENVELOPE.unpack_from(data)
    text = data[_ENVELOPE.size : _ENVELOPE.size + length]
    if magic != MAGIC or len(text) != length or crc32(data[: _ENVELOPE.size - 4] + text) != crc:
        return None
    if version != FORMAT_VERSION:
        raise NewerFormat(
            f"{where} has format version {version}; this coord reads version {FORMAT_VERSION}. Nothing was changed. "
            "Start the member with the coord that wrote the folder, or a newer one."
        )
    try:
        return _from_content(json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None  # a checksum that fits by chance, or a file made by hand: no more use than a damaged one


def _from_content(content: dict[str, object]) -> FolderState:
    member_id, newest, fields = content["member_id"], content["newest_segment"], content["fields"]
    cluster, folder, damage = content["cluster_id"], content["folder_id"], content["damage"]
    if not isinstance(member_id, int) or not isinstance(newest, int) or not isinstance(fields, dict):
        raise TypeError
    if not isinstance(folder, str) or not (cluster is None or isinstance(cluster, str)):
        raise TypeError
    cluster_id = None if cluster is None else bytes.fromhex(cluster)
    folder_id = bytes.fromhex(folder)
    if len(folder_id) != 16 or not (cluster_id is None or len(cluster_id) == 16):
        raise ValueError
    if not 1 <= member_id <= MAX_MEMBER_ID or not 0 <= newest < 10**10:
        raise ValueError
    identity = Identity(member_id, cluster_id, folder_id, fields)
    if damage is None:
        return FolderState(identity, newest)
    if not isinstance(damage, list) or [type(part) for part in damage] != [str, str, int, int, int]:
        raise TypeError
    return FolderState(identity, newest, Damage(*damage))


def load(fs: FileSystem) -> tuple[FolderState, bool] | None:
    """The folder's state and whether both copies were good; None when the folder has no identity."""
    where = fs.describe(IDENTITY_NAME)
    with opening("reading", where):
        try:
            file = fs.open(IDENTITY_NAME)
        except FileNotFoundError:
            return None
        try:
            data = file.read_at(0, _MAX_BYTES)
        finally:
            file.close()
    return decode(data, where)


def save(fs: FileSystem, state: FolderState, fuse: Fuse) -> None:
    """Replace the file: aside, synced, renamed, directory synced. After a crash it is the old or the new one.

    Any other order loses it: renamed before it is synced, the name may outlive the bytes; without the
    directory's sync, a member that has answered "formed" may wake up unformed.
    """
    aside = IDENTITY_NAME + UNFINISHED_SUFFIX
    with writing("writing", fs.describe(IDENTITY_NAME), fuse):
        if aside in fs.names():
            fs.remove(aside)
        file = fs.create(aside)
        try:
            write_all(file, 0, encode(state))
            file.sync()
        finally:
            file.close()
        fs.rename(aside, IDENTITY_NAME)
        fs.sync_directory()
