"""Bytes are cut where frames end, and nowhere else is anything lost."""

from random import Random

from coord.jepsen_like.workloads.pieces import Pieces
from coord.wire.framing import encode_frame


def test_no_piece_holds_more_than_one_frames_end() -> None:
    dice = Random(1)
    frames = [encode_frame(130, b"x" * dice.choice((0, 1, 3, 300))) for _ in range(200)]
    stream = b"".join(frames)
    ends: list[int] = []
    for frame in frames:
        ends.append(len(frame) + (ends[-1] if ends else 0))
    for size in (1, 3, 7, 100, len(stream)):
        pieces, at = Pieces(), 0
        for start in range(0, len(stream), size):
            portion = stream[start : start + size]
            cut = list(pieces.of(portion))
            assert b"".join(cut) == portion
            for piece in cut:
                assert piece
                assert not [end for end in ends if at < end < at + len(piece)], (
                    "a frame's end inside of a piece"
                )
                at += len(piece)


def test_a_length_that_cannot_be_swallows_the_rest() -> None:
    pieces = Pieces()
    assert list(pieces.of(b"HTTP/1.1 400")) == [b"HTTP/1.1 400"]
    assert list(pieces.of(b" Bad")) == [b" Bad"]
