"""docs/PROTOCOL.md and docs/vectors.json against the code: every vector in both directions, every table row by row.

Replies and the worked conversation are not only decoded: a real replica (one member, in memory) is told what the
file says the client sends, and must answer with the very bytes that the file says it answers.

``COORD_REWRITE=1`` writes what it answers now into the file and into the page. Look at the difference before you commit
it: bytes on the wire are a promise to clients in other languages.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coord.api.errors import ERRORS, CoordError, DeadlineExceeded, InvalidRequest, LimitExceeded, from_code
from coord.api.events import ChangeKind, Reason
from coord.api.ops import (
    CLAIM,
    CLAIM_FIRST,
    CLAIM_INFO,
    CLAIM_SETTINGS,
    CLAIMS,
    CREATE,
    DELETE,
    EXISTS,
    FENCE,
    FENCED_WRITE,
    GET,
    HOLD_BACK,
    LANES,
    LIST,
    LOG,
    MULTI,
    READS,
    RELEASE,
    ROTATE_TOKEN_KEYS,
    SESSIONS,
    SET,
    SIGN_TOKEN,
    STATUS,
    WATCH_CLAIMS,
    WRITES,
    Claim,
    ClaimFirst,
    ClaimFirstFlag,
    ClaimFlag,
    ClaimInfo,
    Claims,
    ClaimSettings,
    Compare,
    Create,
    CreateFlag,
    Delete,
    DeleteFlag,
    Exists,
    Fence,
    FencedWrite,
    Get,
    HoldBack,
    Kind,
    Lane,
    List,
    ListFlag,
    Multi,
    Op,
    Operator,
    ReadMode,
    Release,
    ReleaseFlag,
    RotateTokenKeys,
    Row,
    Set,
    SetFlag,
    SetLanes,
    SignToken,
    Target,
    WatchScope,
)
from coord.api.results import Stat, result_from_row
from coord.api.signed import SignedToken, json_bytes, signed_text, to_be_signed
from coord.api.tokens import Token
from coord.limits import (
    CLIENT_FRAME_MAX_BYTES,
    SERVER_FRAME_MAX_BYTES,
    MemberLimits,
    StoreLimits,
    limit_names,
)
from coord.raft.types import Configuration, HardState, SnapshotMeta
from coord.recipes.fencing.signed import KeySet, Verifier
from coord.replica.inputs import ClientConnected, ClientLost, FromClient, GoOn, Input, Persisted, Signer, Tick
from coord.replica.replica import Replica
from coord.replica.settings import ReplicaSettings
from coord.replica.state import Who
from coord.server.config import DEFAULT_CLIENT_PORT
from coord.wire import client_frames
from coord.wire.cbor import DecodeError, dumps, loads_exactly
from coord.wire.client_frames import (
    PROTOCOL_VERSION,
    ClientFrame,
    EndSession,
    Events,
    Goodbye,
    Hello,
    Keepalive,
    NewSession,
    Reads,
    Replies,
    ServerFrame,
    Unwatch,
    Watch,
    WatchEnded,
    Welcome,
    Writes,
    decode_client_frame,
    decode_server_frame,
    encode_end_session,
    encode_goodbye,
    encode_hello,
    encode_keepalive,
    encode_reads,
    encode_replies,
    encode_unwatch,
    encode_watch,
    encode_watch_ended,
    encode_welcome,
    encode_writes,
)
from coord.wire.event_frames import encode_events, encode_group
from coord.wire.framing import FrameBuffer
from coord.wire.op_rows import INT_MAX, TTL_MAX_MS, check_op

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "PROTOCOL.md"
FILE = DOCS / "vectors.json"
LIMITS = MemberLimits()
REWRITE = os.environ.get("COORD_REWRITE") == "1"

CLIENT_FRAMES = {
    name: getattr(client_frames, name)
    for name in ("HELLO", "WRITES_FRAME", "READS_FRAME", "WATCH", "UNWATCH", "KEEPALIVE", "END_SESSION")
}
SERVER_FRAMES = {
    name: getattr(client_frames, name) for name in ("WELCOME", "REPLIES", "EVENTS", "WATCH_ENDED", "GOODBYE")
}


# --- the file's notation -------------------------------------------------------------------------


def from_json(value: Any) -> Any:
    """``{"hex": …}`` is a byte string, ``{"int": …}`` a large number, ``{"map": …}`` a map; all else is itself."""
    if isinstance(value, list):
        return [from_json(each) for each in value]
    if isinstance(value, dict):
        [(kind, inner)] = value.items()
        if kind == "hex":
            return bytes.fromhex(inner)
        if kind == "int":
            return int(inner)
        assert kind == "map", kind
        return {key: from_json(each) for key, each in inner.items()}
    return value


def to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, list | tuple):
        return [to_json(each) for each in value]
    if isinstance(value, dict):
        return {"map": {key: to_json(each) for key, each in value.items()}}
    if type(value) is int and value >= 2**53:
        return {"int": str(value)}
    return value


def diagnostic(value: Any) -> str:
    """CBOR's diagnostic notation (RFC 8949 §8), as the page shows values."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return (
            f"h'{value.hex()}'"
            if not value or not value.isascii() or len(value) == 16
            else f"'{value.decode()}'"
        )
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(diagnostic(each) for each in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{diagnostic(key)}: {diagnostic(each)}" for key, each in value.items()) + "}"
    return str(value)


