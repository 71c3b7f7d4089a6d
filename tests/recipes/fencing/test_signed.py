"""Signed tokens at the resource: what is taken for genuine, and what is not; and that genuine is not enough."""

import json
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coord.api.paths import TOKEN_KEYS
from coord.api.signed import TEXT_MAX, encode, signed_text, to_be_signed
from coord.client import InvalidRequest, NotHeld, SignedToken, Token, Unavailable, connect
from coord.client.blocking import Client as BlockingClient
from coord.client.blocking import connect as connect_blocking
from coord.limits import TOKEN_TTL_MAX_MS
from coord.recipes.blocking.lock import Lock
from coord.recipes.fencing import HEADER, FencingASGI, FencingWSGI, MemoryHolds, StaleToken
from coord.recipes.fencing.signed import (
    BadSignature,
    Expired,
    KeyFile,
    KeySet,
    NotGenuine,
    OtherCluster,
    OtherPath,
    TreeKeys,
    UnknownKey,
    Verifier,
    keys_of,
)
from coord.recipes.lock import Lock as AsyncLock
from coord.server.config import Config
from coord.server.stream import Stream
from coord.server.token_key import NAME, key_name, public_jwk
from coord.testing import Cluster, cluster

CLUSTER = b"c" * 16
NOW_S = 1_700_000_000
PATH = "/locks/a"


class Key:
    """A member's."""

    def __init__(self, seed: int, member: int = 1, of: bytes = CLUSTER) -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        public = self.private.public_key().public_bytes_raw()
        self.name = key_name(member, public)
        self.of = of
        self.jwk: dict[str, Any] = json.loads(public_jwk(self.name, public, member, of.hex(), 0))

    def text(
        self,
        path: str = PATH,
        token: Token = Token(1, 7),  # noqa: B008  # it is frozen
        expires_s: int = NOW_S + 60,
        name: str | None = None,
        client: str = "web",
    ) -> str:
        signed = to_be_signed(name or self.name, self.of, path, token, 9, client, NOW_S, expires_s)
        return signed_text(signed, self.private.sign(signed))


KEY = Key(1)
VERIFIER = Verifier(KeySet({"keys": [KEY.jwk, Key(2, 2).jwk]}))


def verified(text: str, path: str = PATH, now: float = NOW_S, **rest: Any) -> SignedToken:
    return VERIFIER.verify(text, path=path, now=now, **rest)


def test_what_is_genuine() -> None:
    text = KEY.text()
    found = verified(text, cluster=CLUSTER.hex())
    assert found == SignedToken(text, CLUSTER.hex(), PATH, Token(1, 7), 9, "web", NOW_S, NOW_S + 60, KEY.name)
    assert str(found) == text
    assert verified(Key(2, 2).text()).key.startswith("2-")
    longest = KEY.text(path="/" + "ü" * 500, token=Token(2**63 - 1, 2**63 - 1), client='"\x00' * 64)
    assert len(longest) < TEXT_MAX / 2
    assert verified(longest, path="/" + "ü" * 500).token == Token(2**63 - 1, 2**63 - 1)


def test_each_character_counts() -> None:
    """Whatever one changes, it is not taken; also not the bits at the ends of parts that decoders tend to pass over."""
    text = KEY.text()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    refused = 0
    for at, character in enumerate(text):
        others = alphabet if at in (text.index("."), len(text) - 1) else alphabet[at % 61 : at % 61 + 3]
        for other in (*others, ".", "=", " ", "\n", "é"):
            if other != character:
                with pytest.raises((NotGenuine, InvalidRequest)):
                    verified(text[:at] + other + text[at + 1 :])
                refused += 1
        for changed in (
            text[:at] + text[at + 1 :],
            text[:at],
            f"{text[:at]} {text[at:]}",
            f"{text[:at]}={text[at:]}",
        ):
            with pytest.raises((NotGenuine, InvalidRequest)):
                verified(changed)
    assert refused > 2_000


@pytest.mark.parametrize(
    "padded", [lambda text: f"{text}==", lambda text: f"{text}\n", lambda text: f" {text}"]
)
def test_there_is_one_text_of_each(padded: Callable[[str], str]) -> None:
    with pytest.raises(InvalidRequest):
        verified(padded(KEY.text()))


def part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


HEADER_OF = {"alg": "EdDSA", "kid": KEY.name, "typ": "coord-token+jwt"}
PAYLOAD = {
    "iss": CLUSTER.hex(), "sub": PATH, "token": "1-7", "session": 9, "client": "web", "iat": NOW_S, "exp": NOW_S + 60,
}  # fmt: skip


