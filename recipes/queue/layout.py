"""Where tasks stand in the tree, and how they are called. Pure.

::

    {root}/queues/{queue}/ready/{needs}/{id}   a task that waits or runs: its value is its record. Running: claimed.
                                               Delayed, or to come after others: held back.
    {root}/queues/{queue}/closed               is there: nothing is enqueued any more
    {root}/queues/{queue}/paused               is there: its folders are held back, also those that come
    {root}/queues/{queue}/done/{id}            how it ended (TTL)
    {root}/queues/{queue}/dead/{id}            a dead letter: how it failed, and its record (TTL)
    {root}/queues/{queue}/unique/{key}         the task that has the key, as "{needs}/{id}"
    {root}/queues/{queue}/same/{key}           the task that the request of this key made, likewise (TTL)
    {root}/queues/{queue}/cancel/{id}          somebody wants the running task cancelled (TTL)
    {root}/queues/{queue}/inputs/{id}/{n}      how the n-th task ended that it comes after; there until it has run
    {root}/queues/{queue}/begin_by/{id}        gone (TTL): the task is to begin no more
    {root}/queues/{queue}/progress/{id}        what it reported last (TTL)
    {root}/schedules/{name}
    {root}/workers

An id is ``{priority}-{revision}-{count}{random}``, so that names in their order are priorities, then age: the revision
is the last that the enqueuer had seen, a clock that no machine has to keep; the count is the enqueuer's own, so what
one process enqueues stands in its order. No wall clock decides an order. It is known before the commit: what is
enqueued in one request may refer to each other.
"""

from typing import Final
from urllib.parse import quote, unquote

from coord.client import InvalidRequest
from coord.recipes.arguments import checked_name, checked_path

NO_NEEDS: Final = "-"
PRIORITIES: Final = 10
KEY_BYTES_MAX: Final = 200
"""Of a key; encoded in a path it can become three times as long."""
NEEDS_MAX: Final = 8
COUNTS: Final = 1 << 24


class Layout:
    """The paths of one app."""

    def __init__(self, root: str) -> None:
        self.root = checked_path(root, "an app")
        if root == "/":
            raise InvalidRequest("an app has a root of its own, like '/tasks/shop', not '/'")
        self.queues = f"{root}/queues"
        self.schedules = f"{root}/schedules"
        self.workers = f"{root}/workers"
        self._known: dict[str, QueuePaths] = {}

    def queue(self, name: str) -> "QueuePaths":
        found = self._known.get(name)
        if found is None:
            found = QueuePaths(self.queues, checked_queue(name))
            if len(self._known) < 10_000:  # names may be made up at run time: the memory has a bound
                self._known[name] = found
        return found


class QueuePaths:
    """The paths of one queue."""

    __slots__ = (
        "_queues",
        "all_begin_by",
        "all_cancel",
        "all_dead",
        "all_done",
        "all_inputs",
        "all_progress",
        "all_same",
        "all_unique",
        "closed",
        "name",
        "paused",
        "ready",
        "root",
    )

    def __init__(self, queues: str, name: str) -> None:
        self._queues = queues
        self.name = name
        root = self.root = f"{queues}/{name}"
        self.ready = f"{root}/ready"
        self.closed = f"{root}/closed"
        self.paused = f"{root}/paused"
        self.all_done = f"{root}/done"
        self.all_dead = f"{root}/dead"
        self.all_unique = f"{root}/unique"
        self.all_same = f"{root}/same"
        self.all_cancel = f"{root}/cancel"
        self.all_inputs = f"{root}/inputs"
        self.all_begin_by = f"{root}/begin_by"
        self.all_progress = f"{root}/progress"

    def sibling(self, name: str) -> "QueuePaths":
        """Those of another queue of the same app."""
        return self if name == self.name else QueuePaths(self._queues, name)

    def folder(self, needs: str) -> str:
        """Where the tasks stand that need this; see :func:`folder_name`."""
        return f"{self.ready}/{needs}"

    def task(self, needs: str, id: str) -> str:
        return f"{self.ready}/{needs}/{id}"

    def done(self, id: str) -> str:
        return f"{self.all_done}/{id}"

    def dead(self, id: str) -> str:
        return f"{self.all_dead}/{id}"

    def unique(self, key: str) -> str:
        return f"{self.all_unique}/{key_name(key)}"

    def same(self, key: str) -> str:
        return f"{self.all_same}/{key_name(key)}"

    def cancel(self, id: str) -> str:
        return f"{self.all_cancel}/{id}"

    def inputs(self, id: str) -> str:
        return f"{self.all_inputs}/{id}"

    def input(self, id: str, n: int) -> str:
        return f"{self.all_inputs}/{id}/{n:05}"

    def begin_by(self, id: str) -> str:
        return f"{self.all_begin_by}/{id}"

    def progress(self, id: str) -> str:
        return f"{self.all_progress}/{id}"

    def parents(self, needs: str) -> list[str]:
        """What has to be there before a task is enqueued, each after what is above it."""
        return [
            self.all_done,
            self.all_dead,
            self.all_unique,
            self.all_same,
            self.all_cancel,
            self.all_inputs,
            self.all_begin_by,
            self.all_progress,
            self.folder(needs),
        ]