VECTORS: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
TEXT = PAGE.read_text("utf-8")


def named(section: str) -> list[Any]:
    return [pytest.param(vector, id=vector["name"]) for vector in VECTORS[section]]


def raw(frame: bytes) -> tuple[int, bytes]:
    """The one frame in ``frame``."""
    [found] = FrameBuffer(SERVER_FRAME_MAX_BYTES).feed(frame)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    return found


# --- CBOR ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", named("cbor"))
def test_cbor_both_ways(vector: dict[str, Any]) -> None:
    value, data = from_json(vector["value"]), bytes.fromhex(vector["hex"])
    assert loads_exactly(data) == value
    if not vector.get("decode_only"):
        assert dumps(value) == data


@pytest.mark.parametrize("vector", named("cbor_refused"))
def test_cbor_that_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(DecodeError):
        decode_client_frame((client_frames.KEEPALIVE, bytes.fromhex(vector["hex"])), LIMITS)


# --- frames --------------------------------------------------------------------------------------


def encode_client(frame: ClientFrame) -> bytes:
    if isinstance(frame, Hello):
        return encode_hello(frame)
    if isinstance(frame, Writes):
        return encode_writes(frame.confirmed, [(request, op) for request, op in frame.requests])
    if isinstance(frame, Reads):
        return encode_reads(frame.mode, frame.at_least, [(request, op) for request, op in frame.requests])
    if isinstance(frame, Watch):
        return encode_watch(frame)
    if isinstance(frame, Unwatch):
        return encode_unwatch(frame)
    if isinstance(frame, Keepalive):
        return encode_keepalive(frame.request)
    assert isinstance(frame, EndSession)
    return encode_end_session(frame.request)


def encode_server(frame: ServerFrame) -> bytes:
    if isinstance(frame, Welcome):
        return encode_welcome(frame)
    if isinstance(frame, Replies):
        return encode_replies(frame.rows)
    if isinstance(frame, Events):
        return encode_events([encode_group(group) for group in frame.groups])
    if isinstance(frame, WatchEnded):
        return encode_watch_ended(frame.watch, from_code(frame.code, frame.message, frame.details))
    assert isinstance(frame, Goodbye)
    return encode_goodbye(from_code(frame.code, frame.message, frame.details))


def all_frames() -> list[dict[str, Any]]:
    return [
        *VECTORS["frames"],
        *(step for step in VECTORS["conversation"] if "hex" in step),
    ]


