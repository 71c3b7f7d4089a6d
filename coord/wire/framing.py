"""Frames: ``length`` (four bytes, big-endian, of what follows), ``type`` (one byte), a CBOR body.

The same between clients and members and between members; only types and bodies differ. Sans IO: feed it
what arrived, take what is complete.
"""

from struct import Struct

from coord.wire.cbor import DecodeError, dumps

_HEADER = Struct(">IB")
_LENGTH_BYTES = 4

RawFrame = tuple[int, bytes]
"""``(type, body)``."""


def encode_frame(frame_type: int, body: object) -> bytes:
    """One frame with ``body`` as CBOR."""
    return encode_raw_frame(frame_type, dumps(body))


def encode_raw_frame(frame_type: int, body: bytes) -> bytes:
    """One frame whose body is CBOR already."""
    return frame_head(frame_type, len(body)) + body


def frame_head(frame_type: int, body_bytes: int) -> bytes:
    """What stands before the body."""
    return _HEADER.pack(body_bytes + 1, frame_type)


class FrameBuffer:
    """Bytes in, frames out. Holds at most one incomplete frame of at most ``max_bytes``."""

    __slots__ = ("_buffer", "_max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._buffer = bytearray()
        self._max_bytes = max_bytes

    def feed(self, data: bytes) -> list[RawFrame]:
        """Add what arrived; return the frames that are now complete, in order.

        Raises :class:`DecodeError` at a length that cannot be: the stream is then of no further use.
        """
        pending = self._buffer
        buffer: bytes | bytearray = data  # mostly nothing is pending, and what arrived is whole frames
        if pending:
            pending += data
            buffer = pending
        frames: list[RawFrame] = []
        start, available = 0, len(buffer)
        while available - start >= _LENGTH_BYTES:
            length = int.from_bytes(buffer[start : start + _LENGTH_BYTES], "big")
            if not 1 <= length <= self._max_bytes:
                raise DecodeError(
                    f"a frame of {length} bytes; at least 1 and at most {self._max_bytes} are allowed"
                )
            end = start + _LENGTH_BYTES + length
            if end > available:
                break
            body = slice(start + _LENGTH_BYTES + 1, end)
            if buffer is data:
                frames.append((buffer[start + _LENGTH_BYTES], data[body]))
            else:
                with memoryview(
                    buffer
                ) as view:  # a slice of a bytearray would be one copy, and bytes() another
                    frames.append((view[start + _LENGTH_BYTES], bytes(view[body])))
            start = end
        if buffer is pending:
            del pending[:start]
        elif start < available:
            pending += memoryview(data)[start:]
        return frames

    @property
    def pending_bytes(self) -> int:
        """Of a frame that is not complete yet."""
        return len(self._buffer)
