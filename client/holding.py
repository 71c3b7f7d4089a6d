"""Who could still use a client, or close it. When there is nobody any more, that is told, with the place where
it was made."""

import sys
import warnings
from pathlib import PurePath
from typing import Final

from coord.client.link import Link

_OURS: Final = "coord.client"


class Hold:
    """Each view of a client has the same one, and so has the block it is entered by: it goes with the last of them."""

    __slots__ = ("__weakref__", "_link", "_made_at", "released")

    def __init__(self, link: Link, made_at: str) -> None:
        self._link = link
        self._made_at = made_at
        self.released = False
        """It was closed, or is about to be."""

    def __del__(self) -> None:
        if self.released or self._link.forked:
            return
        # Any thread may be here, in the middle of anything; the client's task will see it.
        self._link.forsaken = True
        name = self._link.core.settings.name
        warnings.warn(
            f"the client {name!r}, made at {self._made_at}, was never closed: leave its block "
            "('async with connect(…)'), or its session lives on, and whatever it holds with it, until its timeout",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )


def caller() -> str:
    """``file:line`` of whoever called into the library."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_OURS):
        frame = frame.f_back
    return f"{PurePath(frame.f_code.co_filename).name}:{frame.f_lineno}"