@pytest.mark.parametrize("vector", [pytest.param(each, id=each["name"]) for each in all_frames()])
def test_frame_both_ways(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    frame_type, body = raw(data)
    assert frame_type == vector["type"]
    assert loads_exactly(body) == from_json(vector["body"])
    if frame_type != client_frames.REPLIES:  # those are not in shortest form
        assert dumps(from_json(vector["body"])) == body
    if vector["from"] == "client":
        decoded = decode_client_frame((frame_type, body), LIMITS)
        assert not getattr(decoded, "refused", None)
        assert encode_client(decoded) == data
    else:
        assert encode_server(decode_server_frame((frame_type, body))) == data


def test_every_frame_type_has_a_vector() -> None:
    found = {(each["from"], each["type"]) for each in VECTORS["frames"]}
    assert found == {
        *(("client", number) for number in CLIENT_FRAMES.values()),
        *(("member", number) for number in SERVER_FRAMES.values()),
    }


def test_every_error_code_has_a_vector() -> None:
    found = {vector["body"][0] for vector in VECTORS["frames"] if vector["type"] == client_frames.GOODBYE}
    found |= {row[1] for row in replies_in_vectors()}
    on_the_wire = set(ERRORS) - {CoordError.code, DeadlineExceeded.code}  # the client library's own
    assert on_the_wire <= found


def replies_in_vectors() -> Iterator[list[Any]]:
    for vector in all_frames():
        if vector["type"] == client_frames.REPLIES:
            yield from vector["body"]
    for vector in VECTORS["exchanges"]:
        if vector["reply"] is not None:
            yield vector["reply"]


@pytest.mark.parametrize("vector", named("frames_refused"))
def test_frame_that_ends_the_connection(vector: dict[str, Any]) -> None:
    with pytest.raises(DecodeError) as refused:
        decode_client_frame(raw(bytes.fromhex(vector["hex"])), LIMITS)
    assert vector["why"] in str(refused.value)


# --- a member in memory --------------------------------------------------------------------------

WALL_MS = 1_700_000_000_000


def token_signer() -> Signer:
    """The key of the file."""
    keys = VECTORS["token_keys"][0]
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(keys["private_hex"]))
    return Signer(keys["jwk"]["kid"], json_bytes(keys["jwk"]), 0, private.sign)


class OneMember:
    """A cluster of one, its disk instant, its wall clock stopped."""

    def __init__(self) -> None:
        who = Who(1, bytes(range(16)), 7, {1: "127.0.0.1:4711"})
        start = SnapshotMeta(0, 0, Configuration((1,)))
        self.replica = Replica(
            who, ReplicaSettings(), 1, HardState(0, 0), start, None, [], signer=token_signer()
        )
        self.now_ms = 0
        self.sent: dict[int, bytes] = {}
        for _ in range(100):
            self.tick()

    def tick(self) -> None:
        self.now_ms += 20
        self.give(Tick())

    def give(self, *inputs: Input) -> None:
        pending: list[Input] = list(inputs)
        while pending:
            self.replica.step(self.now_ms, WALL_MS, pending)
            outputs = self.replica.take_outputs()
            pending = [*[Persisted(batch.number) for batch in outputs.persists], *[GoOn()] * outputs.go_on]
            for output in outputs.clients:
                self.sent[output.connection] = self.sent.get(output.connection, b"") + output.data

    def connect(self, connection: int) -> None:
        self.give(ClientConnected(connection, bytes(range(0xA0, 0xB0)), ""))

    def receive(self, connection: int, data: bytes) -> None:
        for each in FrameBuffer(CLIENT_FRAME_MAX_BYTES).feed(data):
            self.give(FromClient(connection, decode_client_frame(each, LIMITS)))
        self.tick()

    def take(self, connection: int) -> bytes:
        return self.sent.pop(connection, b"")