def handmade(header: object, payload: object) -> str:
    """Signed rightly, whatever it is."""
    signed = f"{part(header)}.{part(payload)}"
    return f"{signed}.{encode(KEY.private.sign(signed.encode())).decode()}"


def test_another_order_and_more_fields_are_as_good() -> None:
    """A newer member may say more."""
    found = verified(handmade(dict(reversed(HEADER_OF.items())), {**PAYLOAD, "more": [1]}))
    assert found.token == Token(1, 7)


@pytest.mark.parametrize(
    "header",
    [
        {**HEADER_OF, "alg": "none"},
        {**HEADER_OF, "alg": "HS256"},
        {**HEADER_OF, "alg": "eddsa"},
        {**HEADER_OF, "typ": "JWT"},
        {**HEADER_OF, "crit": ["exp"]},
        {**HEADER_OF, "kid": 5},
        {"alg": "EdDSA", "kid": KEY.name},
        {"alg": "EdDSA", "typ": "coord-token+jwt"},
        [],
        "x",
        None,
    ],
)
def test_headers_of_others(header: object) -> None:
    """What signs other things with the same key, or with none, is not taken: the algorithm is ours to say."""
    with pytest.raises(InvalidRequest, match="no signed token"):
        verified(handmade(header, PAYLOAD))


@pytest.mark.parametrize(
    "payload",
    [
        *[{name: value for name, value in PAYLOAD.items() if name != left_out} for left_out in PAYLOAD],
        *[{**PAYLOAD, name: None} for name in PAYLOAD],
        *[{**PAYLOAD, name: value} for name in ("session", "iat", "exp") for value in (True, 1.5, "1", -1)],
        *[{**PAYLOAD, "token": value} for value in ("7", "1-0", "0-7", "1-7 ", [1, 7])],
        [PAYLOAD],
    ],
)
def test_payloads_that_lack_something(payload: object) -> None:
    with pytest.raises(InvalidRequest):
        verified(handmade(HEADER_OF, payload))


@pytest.mark.parametrize("text", [None, b"x", 5, "", "..", "a.b", "a.b.c.d", "[" * 9_000, "1-4711"])
def test_what_is_no_signed_token(text: Any) -> None:
    with pytest.raises(InvalidRequest):
        verified(text)


def test_deep_json_is_refused_and_no_more() -> None:
    deep = urlsafe_b64encode(b"[" * 2_000).decode().rstrip("=")
    with pytest.raises(InvalidRequest):
        verified(f"{deep}.{deep}.{'A' * 86}")


def test_a_forger_with_a_key_of_his_own() -> None:
    forger = Key(66)
    with pytest.raises(UnknownKey):
        verified(forger.text())
    with pytest.raises(BadSignature):
        verified(forger.text(name=KEY.name))
    signed, _, _ = KEY.text().rpartition(".")
    _, _, signature = KEY.text(token=Token(1, 8)).rpartition(".")
    with pytest.raises(BadSignature):
        verified(f"{signed}.{signature}")


@pytest.mark.parametrize(
    "name", ["", "/", "..", ".", "x" * 5_000, "1-a/b", "\x00", "1-", KEY.name + " ", "\ud800"]
)
def test_names_of_keys_are_anybodys_word(name: str, member: Cluster) -> None:
    text = handmade({**HEADER_OF, "kid": name}, PAYLOAD)
    with connect_blocking(member.endpoints, session=False) as client, client.cache(SignedToken.KEYS) as cache:
        for verifier in (VERIFIER, Verifier(TreeKeys(cache))):
            with pytest.raises((UnknownKey, InvalidRequest)):
                verifier.verify(text, path=PATH, now=NOW_S)


def test_of_another_claim() -> None:
    with pytest.raises(OtherPath, match="/locks/b"):
        verified(KEY.text("/locks/b"))
    for path in ("/locks", "/locks/a/", "/locks/a/b", "/LOCKS/A"):
        with pytest.raises(OtherPath):
            verified(KEY.text(), path=path)
    for nothing in (None, "", "locks/a", b"/locks/a", 5):
        with pytest.raises(InvalidRequest):
            VERIFIER.verify(KEY.text(), path=nothing, now=NOW_S)  # type: ignore[arg-type]


def test_of_another_cluster() -> None:
    there = Key(3, of=b"d" * 16)
    both = Verifier(KeySet({"keys": [KEY.jwk, there.jwk]}))
    assert both.verify(there.text(), path=PATH, now=NOW_S).cluster == there.of.hex()
    with pytest.raises(OtherCluster):
        both.verify(there.text(), path=PATH, now=NOW_S, cluster=CLUSTER.hex())
    impostor = Key(3, of=CLUSTER)  # a key says whose it is: it signs for no other
    with pytest.raises(OtherCluster):
        both.verify(impostor.text(), path=PATH, now=NOW_S)


