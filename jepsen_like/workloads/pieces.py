"""Where one frame ends and the next begins, in bytes that arrive in any portions. Sans IO.

A core that is given several frames at once tells what completed and which watches have news, not which of the two
came first; and that is a promise to be checked. Given no more than one frame at a time, it tells.
"""

from collections.abc import Iterator
from typing import Final

LENGTH_BYTES: Final = 4


class Pieces:
    """One stream."""

    def __init__(self) -> None:
        self._length = b""
        """The part of a frame's length that has arrived."""
        self._left = 0
        """Bytes of the present frame, after its length, that have not."""

    def of(self, data: bytes) -> Iterator[bytes]:
        """``data``, cut after the end of each frame."""
        start = at = 0
        while at < len(data):
            if not self._left:
                part = data[at : at + LENGTH_BYTES - len(self._length)]
                self._length += part
                at += len(part)
                if len(self._length) == LENGTH_BYTES:
                    self._left, self._length = int.from_bytes(self._length, "big"), b""
            else:
                size = min(self._left, len(data) - at)
                self._left -= size
                at += size
            if not self._left:
                yield data[start:at]
                start = at
        if start < at:
            yield data[start:at]