def test_replies_are_what_a_member_answers() -> None:
    """The ops of the file, in order, in one session: each is answered with exactly the bytes that stand there."""
    member = OneMember()
    member.connect(1)
    member.receive(1, encode_hello(Hello(NewSession(60_000), "vectors", None)))
    member.take(1)
    for vector in VECTORS["exchanges"]:
        row = from_json(vector["op"])
        assert dumps(row) == bytes.fromhex(vector["op_hex"])
        request = [(vector["id"], row)]
        reads = vector["sent_in"] == "reads"
        member.receive(1, encode_reads(0, 0, request) if reads else encode_writes(0, request))
        replies = decode_server_frame(raw(member.take(1)))
        assert isinstance(replies, Replies)
        [reply] = replies.rows
        if vector["reply"] is None:
            assert reply[1] == 0  # what it holds is not for everybody the same: see the page
        elif REWRITE:
            vector["reply"], vector["reply_hex"] = to_json(reply), dumps(reply).hex()
        else:
            assert diagnostic(reply) == diagnostic(from_json(vector["reply"])), vector["name"]
            assert dumps(reply) == bytes.fromhex(vector["reply_hex"])


@pytest.mark.parametrize("vector", named("signed_tokens"))
def test_signed_tokens_both_ways(vector: dict[str, Any]) -> None:
    signer, says = token_signer(), vector["says"]
    token = Token.parse(says["token"])
    signed = to_be_signed(
        signer.key,
        bytes.fromhex(says["iss"]),
        says["sub"],
        token,
        says["session"],
        says["client"],
        says["iat"],
        says["exp"],
    )
    text = signed_text(signed, signer.sign(signed))
    assert text == vector["text"]
    found = SignedToken.parse(text)
    assert (found.cluster, found.path, found.token) == (says["iss"], says["sub"], token)
    assert (found.session, found.client) == (says["session"], says["client"])
    assert (found.issued_s, found.expires_s, found.key) == (says["iat"], says["exp"], signer.key)
    verifier = Verifier(KeySet({"keys": [VECTORS["token_keys"][0]["jwk"]]}))
    assert verifier.verify(text, path=says["sub"], now=says["iat"]) == found


@pytest.mark.parametrize("vector", named("signed_tokens_refused"))
def test_signed_tokens_that_are_refused(vector: dict[str, Any]) -> None:
    verifier = Verifier(KeySet({"keys": [VECTORS["token_keys"][0]["jwk"]]}))
    with pytest.raises(CoordError):
        verifier.verify(vector["text"], path=vector["path"], now=vector["now"])


def test_the_conversation_is_what_a_member_says() -> None:
    """What stands in the file, and so on the page, with every byte."""
    member = OneMember()
    connected: set[int] = set()
    told: list[dict[str, Any]] = []
    for step in VECTORS["conversation"]:
        connection = step["connection"]
        if step["from"] == "member":
            if not REWRITE:
                data, expected = member.take(connection), bytes.fromhex(step["hex"])
                assert data[: len(expected)] == expected, (step["name"], data.hex())
                member.sent[connection] = data[len(expected) :]
                told.append(step)
            continue
        assert not member.take(connection), f"before {step['name']} the member said more"
        told.append(step)
        if step["from"] == "network":
            member.give(ClientLost(connection))
            continue
        if connection not in connected:
            connected.add(connection)
            member.connect(connection)
        member.receive(connection, bytes.fromhex(step["hex"]))
        if REWRITE:
            comments = [
                each["what"]
                for each in VECTORS["conversation"]
                if each["from"] == "member" and each["after"] == step["name"]
            ]
            for number, (frame_type, body) in enumerate(
                FrameBuffer(SERVER_FRAME_MAX_BYTES).feed(member.take(connection))
            ):
                told.append(
                    {
                        "name": f"{step['name']}.{number + 1}",
                        "after": step["name"],
                        "connection": connection,
                        "from": "member",
                        "what": comments[number] if number < len(comments) else "",
                        "type": frame_type,
                        "body": to_json(loads_exactly(body)),
                        "hex": ((len(body) + 1).to_bytes(4, "big") + bytes([frame_type]) + body).hex(),
                    }
                )
    for connection in connected:
        assert not member.take(connection)
    if REWRITE:
        VECTORS["conversation"] = told
        rewrite()


