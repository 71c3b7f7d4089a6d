"""Workloads by name: those that the simulator has, too, those for real clusters alone, or yours as ``MODULE:NAME``."""

import importlib
import sys
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from coord.jepsen_like.live.queue import LiveQueue
from coord.jepsen_like.live.recorded import AsyncWorkload
from coord.jepsen_like.workloads import WORKLOADS
from coord.jepsen_like.workloads.workload import Workload

LIVE_WORKLOADS: Final[Mapping[str, Callable[[Random], Workload | AsyncWorkload]]] = {
    **WORKLOADS,
    "queue": LiveQueue,
}


def find_workload(name: str, seed: int) -> Workload | AsyncWorkload:
    """The workload of that name; its sizes are drawn from ``seed``.

    ``MODULE:NAME`` is looked for in the present folder, too: a workload, or what makes one (a class, or a function of a
    ``random.Random``). Raises :class:`ValueError`.
    """
    dice = Random(f"workload {seed}")
    module, colon, attribute = name.partition(":")
    if not colon:
        if name not in LIVE_WORKLOADS:
            raise ValueError(
                f"there is no workload {name!r}; there are {', '.join(LIVE_WORKLOADS)}, or MODULE:NAME"
            )
        return LIVE_WORKLOADS[name](dice)
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"there is no {attribute!r} to be had of a module {module!r}: {error}") from error
    if not callable(found):
        return found  # type: ignore[no-any-return]  # a person's own: what it lacks shows when it is used
    try:
        return found(dice)  # type: ignore[no-any-return]
    except TypeError:
        return found()  # type: ignore[no-any-return]
