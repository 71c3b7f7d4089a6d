"""A task in a process of its own: for what computes, may crash its interpreter, or must be ended whatever it does.

``anyio.to_process`` keeps the pool: a process is used again for the next task, one that has died fails its task only,
one that is to end is killed. What is in here runs in that process: it finds the function by its name, as unpickling
would, and gets JSON; the result goes back as JSON. There is no client in there: progress can't be reported, and what a
task says with ``once`` is done by the worker.
"""

import os
import pickle
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from random import Random
from types import FrameType
from typing import Any, NoReturn

from coord.client import InvalidRequest, Token
from coord.recipes.queue.context import Context
from coord.recipes.queue.errors import Again, GiveUp, TimeLimit
from coord.recipes.queue.retry import Later


@dataclass(frozen=True)
class Order:
    """What is to be run, picklable."""

    module: str
    qualname: str
    arguments: bytes
    passes: Any
    inputs: Sequence[bytes]
    """JSON, as they are passed on."""
    shown: Sequence[Any]
    """The same, as ``context().inputs`` has them."""
    id: str
    queue: str
    name: str
    attempt: int
    token: Token
    limit_s: float | None
    """After which it is told so, by :class:`TimeLimit`."""


@dataclass(frozen=True)
class Answer:
    """What came of it. ``result``: JSON; ``None``: it raised."""

    result: bytes | None
    ops: Sequence[Any] = ()
    error: bytes | None = None
    """The exception, pickled, if it can be."""
    stand_in: BaseException | None = None
    """Where it can't be: what asks for the same treatment."""
    traceback: str = ""


def run(order: Order) -> Answer:
    """In the process of the pool."""
    _settle_in()
    here = Context(
        order.id, order.queue, order.name, order.attempt, order.token, order.shown,
        interruptible=True,
    )  # fmt: skip
    if order.limit_s is not None:
        here.ends_at = time.monotonic() + order.limit_s
    task: Any = None
    try:
        task = find(order.module, order.qualname)
        bound = task.signature.decode(order.arguments, order.passes, order.inputs)
        with here, _limited(order.limit_s):
            value = task.function(*bound.args, **bound.kwargs)
        return Answer(task.signature.encode_result(value), here.ops)
    except BaseException as error:  # noqa: BLE001 - also SystemExit: it is the task's, and not the pool's
        return _raised(error, task)


def find(module: str, qualname: str) -> Any:
    """The task at ``module`` and ``qualname``. Raises :class:`InvalidRequest`."""
    found: Any = import_module(module) if module != "__main__" else sys.modules["__main__"]
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if not hasattr(found, "signature"):
        raise InvalidRequest(
            f"a task with where='process' is found by its name, and {module}.{qualname} is none: it is to be a "
            "function of a module, under its own name"
        )
    return found


def _raised(error: BaseException, task: Any) -> Answer:
    text = "".join(traceback.format_exception(error))
    try:
        data = pickle.dumps(error)
        pickle.loads(data)  # an exception with a constructor of its own pickles, and does not come back
    except Exception:  # noqa: BLE001 - whatever the user's class does
        data = None
    return Answer(None, (), data, _stand_in(error, task), text)


def _stand_in(error: BaseException, task: Any) -> BaseException:
    retry = getattr(getattr(task, "options", None), "retry", None)
    if isinstance(error, Again | GiveUp):
        return error
    what = f"{type(error).__name__}: {error}"
    if retry is not None and isinstance(retry.after(error, 0, (), Random(0)), Later):
        return Again(None, what)
    return GiveUp(what)


# --- the process ----------------------------------------------------------------------------------------------------


def _settle_in() -> None:
    """Be a process of the pool: once, and no harm when done again."""
    # The pool gives away stdin and stdout, and with them what tasks print and log: all of it goes where errors go.
    sys.stdout = sys.stderr = sys.__stderr__ or sys.stderr
    # Ctrl-C in a terminal is said to every process; the worker decides what becomes of this one. A handler, and not
    # SIG_IGN, which what the task starts in turn would inherit.
    if signal.getsignal(signal.SIGINT) is not _nothing:
        signal.signal(signal.SIGINT, _nothing)
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker that is killed outright can't take its pool along. But then nobody is left at the other end of the pipe
    that orders come by. (Linux's PR_SET_PDEATHSIG would be the word of the thread that has started us, and trio does
    that in one which ends soon.)
    """
    waiting = select.poll()
    waiting.register(0, 0)  # for nothing but its end, which is told in any case
    waiting.poll()
    os._exit(1)


def _nothing(number: int, frame: FrameType | None) -> None:
    return None


@contextmanager
def _limited(seconds: float | None) -> Iterator[None]:
    """Raise :class:`TimeLimit` in the block after so many seconds, wherever it is."""
    if seconds is None or not hasattr(signal, "setitimer"):
        yield
        return

    def over(number: int, frame: FrameType | None) -> NoReturn:
        raise TimeLimit(f"the time limit of {seconds:g} s has passed")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