# --- ops and results -----------------------------------------------------------------------------


def typed(row: Row) -> Op:
    """The dataclass of an op's row."""
    code = row[0]
    if code == CREATE:
        _, path, value, kind, flags, ttl_ms = row
        sequential, parents = bool(flags & CreateFlag.SEQUENTIAL), bool(flags & CreateFlag.PARENTS)
        return Create(path, value, Kind(kind), sequential, parents, ttl_ms)
    if code == SET:
        _, path, value, version, revision, flags = row
        return Set(
            path, value, version, revision, bool(flags & SetFlag.CREATE), bool(flags & SetFlag.PARENTS)
        )
    if code == DELETE:
        subtree, missing_ok = bool(row[4] & DeleteFlag.SUBTREE), bool(row[4] & DeleteFlag.MISSING_OK)
        return Delete(row[1], row[2], row[3], subtree, missing_ok)
    if code == GET:
        return Get(row[1], row[2], row[3])
    if code == EXISTS:
        return Exists(row[1])
    if code == LIST:
        return List(row[1], bool(row[2] & ListFlag.VALUES), bool(row[2] & ListFlag.STATS), row[3], row[4])
    if code != MULTI:
        return typed_of_claims(row)
    compare = tuple(
        Compare(Target(target), path, Operator(operator), operand)
        for target, path, operator, operand in row[1]
    )
    return Multi(compare, tuple(typed(op) for op in row[2]), tuple(typed(op) for op in row[3]))  # type: ignore[misc]


def typed_of_claims(row: Row) -> Op:
    code = row[0]
    if code == CLAIM:
        _, path, flags, units, label, *capacity = row
        wait, shared = bool(flags & ClaimFlag.WAIT), bool(flags & ClaimFlag.SHARED)
        create, parents = bool(flags & ClaimFlag.CREATE), bool(flags & ClaimFlag.PARENTS)
        return Claim(path, wait, shared, units, label, create, parents, *capacity)
    if code == CLAIM_FIRST:
        _, parent, count, flags, label = row
        wait, values = bool(flags & ClaimFirstFlag.WAIT), bool(flags & ClaimFirstFlag.VALUES)
        return ClaimFirst(parent, count, wait, values, label)
    if code == RELEASE:
        return Release(row[1], row[2], bool(row[3] & ReleaseFlag.FORCE))
    if code == CLAIM_SETTINGS:
        return ClaimSettings(row[1], row[2], row[3])
    if code == HOLD_BACK:
        return HoldBack(row[1], row[2])
    if code == LANES:
        return SetLanes(row[1], tuple(Lane(*lane) for lane in row[2]))
    if code == FENCE:
        return Fence(row[1], row[2])
    if code == FENCED_WRITE:
        return FencedWrite(tuple((token[0], token[1]) for token in row[1]), typed(row[2]))  # type: ignore[arg-type]
    if code == CLAIMS:
        return Claims(row[1], WatchScope(row[2]), row[3], row[4], row[5])
    if code == SIGN_TOKEN:
        return SignToken(row[1], row[2])
    if code == ROTATE_TOKEN_KEYS:
        return RotateTokenKeys(row[1])
    assert code == CLAIM_INFO
    return ClaimInfo(row[1])


