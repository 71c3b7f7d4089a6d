"""What a replica is told, and what it asks for. Plain values; the shell turns the one into the other."""

from collections.abc import Callable
from typing import NamedTuple

from coord.raft.types import Persist, SnapshotMeta
from coord.wire.client_frames import ClientFrame
from coord.wire.peer_frames import PeerMessage


class Tick(NamedTuple):
    """``tick_ms`` have passed. After a pause one tick stands for all that were missed."""


class FromPeer(NamedTuple):
    peer: int
    messages: list[PeerMessage]


class PeerLost(NamedTuple):
    """The connection to ``peer`` broke, or there is a new one: what was on its way may not arrive."""

    peer: int


class PeerDown(NamedTuple):
    """The process of ``peer`` is gone: its connections ended, and its host refuses new ones. All that it had said was
    given before. A hint, and safe when it is wrong (coord/raft/peer_down.py).
    """

    peer: int


class Persisted(NamedTuple):
    """Batch ``number`` is synced."""

    number: int


class ClientConnected(NamedTuple):
    """``secret``: fresh random bytes, for the session that this connection may open."""

    connection: int
    secret: bytes
    principal: str


class FromClient(NamedTuple):
    connection: int
    frame: ClientFrame


class ClientLost(NamedTuple):
    connection: int


class Backlog(NamedTuple):
    """``full``: much is waiting to be sent to this client, so only what must be is added to it for now."""

    connection: int
    full: bool


class SectionLoaded(NamedTuple):
    """Answers ``sections_wanted``. ``data`` ``None``: there is no such snapshot here any more."""

    peer: int
    snapshot_index: int
    section: int
    data: bytes | None
    last: bool


class SectionStored(NamedTuple):
    """Answers ``sections_received``, for all but the last."""

    meta: SnapshotMeta
    section: int


class SnapshotStored(NamedTuple):
    """Answers the last of ``sections_received``: the whole is durable, and the log starts after it."""

    meta: SnapshotMeta


class SnapshotRejected(NamedTuple):
    """Answers the last of ``sections_received``: its digest is wrong."""

    meta: SnapshotMeta


class SnapshotSaved(NamedTuple):
    """This member's own snapshot is durable; ``ok`` false: it failed, and nothing was lost but the try."""

    index: int  # type: ignore[assignment]  # Raft's word, over tuple.index()
    ok: bool


class SnapshotSectionSaved(NamedTuple):
    """One section of this member's own snapshot was written."""


class Signer(NamedTuple):
    """A key of this member, for signing tokens, as far as a replica has to know it. The private half is the shell's."""

    key: str
    """Its name: that of its znode below ``TOKEN_KEYS``. Starts with the member's id and ``-``."""
    value: bytes
    """The public half, as it stands in the tree."""
    generation: int
    """For which it was made; see ``coord/store/token_keys.py``."""
    sign: Callable[[bytes], bytes]
    """Ed25519: the same bytes, the same signature. Takes some 50 µs."""


class GoOn(NamedTuple):
    """Answers ``go_on``: all that had arrived meanwhile was given along with it, or before."""


class TokenKeyMade(NamedTuple):
    """Answers ``key_wanted``: the key is in this member's folder, also when it starts again."""

    signer: Signer


Input = (
    Tick
    | FromPeer
    | PeerLost
    | PeerDown
    | Persisted
    | ClientConnected
    | FromClient
    | ClientLost
    | Backlog
    | SectionLoaded
    | SectionStored
    | SnapshotStored
    | SnapshotRejected
    | SnapshotSaved
    | SnapshotSectionSaved
    | GoOn
    | TokenKeyMade
)


class ClientOutput(NamedTuple):
    """Bytes for one client, in order. ``answered``: requests that they answer. ``close``: and then hang up."""

    connection: int
    data: bytes
    answered: int
    close: bool


class Outputs:
    """What should happen now. Order matters within each list only.

    - ``persists``: for the disk, in order; each is answered with :class:`Persisted`.
    - ``messages``: ``(peer, message)``, to leave at once.
    - ``clients``: to leave at once.
    - ``sections_wanted``: ``(peer, snapshot_index, section)``, to be read from the disk.
    - ``sections_received``: ``(meta, section, data, last)``, to be written aside on the disk.
    - ``snapshot_begun``: this member's own snapshot: begin writing it; one that was begun before and not ended is void.
    - ``snapshot_sections``: its next sections; ``snapshot_ended``: that was the last one.
    - ``trim``: ``(snapshot_index, keep_from_index)``: older log and snapshots may go.
    - ``recovered``: recovery ended: the disk may forget that it was damaged.
    - ``key_wanted``: make a key for signing tokens, of this generation; answered with :class:`TokenKeyMade`.
    - ``go_on``: there was more to do than one step should hold. Look at what has arrived, and at the clock, and step
      again at once, with :class:`GoOn`.
    """

    __slots__ = (
        "clients",
        "go_on",
        "key_wanted",
        "messages",
        "persists",
        "recovered",
        "sections_received",
        "sections_wanted",
        "snapshot_begun",
        "snapshot_ended",
        "snapshot_sections",
        "trim",
    )

    def __init__(self) -> None:
        self.persists: list[Persist] = []
        self.messages: list[tuple[int, PeerMessage]] = []
        self.clients: list[ClientOutput] = []
        self.sections_wanted: list[tuple[int, int, int]] = []
        self.sections_received: list[tuple[SnapshotMeta, int, bytes, bool]] = []
        self.snapshot_begun: SnapshotMeta | None = None
        self.snapshot_sections: list[bytes] = []
        self.snapshot_ended = False
        self.trim: tuple[int, int] | None = None
        self.recovered = False
        self.key_wanted: int | None = None
        self.go_on = False
