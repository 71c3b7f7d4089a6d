"""Frames, messages and ops to draw from."""

from typing import Any, get_type_hints

from hypothesis import strategies as st

from coord.api.ops import (
    BranchOp,
    Claim,
    ClaimFirst,
    ClaimInfo,
    Claims,
    ClaimSettings,
    Compare,
    Create,
    Delete,
    Exists,
    Fence,
    FencedWrite,
    Get,
    HoldBack,
    Kind,
    Lane,
    List,
    Multi,
    Operator,
    Release,
    RotateTokenKeys,
    Set,
    SetLanes,
    SignToken,
    Target,
    WatchScope,
)  # fmt: skip
from coord.limits import TOKEN_TTL_MAX_MS
from coord.raft.messages import MESSAGE_TYPES
from coord.raft.types import Configuration, Entry, SnapshotMeta
from coord.wire.client_frames import EndSession, Hello, Keepalive, NewSession, ResumeSession, Unwatch, Watch
from coord.wire.peer_frames import (
    FormationProbe,
    FormationReply,
    Forward,
    ForwardRefused,
    ReadGranted,
    ReadRefused,
    ReadRequest,
)  # fmt: skip

INTS = st.integers(0, 2**63 - 1)
IDS = st.integers(1, 2**63 - 1)
BYTES = st.binary(max_size=40)
NAME = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/"), min_size=1, max_size=8
).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAME, max_size=4).map(lambda names: "/" + "/".join(names))
CONDITION = st.none() | INTS

TREE_OPS = st.one_of(
    st.builds(
        Create, PATHS, BYTES, st.sampled_from([Kind.PERSISTENT, Kind.EPHEMERAL, Kind.CONTAINER]), st.just(False),
        st.booleans(),
    ),
    st.builds(Create, PATHS, BYTES, st.just(Kind.TTL), st.just(False), st.booleans(), st.integers(1, 10**9)),
    st.builds(Create, PATHS, BYTES, sequential=st.just(True)).filter(lambda op: len(op.path) < 200),
    st.builds(Set, PATHS, BYTES, CONDITION, CONDITION, st.booleans(), st.booleans()),
    st.builds(Delete, PATHS, CONDITION, CONDITION, st.booleans(), st.booleans()),
    st.builds(Get, PATHS, CONDITION, CONDITION),
    st.builds(Exists, PATHS),
    st.builds(List, PATHS, st.booleans(), st.booleans(), st.integers(1, 10_000), st.none() | NAME),
)  # fmt: skip
COMPARES = st.one_of(
    st.builds(Compare, st.just(Target.VALUE), PATHS, st.sampled_from(Operator), BYTES),
    st.builds(Compare, st.just(Target.EXISTS), PATHS, st.sampled_from(list(Operator)[:2]), st.booleans()),
    st.builds(
        Compare,
        st.sampled_from([each for each in Target if each not in (Target.VALUE, Target.EXISTS)]),
        PATHS,
        st.sampled_from(Operator),
        INTS,
    ),
)
UNITS = st.integers(1, 2**31 - 1)
CLAIMS_AT_ONCE = st.builds(
    Claim, PATHS, st.just(False), st.booleans(), UNITS, BYTES, st.booleans(), st.booleans()
)
LANE_OPS = st.builds(
    Lane,
    st.text("abcä", min_size=1, max_size=20),
    st.integers(0, 2**31 - 1),
    st.integers(0, 24 * 3_600_000),
    UNITS,
)
FENCES = st.builds(Fence, PATHS, st.none() | PATHS)
CLAIM_WRITES = st.one_of(
    CLAIMS_AT_ONCE,
    st.builds(Release, IDS, INTS, st.booleans()),
    st.builds(ClaimSettings, PATHS, UNITS, st.integers(0, 24 * 3_600_000)),
    st.builds(HoldBack, PATHS, st.none() | st.integers(0, 24 * 3_600_000)),
    st.builds(SetLanes, PATHS, st.lists(LANE_OPS, max_size=4, unique_by=lambda lane: lane.name).map(tuple)),
    FENCES,
)