def checked_queue(name: str) -> str:
    checked_name(name, "a queue's name")
    if len(name.encode()) > KEY_BYTES_MAX:
        raise InvalidRequest(f"a queue's name has {KEY_BYTES_MAX} bytes at most, not {len(name.encode())}")
    return name


# --- capabilities ----------------------------------------------------------------------------------------------------


def folder_name(needs: frozenset[str]) -> str:
    """The folder of tasks with these needs: sorted, with ``,`` between them; ``-``: none."""
    return ",".join(sorted([quote(each, safe=":=.+@") for each in needs])) or NO_NEEDS


def needs_of(folder: str) -> frozenset[str]:
    """The capabilities that tasks in this folder need: a worker that has them all can serve it."""
    return (
        frozenset()
        if folder == NO_NEEDS
        else frozenset([unquote(each) for each in folder.split(",") if each])
    )


def checked_needs(needs: object) -> frozenset[str]:
    """Capabilities, as a task or a worker names them."""
    if isinstance(needs, str):
        raise InvalidRequest(f"needs are a set of names, like {{{needs!r:.40}}}, not one text")
    try:
        found: frozenset[str] = frozenset(needs)  # type: ignore[call-overload]
    except TypeError:
        raise InvalidRequest(f"needs are a set of names, like {{'gpu'}}, not {needs!r:.40}") from None
    for each in found:
        if not isinstance(each, str) or not each or each == NO_NEEDS or len(each.encode()) > 60:
            raise InvalidRequest(f"a capability is a name of 60 bytes at most, like 'gpu', not {each!r:.80}")
    if len(found) > NEEDS_MAX:
        raise InvalidRequest(f"a task needs {NEEDS_MAX} capabilities at most, not {len(found)}")
    return found


# --- names -----------------------------------------------------------------------------------------------------------


def key_name(key: str) -> str:
    """A key, as the last part of a path. Two keys never have the same."""
    if not isinstance(key, str) or not key:
        raise InvalidRequest(f"a key is text, not {key!r:.60}")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidRequest(f"a key is text that UTF-8 can hold, not {key!r:.60}") from None
    if size > KEY_BYTES_MAX:
        raise InvalidRequest(
            f"a key has {KEY_BYTES_MAX} bytes at most, not {size}: use a digest of what it is made of"
        )
    name = quote(key, safe=" :=.+@,;!$&'()*~")
    return name.replace(".", "%2E") if name in (".", "..") else name


def key_of(name: str) -> str:
    """The key that :func:`key_name` was given."""
    return unquote(name)


def task_id(priority: int, revision: int, count: int, random: bytes) -> str:
    """``random``: 6 bytes."""
    return f"{priority}-{revision:014x}-{count % COUNTS:06x}{random.hex()}"


def is_id(text: str) -> bool:
    """Whether ``text`` looks like a task's id."""
    return (
        len(text) == 35
        and text[0].isdigit()
        and text[1] == text[16] == "-"
        and all(each in "0123456789abcdef" for each in text[2:16] + text[17:])
    )


def priority_of(id: str) -> int:
    return int(id[0])


def marker(needs: str, id: str) -> bytes:
    """The value of a key's znode: which task has it."""
    return f"{needs}/{id}".encode()


def marked(value: bytes) -> tuple[str, str] | None:
    """``(needs, id)`` of a key's znode; ``None``: it is none of ours."""
    needs, slash, id = value.decode(errors="replace").partition("/")
    return (needs, id) if slash and needs and is_id(id) else None