@pytest.mark.parametrize("vector", named("exchanges"))
def test_op_both_ways(vector: dict[str, Any]) -> None:
    row = from_json(vector["op"])
    assert loads_exactly(bytes.fromhex(vector["op_hex"])) == row
    reply = vector["reply"] and from_json(vector["reply"])
    if vector.get("framing"):
        assert check_op(row, LIMITS) == row  # nothing is wrong with it, but the frame it is in
        assert reply[1] == InvalidRequest.code
    elif reply and reply[1] == InvalidRequest.code:
        with pytest.raises(CoordError):
            check_op(row, LIMITS)
    elif reply and reply[1] == LimitExceeded.code:
        pass  # too large: for some it is the member that says so, for some the store
    else:
        assert check_op(row, LIMITS) == row
        if row[0] not in (LOG, SESSIONS, STATUS):
            assert dumps(typed(row).row()) == bytes.fromhex(vector["op_hex"])
            if reply and reply[1] == 0:
                result_from_row(row, reply[4], reply[2])  # raises if it is not the result of that op


def test_every_op_flag_and_number_has_a_vector() -> None:
    rows = [from_json(vector["op"]) for vector in VECTORS["exchanges"] if good(vector)]
    inner = [op for row in rows if row[0] == MULTI for branch in row[2:] for op in branch]
    compared = [each for row in rows if row[0] == MULTI for each in row[1]]
    ops = rows + inner
    assert {row[0] for row in rows} == WRITES | READS
    assert {row[3] for row in ops if row[0] == CREATE} == set(Kind) - {Kind.OTHER}
    assert {row[4] for row in ops if row[0] == CREATE} == {0, 1, 2, 3}
    assert {row[5] for row in ops if row[0] == SET} == {0, 1, 3}
    assert {row[4] for row in ops if row[0] == DELETE} == {0, 1, 2}
    assert {row[2] for row in ops if row[0] == LIST} == {0, 1, 2, 3}
    assert {flag for row in ops if row[0] == CLAIM for flag in (1, 2, 4, 8) if row[2] & flag} == {1, 2, 4, 8}
    assert {row[3] for row in ops if row[0] == CLAIM_FIRST} >= {1, 2, 3}
    assert {row[3] for row in ops if row[0] == RELEASE} == {0, 1}
    assert {row[2] > 0 for row in ops if row[0] == RELEASE} == {False, True}
    assert {row[2][0] for row in ops if row[0] == FENCED_WRITE} == {SET, FENCE}
    assert {row[2] for row in ops if row[0] == CLAIMS} == {WatchScope.ZNODE, WatchScope.SUBTREE}
    assert {row[0] for row in compared} == set(Target)
    assert {row[2] for row in compared} == set(Operator)
    frames = VECTORS["frames"]
    assert {each["body"][0] for each in frames if each["type"] == client_frames.READS_FRAME} == set(ReadMode)
    scopes = {each["body"][3] for each in frames if each["type"] == client_frames.WATCH}
    assert scopes == {*WatchScope, WATCH_CLAIMS | WatchScope.CHILDREN}
    changes = [
        change
        for each in frames
        if each["type"] == client_frames.EVENTS
        for _, _, events in each["body"]
        for change, _ in events
    ]
    assert {change[0] for change in changes} == set(ChangeKind) - {ChangeKind.OTHER}
    assert {change[6] for change in changes} == set(Reason) - {Reason.OTHER, Reason.RELISTED}


def good(vector: dict[str, Any]) -> bool:
    return vector["reply"] is None or vector["reply"][1] == 0


# --- the page ------------------------------------------------------------------------------------

