"""The file with the key that a member signs tokens with: made once, whole, for nobody else; and what can be wrong."""

import json
import os
import stat
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from coord.client import SignedToken
from coord.client.blocking import connect
from coord.disk.errors import CannotOpen, DamagedFolder, NewerFormat, StorageError
from coord.disk.identity import Identity
from coord.disk.names import unfinished
from coord.server.token_key import NAME, TokenKeyFile, _checksum, key_name
from coord.testing import cluster

WHOSE = Identity(3, b"c" * 16, b"f" * 16)


def unpadded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def content_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / NAME).read_text())
    return found


def test_it_is_made_once_and_found_again(tmp_path: Path) -> None:
    first = TokenKeyFile(tmp_path, WHOSE).load()
    again = TokenKeyFile(tmp_path, WHOSE).load()
    assert (first.key, first.value, first.generation) == (again.key, again.value, 0)
    assert first.sign(b"x") == again.sign(b"x")
    assert os.listdir(tmp_path) == [NAME]
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_whatever_the_umask_says_nobody_else_reads_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        TokenKeyFile(tmp_path, WHOSE).load()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_what_goes_out_is_the_public_half(tmp_path: Path) -> None:
    made = TokenKeyFile(tmp_path, WHOSE).load()
    jwk = json.loads(made.value)
    public = unpadded(jwk["x"])
    private = unpadded(content_of(tmp_path)["private_key"])
    Ed25519PublicKey.from_public_bytes(public).verify(made.sign(b"x"), b"x")
    assert Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw() == public
    assert "d" not in jwk  # as RFC 8037 calls the private one
    assert private not in made.value
    assert content_of(tmp_path)["private_key"].encode() not in made.value
    assert {**jwk, "x": "", "made_ms": 0} == {
        "kty": "OKP", "crv": "Ed25519", "x": "", "kid": made.key, "use": "sig", "alg": "EdDSA", "member": 3,
        "cluster": (b"c" * 16).hex(), "made_ms": 0,
    }  # fmt: skip
    assert made.key == key_name(3, public)
    assert made.key.startswith("3-")
    assert len(made.key) == 24


def test_a_new_one_takes_its_place_whole(tmp_path: Path) -> None:
    file = TokenKeyFile(tmp_path, WHOSE)
    first = file.load()
    (tmp_path / f"{NAME}.tmp").write_text("left over from a crash")
    second = file.make(7)
    assert second.key != first.key
    assert second.generation == 7
    assert TokenKeyFile(tmp_path, WHOSE).load()[:3] == second[:3]
    assert os.listdir(tmp_path) == [NAME]
    assert unfinished([f"{NAME}.tmp"])  # so a start sweeps it away


def test_a_crash_while_it_is_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = TokenKeyFile(tmp_path, WHOSE)
    first = file.load()
    synced: list[str] = []
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    def rename(old: Path, new: Path) -> None:
        assert synced == [str(old)]  # the bytes are there before the name says so
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(StorageError, match="No space left"):
        file.make(1)
    monkeypatch.undo()
    assert TokenKeyFile(tmp_path, WHOSE).load().key == first.key


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o601])
def test_others_must_not_be_able_to_read_it(tmp_path: Path, mode: int) -> None:
    file = TokenKeyFile(tmp_path, WHOSE)
    file.load()
    (tmp_path / NAME).chmod(mode)
    with pytest.raises(CannotOpen, match=rf"mode {mode:04o}.*chmod 600"):
        file.load()
    (tmp_path / NAME).chmod(0o600)
    file.load()


def test_any_damage_is_noticed(tmp_path: Path) -> None:
    """Each byte, with a bit of it changed; and each length."""
    file = TokenKeyFile(tmp_path, WHOSE)
    good = file.load()
    whole = (tmp_path / NAME).read_bytes()
    harmless, told = 0, []
    for at in range(len(whole)):
        (tmp_path / NAME).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            found = file.load()
        except StorageError as error:
            told.append(str(error))
        else:
            assert found[:3] == good[:3]  # white space, say
            harmless += 1
    assert all(str(tmp_path / NAME) in each for each in told)
    assert harmless < 5
    for length in range(len(whole) - 2):
        (tmp_path / NAME).write_bytes(whole[:length])
        with pytest.raises(DamagedFolder, match=r"damaged.*remove the file"):
            file.load()


@pytest.mark.parametrize("text", ["", "[]", "7", "null", "{}", "[" * 100_000, '{"format": 1}', "\xff"])
def test_what_is_no_key_at_all(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).touch(0o600)
    (tmp_path / NAME).write_text(text, "latin-1")
    with pytest.raises(DamagedFolder):
        TokenKeyFile(tmp_path, WHOSE).load()


def rewrite(folder: Path, **changes: object) -> None:
    """By somebody who knows the format."""
    content = {**content_of(folder), **changes}
    del content["checksum"]
    (folder / NAME).write_text(json.dumps({**content, "checksum": _checksum(content)}))


@pytest.mark.parametrize("key", ["", "AAAA", "A" * 44, 5, None])
def test_a_key_that_is_none(tmp_path: Path, key: object) -> None:
    file = TokenKeyFile(tmp_path, WHOSE)
    file.load()
    rewrite(tmp_path, private_key=key)
    with pytest.raises(DamagedFolder, match="no key in it"):
        file.load()


def test_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    file = TokenKeyFile(tmp_path, WHOSE)
    file.load()
    (tmp_path / NAME).write_text('{"format": 2, "all": "else"}')
    with pytest.raises(NewerFormat, match="version 2"):
        file.load()
    assert json.loads((tmp_path / NAME).read_text())["format"] == 2


@pytest.mark.parametrize(
    "other",
    [Identity(4, b"c" * 16, b"f" * 16), Identity(3, b"d" * 16, b"f" * 16), Identity(3, b"c" * 16, b"g" * 16)],
)
def test_the_key_of_another_folder_is_not_used(tmp_path: Path, other: Identity) -> None:
    TokenKeyFile(tmp_path, other).load()
    with pytest.raises(CannotOpen, match="another data folder"):
        TokenKeyFile(tmp_path, WHOSE).load()


def test_what_cannot_be_read_or_written(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(CannotOpen, match=r"Cannot read|mode"):
        TokenKeyFile(tmp_path, WHOSE).load()
    with pytest.raises(StorageError, match="Cannot write"):
        TokenKeyFile(tmp_path / "missing", WHOSE).load()


def test_a_member_does_not_start_with_a_bad_key_and_goes_on_with_its_own() -> None:
    with cluster(1) as members:
        path = members.member(1).data / NAME
        with connect(members.endpoints) as client, client.claim("/lock") as grant:
            first = grant.sign().key
        members.stop(1)
        path.chmod(0o644)
        with pytest.raises(CannotOpen, match="chmod 600"):
            members.restart(1)
        path.chmod(0o600)
        members.restart(1)
        with connect(members.endpoints) as client:
            with client.claim("/lock") as grant:
                assert grant.sign().key == first
            assert client.children(SignedToken.KEYS) == [first]
        members.stop(1)
        path.unlink()
        members.restart(1)
        with connect(members.endpoints) as client:
            with client.claim("/lock") as grant:
                assert grant.sign().key != first
            assert first in client.children(SignedToken.KEYS)  # what it signed is good as long as it was
