"""``coord queue top``: the queues over time. What is kept is pure (:class:`Series`); rich draws it."""

from collections import deque
from collections.abc import Sequence
from typing import Final

import anyio
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from coord.cli.queue_printing import age, worker_rows
from coord.recipes.members import Member
from coord.recipes.queue.facts import QueueFacts
from coord.recipes.queue.inspecting import Inspector

WIDTH: Final = 40
"""Looks that are remembered, and shown."""
BARS: Final = "▁▂▃▄▅▆▇█"


class Series:
    """Of each queue what it was like at the last looks. At most ``WIDTH`` numbers for each."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, QueueFacts]] = {}
        self._rates: dict[str, deque[tuple[float, float]]] = {}
        self._length: dict[str, deque[int]] = {}

    def add(self, at_s: float, queues: Sequence[QueueFacts]) -> None:
        names = {each.name for each in queues}
        for gone in self._last.keys() - names:
            del self._last[gone], self._length[gone]
            self._rates.pop(gone, None)
        for each in queues:
            before = self._last.get(each.name)
            if before is not None and at_s > before[0]:
                took, old = at_s - before[0], before[1]
                rates = ((each.enqueued - old.enqueued) / took, (each.ended - old.ended) / took)
                self._rates.setdefault(each.name, deque(maxlen=WIDTH)).append(rates)
            self._length.setdefault(each.name, deque(maxlen=WIDTH)).append(
                each.waiting + each.delayed + each.blocked + each.running
            )
            self._last[each.name] = (at_s, each)

    def rates(self, name: str) -> tuple[float, float]:
        """Tasks in a second that came and that ended, between the last two looks."""
        known = self._rates.get(name)
        return known[-1] if known else (0.0, 0.0)

    def ended(self, name: str) -> str:
        """A line of how many ended in each second."""
        return sparkline([out for _, out in self._rates.get(name, ())])

    def length(self, name: str) -> str:
        """A line of how many there were that had not ended."""
        return sparkline(list(self._length.get(name, ())))


def sparkline(values: Sequence[float]) -> str:
    """One character for each; the greatest is the highest, and 0 the lowest."""
    top = max(values, default=0)
    if top <= 0:
        return BARS[0] * len(values)
    return "".join([BARS[min(int(max(each, 0) / top * len(BARS)), len(BARS) - 1)] for each in values])


def picture(series: Series, queues: Sequence[QueueFacts], workers: Sequence[Member], title: str) -> Group:
    columns = ("queue", "waiting", "delayed", "blocked", "running", "dead", "oldest", "in/s", "out/s")
    table = Table(
        *columns, "ended in a second", "not ended", "", box=None, header_style="bold", pad_edge=False
    )
    for column in table.columns[1:9]:
        column.justify = "right"
    for each in queues:
        flags = [word for word, is_so in (("paused", each.paused), ("closed", each.closed)) if is_so]
        came, went = series.rates(each.name)
        cells = [
            each.name,
            each.waiting,
            each.delayed,
            each.blocked,
            each.running,
            each.dead,
            age(each.oldest_ms),
        ]
        table.add_row(
            *[Text(str(cell)) for cell in cells],
            f"{came:.1f}",
            f"{went:.1f}",
            Text(series.ended(each.name), style="green"),
            Text(series.length(each.name), style="cyan"),
            Text(", ".join(flags), style="yellow"),
        )
    names = ("worker", "queues", "can", "runs", "of", "succeeded", "failed", "retried", "lost", "tasks")
    crew = Table(*names, box=None, header_style="bold", pad_edge=False)
    for row in worker_rows(workers):
        crew.add_row(*[Text(str(cell)) for cell in row])
    return Group(Text(title, style="bold"), table, Text(""), crew)


async def watch_queues(inspector: Inspector, title: str, every_s: float, count: int | None) -> None:
    """Until cancelled, or after ``count`` looks."""
    series = Series()
    with Live(console=Console(), auto_refresh=False) as live:
        while count is None or count > 0:
            queues, workers = await inspector.queues(), await inspector.workers()
            series.add(anyio.current_time(), queues)
            live.update(picture(series, queues, workers, title), refresh=True)
            count = None if count is None else count - 1
            if count != 0:
                await anyio.sleep(every_s)