_FENCE = re.compile(r"^```hex (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def shown_hex(block: str) -> str:
    """The digits of a block on the page: all that stands before ``→``."""
    return "".join(block.partition("→")[0].split())


def vectors_by_name() -> dict[str, tuple[str, Any]]:
    found: dict[str, tuple[str, Any]] = {}
    for section, key, value in (
        ("cbor", "hex", "value"),
        ("frames", "hex", "body"),
        ("conversation", "hex", "body"),
    ):
        for vector in VECTORS[section]:
            if key in vector:
                assert vector["name"] not in found
                found[vector["name"]] = (vector[key], from_json(vector[value]))
    for vector in VECTORS["exchanges"]:
        found[f"{vector['name']}/op"] = (vector["op_hex"], from_json(vector["op"]))
        if vector["reply"] is not None:
            found[f"{vector['name']}/reply"] = (vector["reply_hex"], from_json(vector["reply"]))
    return found


def test_each_vector_on_the_page_is_in_the_file() -> None:
    known = vectors_by_name()
    blocks = _FENCE.findall(TEXT)
    assert len(blocks) > 20
    for name, block in blocks:
        digits, value = known[name]
        assert shown_hex(block) == digits, name
        decoded = block.partition("→")[2]
        assert " ".join(decoded.split()) == diagnostic(value), name


_BEGIN, _END = (
    "<!-- conversation: written by tests/test_protocol_vectors.py -->",
    "<!-- end of the conversation -->",
)


def rendered(steps: list[dict[str, Any]]) -> str:
    """The conversation, as the page shows it."""
    lines = [""]
    for step in steps:
        connection = step["connection"]
        if step["from"] == "network":
            lines += [f"*Connection {connection} breaks.* {step['what']}", ""]
            continue
        arrow = "client ⟶ member" if step["from"] == "client" else "member ⟶ client"
        digits = step["hex"]
        body = digits[10:]
        hexes = [f"{digits[:8]} {digits[8:10]}"] + [body[at : at + 96] for at in range(0, len(body), 96)]
        lines += [f"**{arrow}** (connection {connection}): {step['what']}", "", f"```hex {step['name']}"]
        lines += [*hexes, f"→ {diagnostic(from_json(step['body']))}", "```", ""]
    return "\n".join(lines)


def test_the_conversation_on_the_page_is_the_one_in_the_file() -> None:
    shown = TEXT.partition(_BEGIN)[2].partition(_END)[0]
    assert shown == rendered(VECTORS["conversation"])


def rewrite() -> None:
    for vector in VECTORS["frames"]:
        body = dumps(from_json(vector["body"]))
        vector["hex"] = ((len(body) + 1).to_bytes(4, "big") + bytes([vector["type"]]) + body).hex()
    parts = []
    for key, value in VECTORS.items():
        if isinstance(value, list):
            rows = ",\n    ".join(json.dumps(each, ensure_ascii=False) for each in value)
            parts.append(f'  "{key}": [\n    {rows}\n  ]')
        else:
            parts.append(f'  "{key}": {json.dumps(value, ensure_ascii=False)}')
    FILE.write_text("{\n" + ",\n".join(parts) + "\n}\n", "utf-8")
    before, _, rest = TEXT.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    PAGE.write_text(before + _BEGIN + rendered(VECTORS["conversation"]) + _END + after, "utf-8")


def table(heading: str) -> list[list[str]]:
    """The rows of the first table after ``heading``, cell by cell, without code marks."""
    assert heading in TEXT, heading
    rows = []
    for line in TEXT.partition(heading)[2].splitlines():
        if line.startswith("|"):
            rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split(" | ")])
        elif rows:
            break
    return rows[2:]


def test_the_table_of_errors() -> None:
    shown = [(int(code), name, outcome) for code, name, outcome, *_ in table("### The table of errors")]
    assert shown == [(code, error.slug, error.outcome) for code, error in ERRORS.items()]


def test_the_details_in_the_table_of_errors() -> None:
    """Whatever details a vector has, the table names."""
    named_keys = {int(row[0]): set(re.findall(r"\w+", row[4])) for row in table("### The table of errors")}
    with_details = 0
    for reply in replies_in_vectors():
        if reply[1] != 0:
            keys = set(from_json(reply[5]))
            with_details += bool(keys)
            assert keys <= named_keys[reply[1]], reply
    assert with_details > 5


