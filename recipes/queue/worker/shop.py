"""What all attempts of one worker share."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

from coord.client import Client
from coord.recipes.queue.app import App
from coord.recipes.queue.context import Context
from coord.recipes.queue.worker.completing import Completer
from coord.recipes.queue.worker.job import Pools
from coord.recipes.queue.worker.progress import Progress
from coord.recipes.queue.worker.statistics import Counters

if TYPE_CHECKING:
    from coord.recipes.queue.worker.attempt import Attempt

Around: TypeAlias = Callable[[Context], AbstractAsyncContextManager[Any]]
"""Entered around each attempt, on the event loop: what is before its ``yield`` happens before the task, what is behind
it after; a task that fails is an exception there. It may raise another one, or one of its own: then that counts."""


@dataclass
class Shop:
    """What an attempt needs, and whom it tells."""

    client: Client
    app: App
    name: str
    pools: Pools
    completer: Completer
    progress: Progress
    counters: Counters
    began: Callable[["Attempt"], None]
    """An attempt's job begins."""
    changed: Callable[[], None]
    """The end of one was answered."""
    finished: Callable[["Attempt"], None]
    """Its slot is free."""
    around: Sequence[Around] = ()
    # It only spreads retries over time; nothing is decided by it.
    dice: Random = field(default_factory=Random)