def test_expiry_and_leeway() -> None:
    text = KEY.text(expires_s=NOW_S + 60)
    assert verified(text, now=NOW_S + 64.9).expires_s == NOW_S + 60
    with pytest.raises(Expired):
        verified(text, now=NOW_S + 65)
    strict = Verifier(KeySet({"keys": [KEY.jwk]}), leeway=0)
    strict.verify(text, path=PATH, now=NOW_S + 59.9)
    with pytest.raises(Expired):
        strict.verify(text, path=PATH, now=NOW_S + 60)
    with pytest.raises(Expired):
        strict.verify(text, path=PATH)  # by this machine's clock: it is later by now
    for leeway in (-1, float("inf"), float("nan"), True, "5"):
        with pytest.raises(InvalidRequest):
            Verifier(KeySet({"keys": []}), leeway=leeway)  # type: ignore[arg-type]


# --- keys --------------------------------------------------------------------------------------------------


def test_key_sets() -> None:
    rows = [KEY.jwk, {"kty": "RSA", "n": "x"}, {"kty": "OKP", "crv": "X25519"}, "x"]
    for jwks in ({"keys": rows}, json.dumps({"keys": rows}), json.dumps({"keys": rows}).encode()):
        assert len(KeySet(jwks)) == 1
    for bad in ("", "[]", "{}", "[" * 100_000, b"\xff", {"keys": 5}, {"keys": {}}, 5):
        with pytest.raises(InvalidRequest):
            KeySet(bad)  # type: ignore[arg-type]
    for change in ({"kid": 5}, {"x": "AAAA"}, {"x": "é"}, {"x": None}, {"cluster": None}):
        with pytest.raises(InvalidRequest, match="32 bytes"):
            KeySet({"keys": [{**KEY.jwk, **change}]})
    with pytest.raises(InvalidRequest, match="two keys"):
        KeySet({"keys": [KEY.jwk, {**Key(2).jwk, "kid": KEY.name}]})


def test_a_file_of_keys_is_read_anew_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with pytest.raises(InvalidRequest, match="there are no keys"):
        KeyFile(path)
    path.write_text(json.dumps({"keys": [KEY.jwk]}))
    verifier, new = Verifier(KeyFile(path)), Key(4)
    verifier.verify(KEY.text(), path=PATH, now=NOW_S)
    with pytest.raises(UnknownKey):
        verifier.verify(new.text(), path=PATH, now=NOW_S)
    aside = tmp_path / "aside"
    aside.write_text(json.dumps({"keys": [new.jwk]}))
    aside.rename(path)
    verifier.verify(new.text(), path=PATH, now=NOW_S)
    with pytest.raises(UnknownKey):  # revoked
        verifier.verify(KEY.text(), path=PATH, now=NOW_S)
    path.write_text("half of it")
    with pytest.raises(InvalidRequest, match=r"keys\.json"):
        verifier.verify(new.text(), path=PATH, now=NOW_S)
    path.unlink()
    with pytest.raises(InvalidRequest, match="there are no keys"):
        verifier.verify(new.text(), path=PATH, now=NOW_S)


class FakeCache:
    stale_for = 0.0
    failure = None

    def get(self, path: str) -> Any:
        return None


def test_keys_that_nothing_was_heard_of_for_too_long() -> None:
    cache = FakeCache()
    patient, strict = Verifier(TreeKeys(cache)), Verifier(TreeKeys(cache, stale_max=5))
    cache.stale_for = 5.1
    with pytest.raises(UnknownKey):
        patient.verify(KEY.text(), path=PATH, now=NOW_S)
    with pytest.raises(Unavailable, match="revoked"):
        strict.verify(KEY.text(), path=PATH, now=NOW_S)