def test_the_table_of_ops() -> None:
    codes = {
        "create": CREATE, "set": SET, "delete": DELETE, "get": GET, "exists": EXISTS,
        "list": LIST, "multi": MULTI, "log": LOG, "sessions": SESSIONS, "status": STATUS,
        "claim": CLAIM, "claim_first": CLAIM_FIRST, "release": RELEASE, "claim_settings": CLAIM_SETTINGS,
        "fence": FENCE, "fenced_write": FENCED_WRITE, "claims": CLAIMS, "claim_info": CLAIM_INFO,
        "hold_back": HOLD_BACK, "lanes": LANES,
        "sign_token": SIGN_TOKEN, "rotate_token_keys": ROTATE_TOKEN_KEYS,
    }  # fmt: skip
    shown = {name: int(code) for code, name, *_ in table("### The table of ops")}
    assert shown == codes
    for code, _, frame, row, *_ in table("### The table of ops"):
        assert frame == ("WRITES" if int(code) in WRITES else "READS")
        fields = row.strip("[]").split(", ")
        assert fields[0] == code
        example = next(
            each["op"] for each in VECTORS["exchanges"] if each["op"][0] == int(code) and good(each)
        )
        assert len(fields) == len(example), row


def test_the_table_of_frames() -> None:
    shown = {name: int(number) for number, name, *_ in table("### The table of frames")}
    renamed = {
        name.removesuffix("_FRAME"): number for name, number in (CLIENT_FRAMES | SERVER_FRAMES).items()
    }
    assert shown == renamed


@pytest.mark.parametrize("kind", [StoreLimits, MemberLimits])
def test_the_tables_of_limits(kind: type[StoreLimits] | type[MemberLimits]) -> None:
    heading = "### Limits of the cluster" if kind is StoreLimits else "### Limits of a member"
    shown = {row[0]: int(re.sub(r"\D", "", row[1].partition("(")[0])) for row in table(heading)}
    assert shown == {name: getattr(kind(), name) for name in limit_names(kind)}


@pytest.mark.parametrize(
    ("heading", "numbers"),
    [
        ("### Kinds of znodes", Kind),
        ("### Read modes", ReadMode),
        ("### Scopes of watches", WatchScope),
        ("### Targets of comparisons", Target),
        ("### Operators", Operator),
        ("### Kinds of changes", ChangeKind),
        ("### Reasons of changes", Reason),
    ],
)
def test_the_tables_of_numbers(heading: str, numbers: Any) -> None:
    shown = {int(row[0]): row[1].lower().replace(" ", "_") for row in table(heading)}
    assert shown == {
        each.value: each.name.lower() for each in numbers if each.value >= 0
    }  # those below 0 are the client's own


def test_the_stat() -> None:
    shown = [row[1] for row in table("### The stat")]
    assert shown == list(Stat._fields)
    assert [int(row[0]) for row in table("### The stat")] == list(range(len(shown)))


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("protocol version is {}", PROTOCOL_VERSION),
        ("at most {} bytes from a client", CLIENT_FRAME_MAX_BYTES),
        ("at most {} bytes from a member", SERVER_FRAME_MAX_BYTES),
        ("`ttl_ms` from 1 to {}", TTL_MAX_MS),
        ("port is {}", DEFAULT_CLIENT_PORT),
    ],
)
def test_constants_on_the_page(words: str, number: int) -> None:
    assert words.format(number) in TEXT


def test_the_range_of_numbers_on_the_page() -> None:
    assert "from 0 to 2^63 \N{MINUS SIGN} 1" in " ".join(TEXT.split())
    assert INT_MAX == 2**63 - 1


def test_the_guarantees_name_tests_that_exist() -> None:
    text = (DOCS / "GUARANTEES.md").read_text("utf-8")
    named_files = re.findall(r"`(tests/[\w/]+\.py)`", text)
    assert len(set(named_files)) > 15
    assert [name for name in named_files if not (DOCS.parent / name).is_file()] == []
    promises = re.split(r"^## (?=\d)", text, flags=re.MULTILINE)[1:]
    assert [promise[0] for promise in promises] == list("12345678")
    assert all("**Tried by**" in promise for promise in promises if not promise.startswith("6"))
