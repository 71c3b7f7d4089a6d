"""``python -m coord.jepsen_like.live.unsynced_fuse FOLDER``: mounts a :class:`Disk` on FOLDER, until its stdin ends.

A line ``SEED`` on stdin is a power cut; one line on stdout says what it took. Speaks the kernel's own FUSE protocol
(7.31, ``linux/fuse.h``) over ``/dev/fuse``, so that no library is needed; mounting takes root. Nothing is cached by the
kernel: what this process does not know was not written.
"""

import ctypes
import errno
import os
import select
import struct
import sys
import time
from collections.abc import Callable
from random import Random
from typing import Final

from coord.jepsen_like.live.unsynced_disk import Disk

ROOT: Final = 1
WRITE_MAX_BYTES: Final = 128 * 1024
DIRECT_IO: Final = 1
_BIG_WRITES: Final = 1 << 5
_SET_SIZE: Final = 1 << 3
_NOSUID_NODEV: Final = 2 | 4

_IN, _OUT = struct.Struct("<IIQQIIIHH"), struct.Struct("<IiQ")
_ATTR = struct.Struct("<QQQQQQIIIIIIIIII")
_OPENED = struct.pack("<QII", 0, DIRECT_IO, 0)


class Refused(Exception):
    """``args[0]``: the errno that the caller gets."""


class Server:
    """Answers the kernel's requests, one at a time."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._now_s = int(time.time())
        self._answers: dict[int, Callable[[int, memoryview], bytes]] = {
            1: self._lookup, 3: self._getattr, 4: self._setattr, 10: self._unlink, 12: self._rename,
            14: lambda node, body: _OPENED, 15: self._read, 16: self._write, 17: self._statfs,
            18: _nothing, 20: self._fsync, 25: _nothing, 26: self._init, 27: lambda node, body: _OPENED,
            28: self._readdir, 29: _nothing, 30: self._fsyncdir, 34: _nothing, 35: self._create, 38: _nothing,
            45: self._rename2,
        }  # fmt: skip
        """By opcode. What is not here is not implemented, and the kernel is told so."""

    def answer(self, request: bytes) -> bytes | None:
        """The answer to one request; ``None``: it wants none."""
        _, opcode, unique, node, *_ = _IN.unpack_from(request)
        if opcode in (2, 36, 42):  # forget, interrupt, forget many
            return None
        error, body = 0, b""
        try:
            answer = self._answers.get(opcode)
            if answer is None:
                raise Refused(errno.ENOSYS)
            body = answer(node, memoryview(request)[_IN.size :])
        except Refused as refused:
            error = refused.args[0]
        return _OUT.pack(_OUT.size + len(body), -error, unique) + body

    def _init(self, node: int, body: memoryview) -> bytes:
        minor = min(struct.unpack_from("<II", body)[1], 31)
        return struct.pack(
            "<IIIIHHIIHHI7I", 7, minor, 0, _BIG_WRITES, 16, 12, WRITE_MAX_BYTES, 1, 0, 0, 0, *[0] * 7
        )

    # --- names ---

    def _lookup(self, node: int, body: memoryview) -> bytes:
        return self._entry(self._number(_name(body)))

    def _create(self, node: int, body: memoryview) -> bytes:
        name = _name(body[16:])
        if name in self._disk.names:
            raise Refused(errno.EEXIST)
        return self._entry(self._disk.create(name)) + _OPENED

    def _unlink(self, node: int, body: memoryview) -> bytes:
        self._number(_name(body))
        self._disk.remove(_name(body))
        return b""

    def _rename(self, node: int, body: memoryview, skip: int = 8) -> bytes:
        old, new = bytes(body[skip:]).split(b"\0")[:2]
        self._number(old)
        self._disk.rename(old, new)
        return b""

    def _rename2(self, node: int, body: memoryview) -> bytes:
        if struct.unpack_from("<QI", body)[1]:
            raise Refused(errno.EINVAL)  # flags: exchange, no replacing
        return self._rename(node, body, 16)

    def _fsyncdir(self, node: int, body: memoryview) -> bytes:
        self._disk.sync_names()
        return b""

    def _readdir(self, node: int, body: memoryview) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        rows = b""
        for place, (name, number) in enumerate(list(self._disk.names.items())[offset:], offset + 1):
            row = struct.pack("<QQII", number, place, len(name), 8) + name
            row += b"\0" * (-len(row) % 8)
            if len(rows) + len(row) > size:
                break
            rows += row
        return rows

    # --- files ---

    def _getattr(self, node: int, body: memoryview) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + self._attr(node)

    def _setattr(self, node: int, body: memoryview) -> bytes:
        valid, _, _, size = struct.unpack_from("<IIQQ", body)
        if valid & _SET_SIZE:
            self._disk.files[node].truncate(size)
        return self._getattr(node, body)

    def _read(self, node: int, body: memoryview) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        return bytes(self._disk.files[node].data[offset : offset + size])

    def _write(self, node: int, body: memoryview) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        self._disk.files[node].write(offset, bytes(body[40 : 40 + size]))
        return struct.pack("<II", size, 0)

    def _fsync(self, node: int, body: memoryview) -> bytes:
        self._disk.files[node].sync()
        return b""

    def _statfs(self, node: int, body: memoryview) -> bytes:
        blocks = 1 << 20  # of 4 KiB: there is always room
        return struct.pack(
            "<QQQQQIIII6I", blocks, blocks, blocks, 1 << 20, 1 << 20, 4096, 255, 4096, 0, *[0] * 6
        )

    # --- pieces ---

    def _number(self, name: bytes) -> int:
        number = self._disk.names.get(name)
        if number is None:
            raise Refused(errno.ENOENT)
        return number

    def _entry(self, number: int) -> bytes:
        return struct.pack("<QQQQII", number, 0, 0, 0, 0, 0) + self._attr(number)

    def _attr(self, number: int) -> bytes:
        size = 0 if number == ROOT else len(self._disk.files[number].data)
        mode = 0o40700 if number == ROOT else 0o100600
        times = (self._now_s,) * 3
        return _ATTR.pack(
            number, size, -(-size // 512), *times, 0, 0, 0, mode, 1, os.getuid(), os.getgid(), 0, 4096, 0
        )


def _name(body: memoryview) -> bytes:
    return bytes(body).split(b"\0")[0]


def _nothing(node: int, body: memoryview) -> bytes:
    return b""


def mount(folder: str) -> int:
    """The descriptor over which the kernel asks. Raises :class:`OSError`."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"coord-torture", folder.encode(), b"fuse.coord-torture", _NOSUID_NODEV, options.encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), folder)
    return device


def main() -> None:
    """Serve until stdin ends or the folder is unmounted."""
    disk = Disk()
    server = Server(disk)
    device = mount(sys.argv[1])
    print("mounted", flush=True)
    while True:
        ready, _, _ = select.select([device, sys.stdin], [], [])
        if device in ready:
            try:
                answer = server.answer(os.read(device, WRITE_MAX_BYTES + 8_192))
                if answer is not None:
                    os.write(device, answer)
            except OSError as error:
                if error.errno == errno.ENODEV:  # unmounted
                    return
                if error.errno not in (errno.ENOENT, errno.EINTR):  # the asker is gone: it was killed
                    raise
        elif sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                return
            print(disk.lose(Random(int(line))), flush=True)


if __name__ == "__main__":
    main()
