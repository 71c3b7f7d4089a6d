"""Writes a history down while it happens: what a run that dies has seen until then is on the disk."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final

import trio

from coord.jepsen_like.history import Operation, Record, dump

FLUSH_EACH_S: Final = 1.0


class Scribe:
    """A context manager. ``records``: all so far, which the judges are given."""

    def __init__(self, path: Path, falsify: Callable[[Record], Record] | None = None) -> None:
        """``falsify`` is for tests of the judges: it may change a record before it is written."""
        self.records: list[Record] = []
        self.answers = 0
        """Operations that were ``ok``."""
        self._file = path.open("w", encoding="utf-8")
        self._falsify = falsify

    def write(self, record: Record) -> None:
        if self._falsify is not None:
            record = self._falsify(record)
        self.records.append(record)
        self.answers += isinstance(record, Operation) and record.outcome == "ok"
        for line in dump([record]):
            self._file.write(line + "\n")

    async def flush_forever(self) -> None:
        while True:
            await trio.sleep(FLUSH_EACH_S)
            self._file.flush()

    def __enter__(self) -> "Scribe":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
