"""How queues, tasks, schedules and workers look: rows for people, JSON for programs."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from coord.cli.printing import wall_time
from coord.recipes.members import Member
from coord.recipes.queue.errors import BadRecord
from coord.recipes.queue.facts import QueueFacts, ScheduleFacts, TaskFacts
from coord.recipes.queue.layout import NO_NEEDS, needs_of, priority_of
from coord.recipes.queue.record import Attempt, Failure
from coord.recipes.queue.task import Status

ARGUMENTS_SHOWN: Final = 60
"""Characters of a task's arguments in a table."""
TASK_COLUMNS: Final = ("task", "reference", "status", "attempts", "arguments", "")


def age(at_ms: float | None, now_ms: float | None = None) -> str:
    """How long ago, by wall clocks: for people."""
    if at_ms is None:
        return ""
    return span(((time.time() * 1000 if now_ms is None else now_ms) - at_ms) / 1000)


def span(seconds: float) -> str:
    seconds = max(seconds, 0.0)
    for limit, unit, name in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.1f} s" if name == "s" else f"{seconds // unit:.0f} {name}"
    return f"{seconds // 86_400:.0f} days"


# --- queues ----------------------------------------------------------------------------------------------------------


def queue_row(facts: QueueFacts, rates: tuple[float, float] | None) -> list[object]:
    flags = [word for word, is_so in (("paused", facts.paused), ("closed", facts.closed)) if is_so]
    row: list[object] = [
        facts.name,
        facts.waiting,
        facts.delayed,
        facts.blocked,
        facts.running,
        facts.done,
        facts.dead,
    ]
    row += [age(facts.oldest_ms), facts.enqueued, facts.ended]
    row += [f"{each:.1f}" for each in rates] if rates is not None else []
    return [*row, ", ".join(flags)]


def queue_fields(facts: QueueFacts, rates: tuple[float, float] | None) -> dict[str, object]:
    fields: dict[str, object] = {
        "queue": facts.name,
        "waiting": facts.waiting,
        "delayed": facts.delayed,
        "blocked": facts.blocked,
        "running": facts.running,
        "done": facts.done,
        "dead": facts.dead,
        "oldest_ms": facts.oldest_ms,
        "enqueued": facts.enqueued,
        "ended": facts.ended,
        "paused": facts.paused,
        "closed": facts.closed,
        "needs": [sorted(needs_of(each)) for each in facts.folders],
    }
    if rates is not None:
        fields["in_per_s"], fields["out_per_s"] = round(rates[0], 3), round(rates[1], 3)
    return fields


# --- tasks -----------------------------------------------------------------------------------------------------------


def task_row(facts: TaskFacts) -> list[object]:
    record, ended = facts.record, facts.ended
    arguments = record.arguments.decode("utf-8", "replace") if record else ""
    if len(arguments) > ARGUMENTS_SHOWN:
        arguments = arguments[: ARGUMENTS_SHOWN - 1] + "…"
    attempts = ended.attempts if ended else record.attempts + facts.lost if record else ""
    return [facts.task, facts.reference, facts.status, attempts, arguments, _remark(facts)]


def _remark(facts: TaskFacts) -> str:
    if facts.begins_in_ms is not None:
        return f"in {span(facts.begins_in_ms / 1000)}"
    if facts.ended is not None:
        return facts.ended.details.get("message", "") if not facts.ended.succeeded else ""
    if facts.record is not None and facts.record.history:
        failure = facts.record.history[-1].failure
        return f"{failure.type}: {failure.message}"
    return ""


def task_fields(facts: TaskFacts, *, whole: bool = False) -> dict[str, object]:
    record, ended = facts.record, facts.ended
    fields: dict[str, object] = {
        "id": facts.id,
        "reference": facts.reference,
        "queue": facts.queue,
        "needs": sorted(needs_of(facts.needs)) if facts.needs else [],
        "priority": priority_of(facts.id),
        "task": facts.task,
        "status": facts.status,
        "worker": facts.worker or (ended.worker if ended else ""),
        "begins_in_ms": facts.begins_in_ms,
    }
    if record is not None:
        fields |= {
            "enqueued_ms": record.at_ms,
            "attempts": record.attempts + facts.lost,
            "arguments": _json(record.arguments),
            "unique": record.unique or None,
            "headers": record.headers,
        }
    if ended is not None:
        fields |= {
            "enqueued_ms": ended.at_ms,
            "ended_ms": ended.ended_ms,
            "took_ms": ended.took_ms,
            "attempts": ended.attempts,
            "failure": _failure(ended.failure),
            "why": ended.why or None,
            "result": _json(ended.value) if ended.succeeded else None,
        }
    if whole:
        fields |= {
            "since_ms": facts.since_ms,
            "lanes": list(facts.blocked_by),
            "cancel_asked": facts.cancel_asked,
            "progress": _json(facts.progress) if facts.progress else None,
            "then": [each.id for each in record.then] if record else [],
            "history": [_attempt(each) for each in record.history] if record else [],
        }
    return fields


def _failure(failure: Failure | None) -> dict[str, str] | None:
    if failure is None:
        return None
    return {"type": failure.type, "message": failure.message, "traceback": failure.traceback}


def _attempt(attempt: Attempt) -> dict[str, object]:
    return {
        "attempt": attempt.n,
        "worker": attempt.worker,
        "began_ms": attempt.at_ms,
        "took_ms": attempt.took_ms,
        "failure": _failure(attempt.failure),
    }


def _json(value: bytes) -> Any:
    """What stands in the tree may be anybody's."""
    try:
        return json.loads(value)
    except ValueError:
        return value.decode("utf-8", "replace")


def print_task(facts: TaskFacts) -> None:
    """All that is known of one task, in lines."""
    for line in task_lines(facts):
        typer.echo(line)


def task_lines(facts: TaskFacts) -> Iterator[str]:
    record, ended = facts.record, facts.ended
    yield f"{facts.task}  {facts.reference}"
    yield f"  status     {facts.status}{_how(facts)}"
    if facts.needs and facts.needs != NO_NEEDS:
        yield f"  needs      {', '.join(sorted(needs_of(facts.needs)))}"
    yield f"  priority   {priority_of(facts.id)}"
    at_ms = record.at_ms if record else ended.at_ms if ended else None
    if at_ms is not None:
        yield f"  enqueued   {wall_time(at_ms)} ({age(at_ms)} ago)"
    if ended is not None:
        by = f", on {ended.worker}" if ended.worker else ""
        yield f"  ended      {wall_time(ended.ended_ms)}, attempt {ended.attempts} took {ended.took_ms / 1000:g} s{by}"
        if ended.succeeded:
            yield f"  result     {ended.value.decode('utf-8', 'replace')}"
    if record is not None:
        yield f"  arguments  {record.arguments.decode('utf-8', 'replace')}"
        if record.unique:
            yield f"  unique     {record.unique}"
        if record.headers:
            yield f"  headers    {json.dumps(record.headers, ensure_ascii=False)}"
        if record.then:
            yield f"  then       {', '.join([each.id for each in record.then])}"
        for attempt in record.history:
            raised = f"{attempt.failure.type}: {attempt.failure.message}"
            when = f"{wall_time(attempt.at_ms)} on {attempt.worker}, after {attempt.took_ms / 1000:g} s"
            yield f"  attempt {attempt.n:<2} {when}: {raised}"
        if facts.lost:
            yield f"  {facts.lost} attempts were lost with their workers"
    failure = ended.failure if ended else record.history[-1].failure if record and record.history else None
    if ended is not None and failure is not None:
        yield f"  failed by  {failure.type}: {failure.message}"
    if failure is not None and failure.traceback:
        yield from ["", *failure.traceback.rstrip().splitlines()]


def _how(facts: TaskFacts) -> str:
    if facts.status is Status.RUNNING:
        asked = "; it was told to end" if facts.cancel_asked else ""
        progress = f"; {facts.progress.decode('utf-8', 'replace')}" if facts.progress else ""
        return f" for {age(facts.since_ms)} by {facts.worker or 'somebody'}{progress}{asked}"
    if facts.begins_in_ms is not None:
        return f", begins in {span(facts.begins_in_ms / 1000)}"
    if facts.ended is not None and facts.ended.why:
        return f": {facts.ended.why}"
    return ""


# --- schedules and workers -------------------------------------------------------------------------------------------


def schedule_row(facts: ScheduleFacts, now_ms: float) -> list[object]:
    state = facts.state
    if state is None:
        return [facts.name, *[""] * 8, facts.trouble]
    remark = "paused" if state.paused else state.trouble
    if facts.due_ms is not None and facts.due_ms < now_ms - 60_000:
        remark = f"overdue for {age(facts.due_ms, now_ms)}: does no worker run?"
    return [
        facts.name,
        _when(state.when),
        state.task,
        state.queue,
        "" if facts.due_ms is None else wall_time(facts.due_ms)[:-4],
        "" if not state.ticks or state.last_ms is None else wall_time(state.last_ms)[:-4],
        state.ticks,
        state.passed_over,
        state.by,
        remark,
    ]


def _when(when: dict[str, Any]) -> str:
    try:
        from coord.recipes.queue.cron import when_from_json

        return str(when_from_json(when))
    except BadRecord:
        return json.dumps(when)


def schedule_fields(facts: ScheduleFacts) -> dict[str, object]:
    state = facts.state
    fields: dict[str, object] = {"schedule": facts.name, "trouble": facts.trouble or None}
    if state is not None:
        fields |= {
            "when": state.when,
            "task": state.task,
            "queue": state.queue,
            "missed": state.missed,
            "paused": state.paused,
            "next_ms": facts.due_ms,
            "last_ms": state.last_ms if state.ticks else None,
            "enqueued": state.ticks,
            "passed_over": state.passed_over,
            "by": state.by,
            "last_id": state.id or None,
        }
    return fields


def worker_rows(roster: Sequence[Member]) -> Iterator[list[object]]:
    for member in roster:
        facts = worker_fields(member)
        tasks = [f"{each.get('task')} {age(each.get('since_ms'))}" for each in facts.get("tasks", [])[:5]]
        more = facts.get("running", 0) - len(tasks)
        counts = [
            facts.get(each, 0)
            for each in ("running", "concurrency", "succeeded", "failed", "retried", "lost")
        ]
        yield [
            member.name + (" (stopping)" if facts.get("stopping") else ""),
            ", ".join(facts.get("queues", [])),
            ", ".join(facts.get("capabilities", [])),
            *counts,
            ", ".join(tasks) + (f" … and {more} more" if more > 0 and tasks else ""),
        ]


def worker_fields(member: Member) -> dict[str, Any]:
    return {"worker": member.name, **dict(member.attributes)}


# --- progress --------------------------------------------------------------------------------------------------------


@contextmanager
def counting(silent: bool, what: str = "so far") -> Iterator[Callable[[int], None]]:
    """Called with how many it has been, shows it while it takes; on a terminal only."""
    if silent or not sys.stderr.isatty():
        yield lambda count: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"0 {what}")
        yield lambda count: progress.update(task, description=f"{count} {what}")
