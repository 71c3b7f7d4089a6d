"""From calls to tasks: what a call, a chain or a group becomes in the tree. Pure.

A workflow is flattened: each call is a task; which one comes after which stands at the one that comes before
(``TaskRecord.then``), where its end finds it. So a workflow has no znode of its own, and nobody has to keep one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from coord.client import InvalidRequest
from coord.recipes.queue.call import WORKFLOW_MAX, Call, Chain, Group, Workflow
from coord.recipes.queue.enqueueing import Key, New
from coord.recipes.queue.errors import TooLarge
from coord.recipes.queue.layout import folder_name
from coord.recipes.queue.options import Options
from coord.recipes.queue.record import VERSION, Dependent, Passes, TaskRecord

if TYPE_CHECKING:
    from coord.recipes.queue.app import App

FANOUT_MAX: Final = 400
"""Tasks that come directly after one: they are let go by the one request that ends it."""
WORKFLOW_BYTES_MAX: Final = 2 << 20

Ids = Callable[[int], str]
"""A new id for a task of this priority."""


@dataclass(frozen=True, slots=True)
class Built:
    """Tasks that are to be enqueued by one request."""

    tasks: tuple[New, ...]
    calls: tuple[Call[Any], ...]
    """Of each task."""
    ends: tuple[int, ...]
    """Which of them are its end: of a group, all that nothing comes after."""


@dataclass(slots=True)
class _Node:
    call: Call[Any]
    id: str
    after: tuple[int, ...]
    passes: Passes
    then: list[Dependent] = field(default_factory=list)


def build(app: "App", workflow: Workflow[Any], ids: Ids, now_ms: int) -> Built:
    """What is enqueued for it. ``now_ms``: wall clock, for people. Raises
    :class:`~coord.client.InvalidRequest`, :class:`~coord.recipes.queue.signature.BadArguments` and
    :class:`~coord.recipes.queue.errors.TooLarge` (refused).
    """
    if isinstance(workflow, Call):  # the usual case, without the detour
        new = _new(app, _Node(workflow, ids(workflow.options.priority), (), "none"), now_ms)
        return Built((new,), (workflow,), (0,))
    nodes: list[_Node] = []
    ends, _ = _flatten(workflow, (), "none", ids, nodes)
    for node in nodes:
        options = node.call.options
        if options.after or options.same is not None or options.unique is not None:
            raise InvalidRequest(
                f"{node.call.function.name}: 'after', 'same' and 'unique' are for calls that are enqueued by "
                "themselves; a part of a workflow that was left out would leave the others waiting"
            )
        for n, before in enumerate(node.after):
            then = nodes[before].then
            then.append(
                Dependent(
                    options.queue,
                    folder_name(options.needs),
                    node.id,
                    n,
                    len(node.after),
                    _ms(options.delay),
                    options.on,
                )
            )
            if len(then) > FANOUT_MAX:
                raise InvalidRequest(
                    f"more than {FANOUT_MAX} tasks come directly after {nodes[before].call.function.name}: put a task "
                    "in between that enqueues them, or a few tasks that each come before some of them"
                )
    tasks = tuple([_new(app, node, now_ms) for node in nodes])
    size = sum([len(each.record.arguments) + 200 + 120 * len(each.record.then) for each in tasks])
    if size > WORKFLOW_BYTES_MAX:
        raise TooLarge(
            f"the workflow has about {size} bytes; it is one request, of {WORKFLOW_BYTES_MAX} at most. Put what is "
            "large elsewhere, and pass where it is",
            {"limit": "workflow", "maximum": WORKFLOW_BYTES_MAX},
        )
    return Built(tasks, tuple([node.call for node in nodes]), ends)


def _flatten(
    workflow: Workflow[Any], after: tuple[int, ...], passes: Passes, ids: Ids, nodes: list[_Node]
) -> tuple[tuple[int, ...], Passes]:
    """Append its tasks, after these ones; returns which are its ends, and how their results are passed on."""
    if isinstance(workflow, Call):
        taken: Passes = passes if workflow.takes_inputs else "none"
        if len(nodes) >= WORKFLOW_MAX:
            raise InvalidRequest(
                f"a workflow has {WORKFLOW_MAX} tasks at most: it is enqueued whole, by one request. Tasks that need "
                "not wait for each other go by enqueue_many"
            )
        nodes.append(_Node(workflow, ids(workflow.options.priority), after, taken))
        return (len(nodes) - 1,), "one"
    if isinstance(workflow, Chain):
        for step in workflow.steps:
            after, passes = _flatten(step, after, passes, ids, nodes)
        return after, passes
    if not isinstance(workflow, Group):
        raise InvalidRequest(f"a call, a chain or a group is enqueued, as send.call(1); not {workflow!r:.80}")
    ends: list[int] = []
    for member in workflow.members:
        found, shape = _flatten(member, after, passes, ids, nodes)
        if shape != "one":
            raise InvalidRequest(
                "a member of a group is a call, or a chain that ends with one: not a group, whose results would "
                "be a list in a list"
            )
        ends += found
    return tuple(ends), "all"


def _new(app: "App", node: _Node, now_ms: int) -> New:
    call, options = node.call, node.call.options
    function = call.function
    if app.tasks.get(function.name) is not function:
        raise InvalidRequest(
            f"{function.name} is not a task of the app {app.name}: a worker of that would not know it"
        )
    said = call.said
    keep_s = options.keep
    if options.same is not None and "keep" not in said:
        keep_s = max(keep_s, options.same_for)  # who asks again wants the result
    record = TaskRecord(
        VERSION,
        function.name,
        now_ms,
        keep_ms=_ms(keep_s),
        unique=_until_its_end(options),
        lanes=options.lanes,
        begin_by=options.deadline is not None,
        after=len(node.after),
        on=options.on,
        passes=node.passes,
        then=tuple(node.then),
        time_limit_ms=_ms(options.time_limit)
        if "time_limit" in said and options.time_limit is not None
        else None,
        times=options.times,
        headers=options.headers,
        arguments=function.signature.encode(call.args, call.kwargs, node.passes),
    )
    unique = options.unique
    return New(
        app.layout.queue(options.queue),
        folder_name(options.needs),
        node.id,
        record,
        hold_ms=None if node.after else _ms(options.delay),
        begin_by_ms=0 if options.deadline is None else _ms(options.deadline),
        unique=None if unique is None else Key(unique.key, unique.until, _ms(unique.for_s or 0)),
        same=options.same,
        same_ms=_ms(options.same_for),
    )


def with_parents(new: New, parents: "Parents", delay_ms: int) -> New:
    """``new``, to come after tasks that are there, or have ended, already."""
    record = replace(new.record, after=parents.count)
    waits = parents.found and not (record.on == "success" and parents.one_failed)
    return replace(
        new,
        record=record,
        hold_ms=None if waits else 0 if parents.one_failed and record.on == "success" else delay_ms,
        parents=tuple(parents.found),
        inputs=tuple(parents.ended),
    )


@dataclass(slots=True)
class Parents:
    """Tasks that one comes after, as they were found."""

    count: int
    found: list[Any] = field(default_factory=list)
    ended: list[tuple[int, bytes]] = field(default_factory=list)
    one_failed: bool = False


def _until_its_end(options: Options) -> str:
    """The key that the task's end makes free; one that is for a time goes by itself."""
    unique = options.unique
    return "" if unique is None or unique.for_s is not None else unique.key


def _ms(seconds: float) -> int:
    """Never 0 for what is not: half a millisecond is one."""
    return 0 if seconds == 0 else max(round(seconds * 1_000), 1)