# --- with real members ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def member() -> Iterator[Cluster]:
    with cluster(1) as made:
        yield made


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_an_old_token_is_genuine_and_refused(backend: str, member: Cluster) -> None:
    """The whole point. 1. A holds the lock, has its token signed, and is paused. 2. Its claim is taken away; B is
    granted it, and writes. 3. A wakes up, with a token that is signed rightly and has not expired."""

    async def main() -> None:
        async with (
            connect(member.endpoints, name="a") as a,
            connect(member.endpoints, name="b") as b,
            connect(member.endpoints, session=False) as resource,
            keys_of(resource) as keys,
        ):
            assert SignedToken.KEYS == TOKEN_KEYS
            verifier, holds = Verifier(keys), MemoryHolds()
            old_grant = await a.claim("/locks/old")
            old = await old_grant.sign()
            await b.release(old_grant.number, force=True)
            async with await b.claim("/locks/old") as grant:
                new = await grant.sign(ttl=60)
                await resource.exists("/", at_least=b.revision)  # it has heard of the keys, too
                for text, who in ((str(new), b), (str(old), a)):
                    genuine = verifier.verify(text, path="/locks/old")
                    assert (genuine.session, genuine.client) == (who.session_id, "a" if who is a else "b")
                assert new.token == grant.token
                with holds.hold("thing", verifier.verify(str(new), path="/locks/old").token):
                    pass
                with (
                    pytest.raises(StaleToken),
                    holds.hold("thing", verifier.verify(str(old), path="/locks/old").token),
                ):
                    pass
            with pytest.raises(NotHeld):
                await old_grant.sign()

    async def bounded() -> None:
        with anyio.fail_after(30):
            await main()

    anyio.run(bounded, backend=backend)


@pytest.fixture
def client(member: Cluster) -> Iterator[BlockingClient]:
    with connect_blocking(member.endpoints, name="web", session_timeout=20) as made:
        yield made


def test_what_a_grant_signs(client: BlockingClient) -> None:
    with client.namespace("/app").claim("/lock") as grant, client.cache(SignedToken.KEYS) as cache:
        signed = grant.sign()
        assert signed.path == "/app/lock"  # whole: the resource knows nothing of namespaces
        assert 20 <= signed.expires_s - signed.issued_s <= 21
        assert grant.sign(ttl=0.0001).expires_s - signed.issued_s <= 2
        assert Verifier(TreeKeys(cache)).verify(str(signed), path="/app/lock") == signed
        longest = TOKEN_TTL_MAX_MS / 1000
        assert grant.sign(ttl=longest).expires_s >= signed.issued_s + longest
        for ttl in (0, -1, longest + 0.001, float("nan"), 1e9):
            with pytest.raises(
                InvalidRequest, match="a ttl is a number of seconds above 0, at most 900; not"
            ):
                grant.sign(ttl=ttl)
        for other in ("60", True):
            with pytest.raises(InvalidRequest, match="a ttl is a number of seconds, not"):
                grant.sign(ttl=other)  # type: ignore[arg-type]
    with pytest.raises(NotHeld):
        grant.sign()


def test_what_recipes_hold_signs_too(client: BlockingClient, member: Cluster) -> None:
    with Lock(client, "/locks/recipe") as grant:
        assert grant.sign(ttl=5).token == grant.token

    async def main() -> None:
        async with connect(member.endpoints) as tasks, AsyncLock(tasks, "/locks/recipe") as held:
            assert (await held.sign(ttl=5)).path == "/locks/recipe"

    anyio.run(main)


def test_keys_are_not_for_those_inside_of_a_namespace(member: Cluster) -> None:
    async def main() -> None:
        async with connect(member.endpoints, session=False, namespace="/app") as inside:
            with pytest.raises(InvalidRequest, match="without one"):
                async with keys_of(inside):
                    pass

    anyio.run(main)


def test_rotation_and_revocation_while_in_use() -> None:
    """Nothing that was signed becomes invalid by a rotation; all that a revoked key has signed does."""
    with (
        cluster(3) as members,
        connect_blocking(members.endpoints) as client,
        client.claim("/locks/a") as grant,
        client.cache(SignedToken.KEYS) as cache,
    ):
        verifier = Verifier(TreeKeys(cache))
        before = grant.sign(ttl=600)
        assert cache.wait_for(
            lambda: len(cache) == 4, deadline=10
        )  # one of each member, and what they are in
        client.rotate_token_keys()
        assert cache.wait_for(
            lambda: len(cache) == 7, deadline=10
        )  # two of each member, and what they are in
        verifier.verify(str(before), path="/locks/a")
        after = grant.sign(ttl=600)
        assert after.key == before.key  # for another minute, so that everybody has heard of the new one
        client.rotate_token_keys(revoke=before.key)
        successor = grant.sign(ttl=600)  # at once
        assert successor.key != before.key
        assert successor.key.partition("-")[0] == before.key.partition("-")[0]
        cache.wait_revision(client.revision)
        verifier.verify(str(successor), path="/locks/a")
        for revoked in (before, after):
            with pytest.raises(UnknownKey):
                verifier.verify(str(revoked), path="/locks/a")