def multis_of(ops: st.SearchStrategy[BranchOp]) -> st.SearchStrategy[Multi]:
    branch = st.lists(ops, max_size=3).map(tuple)
    return st.builds(Multi, st.lists(COMPARES, max_size=3).map(tuple), branch, branch)


MULTIS = multis_of(TREE_OPS | CLAIM_WRITES | multis_of(TREE_OPS | CLAIM_WRITES))
FENCED_WRITES = st.builds(
    FencedWrite,
    st.lists(st.tuples(INTS, INTS), max_size=3).map(tuple),
    TREE_OPS.filter(lambda op: isinstance(op, Create | Set | Delete)) | MULTIS | FENCES,
)
CLAIM_OPS = st.one_of(
    CLAIM_WRITES,
    st.builds(Claim, PATHS, st.just(True), st.booleans(), UNITS, BYTES, st.booleans(), st.booleans()),
    st.builds(ClaimFirst, PATHS, IDS, st.booleans(), st.booleans(), BYTES),
    st.builds(
        Claims, PATHS, st.sampled_from([WatchScope.ZNODE, WatchScope.SUBTREE]), CONDITION, CONDITION,
        st.integers(1, 10_000),
    ),
    st.builds(ClaimInfo, PATHS),
)  # fmt: skip
TOKEN_OPS = st.builds(SignToken, IDS, st.integers(0, TOKEN_TTL_MAX_MS)) | st.builds(
    RotateTokenKeys, st.none() | NAME
)
OPS = TOKEN_OPS | TREE_OPS | MULTIS | CLAIM_OPS | FENCED_WRITES

SECRET = st.binary(min_size=16, max_size=16)
HELLOS = st.builds(
    Hello,
    st.none() | st.builds(NewSession, IDS) | st.builds(ResumeSession, IDS, SECRET),
    st.text(max_size=128),
    st.none() | SECRET,
)
SCOPES = st.sampled_from([1, 2, 3, 9, 10, 11])
WATCHES = st.builds(Watch, IDS, IDS, PATHS, SCOPES, st.none() | IDS) | st.builds(
    Watch, IDS, IDS, st.just("/"), st.just(int(WatchScope.CLAIMS)), st.none() | IDS
)
UNWATCHES = st.builds(Unwatch, IDS, IDS)
KEEPALIVES = st.builds(Keepalive, IDS)
ENDS = st.builds(EndSession, IDS)

ENTRIES = st.builds(Entry, INTS, INTS, st.integers(0, 1), BYTES)
_MEMBERS = st.lists(st.integers(1, 9), max_size=4, unique=True).map(sorted).map(tuple)
METAS = st.builds(SnapshotMeta, INTS, INTS, st.builds(Configuration, _MEMBERS, _MEMBERS, _MEMBERS, _MEMBERS))

_FIELDS: dict[Any, st.SearchStrategy[Any]] = {
    int: INTS,
    bool: st.booleans(),
    bytes: BYTES,
    tuple[int, ...]: st.lists(INTS, max_size=4).map(tuple),
    tuple[bytes, ...]: st.lists(BYTES, max_size=4).map(tuple),
    tuple[Entry, ...]: st.lists(ENTRIES, max_size=4).map(tuple),
    SnapshotMeta: METAS,
}

PEER_TYPES: tuple[Any, ...] = (
    *MESSAGE_TYPES.values(),
    *(Forward, ForwardRefused, ReadRequest, ReadGranted, ReadRefused, FormationProbe, FormationReply),
)  # fmt: skip


def messages_of(message_type: Any) -> st.SearchStrategy[Any]:
    """Messages of one type: fields by their hints."""
    return st.builds(message_type, *[_FIELDS[hint] for hint in get_type_hints(message_type).values()])


MESSAGES = st.one_of([messages_of(each) for each in PEER_TYPES])
