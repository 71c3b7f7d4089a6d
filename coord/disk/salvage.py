"""Reading a file that the disk may not be able to read everywhere."""

import errno

from coord.disk.filesystem import File
from coord.disk.record import MAX_SEGMENT_BYTES

_PIECE_BYTES = 4096


def read_salvaging(file: File, limit: int | None = None) -> bytes:
    """The file's first ``limit`` bytes (or all), with zeros where the disk reports a bad sector.

    So a bad sector becomes a bad record, to be judged like any other, instead of the end of everything.
    Of a file that is too large nothing is returned.
    """
    size = file.size()
    if limit is not None:
        size = min(size, limit)
    if size > MAX_SEGMENT_BYTES:
        return b""
    try:
        return file.read_at(0, size)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    pieces: list[bytes] = []
    for begin in range(0, size, _PIECE_BYTES):
        length = min(_PIECE_BYTES, size - begin)
        try:
            pieces.append(file.read_at(begin, length))
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            pieces.append(bytes(length))
    return b"".join(pieces)