def test_the_private_key_is_in_its_file_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the log, nor in a snapshot, nor in anything that a member has said to a client or another member."""
    said: list[bytes] = []
    send, settings = Stream.send, Config.replica_settings

    def heard(stream: Stream, *parts: bytes) -> None:
        said.append(b"".join(parts))
        send(stream, *parts)

    monkeypatch.setattr(Stream, "send", heard)
    monkeypatch.setattr(Config, "replica_settings", lambda self: replace(settings(self), snapshot_entries=5))
    with cluster(3) as members:
        secrets = _secrets(members)
        with connect_blocking(members.endpoints) as client, client.claim("/locks/a") as grant:
            grant.sign()
            with client.cache(SignedToken.KEYS) as cache:
                cache.wait_for(lambda: len(cache) == 4, deadline=10)
                client.rotate_token_keys()
                cache.wait_for(lambda: len(cache) == 7, deadline=10)
            for number in range(10):
                client.set("/x", b"%d" % number, create=True)
        for each in members.members:
            each.stop()
        secrets += _secrets(members)
        kinds: dict[str, int] = {}
        for each in members.members:
            for file in each.data.iterdir():
                if file.name != NAME:
                    said.append(file.read_bytes())
                    kinds[file.suffix] = kinds.get(file.suffix, 0) + 1
    assert kinds[".log"] >= 3
    assert kinds[".snap"] >= 1
    public = [each for each in said if b'"crv":"Ed25519"' in each]
    assert len(public) > 6  # frames, logs and snapshots with the public halves were among it
    assert not [secret for secret in secrets for each in said if secret in each]


def _secrets(members: Cluster) -> list[bytes]:
    """The private keys in all their spellings, and their halves."""
    found = []
    for each in members.members:
        text = json.loads((each.data / NAME).read_text())["private_key"]
        raw = urlsafe_b64decode(text + "=")
        assert len(raw) == 32
        found += [raw[:16], raw[16:], text.encode(), raw.hex().encode(), b64encode(raw)]
    return found


# --- in front of web applications ----------------------------------------------------------------------------


def wsgi(guarded: FencingWSGI, text: str) -> tuple[str, bytes]:
    statuses: list[str] = []
    environ = {"REQUEST_METHOD": "POST", f"HTTP_{HEADER.upper().replace('-', '_')}": text}
    answer = guarded(environ, lambda status, headers, exc_info=None: statuses.append(status))
    body = b"".join(answer)
    getattr(answer, "close", list)()
    return statuses[-1], body


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [str(environ["coord.fencing"].token).encode()]


def far(token: Token = Token(1, 7), path: str = PATH) -> str:  # noqa: B008
    return KEY.text(path, token, expires_s=2**40)


def test_wsgi_takes_signed_tokens_and_no_others() -> None:
    guarded = FencingWSGI(application, MemoryHolds(), name="printer", verify=VERIFIER.checking(PATH))
    assert wsgi(guarded, far()) == ("200 OK", b"1-7")
    assert wsgi(guarded, far(Token(1, 9))) == ("200 OK", b"1-9")
    status, body = wsgi(guarded, far())
    assert status.startswith("412")  # genuine, and stale
    assert json.loads(body)["greatest"] == "1-9"
    for text in (
        KEY.text(),
        far(path="/locks/b"),
        Key(66).text(expires_s=2**40),
    ):  # expired, elsewhere, made up
        status, body = wsgi(guarded, text)
        assert status.startswith("403")
        assert json.loads(body)["title"] == "The fencing token is not genuine"
    for text in ("1-99", "x", far() + "="):
        assert wsgi(guarded, text)[0].startswith("400")
    assert wsgi(guarded, far(Token(1, 9))) == ("200 OK", b"1-9")


def test_asgi_likewise_and_paths_by_name() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(scope["coord.fencing"].token).encode()})

    guarded = FencingASGI(
        app,
        MemoryHolds(),
        name=lambda scope: str(scope["path"]),
        verify=VERIFIER.checking(lambda name: f"/locks{name}"),
    )

    async def post(path: str, text: str) -> int:
        sent: list[Any] = []
        scope = {
            "type": "http", "method": "POST", "path": path, "headers": [(HEADER.lower().encode(), text.encode())],
        }  # fmt: skip

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request"}

        await guarded(scope, receive, send)
        return int(sent[0]["status"])

    async def main() -> None:
        assert await post("/a", far()) == 200
        assert await post("/b", far()) == 403
        assert await post("/a", far(Token(1, 6))) == 412
        assert await post("/a", "1-7") == 400

    anyio.run(main)
