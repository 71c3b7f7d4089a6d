"""A run against a cluster that is not ours: the workload below a path of its own, and no fault of our making.

Other clients write there, too, so the log is not a history of this run: what is judged is what our clients were told.
"""

from collections.abc import Callable

import trio

from coord.api.errors import CoordError
from coord.client import connect
from coord.jepsen_like.history import Run
from coord.jepsen_like.live.below import Below
from coord.jepsen_like.live.cluster import NotUp
from coord.jepsen_like.live.crew import Unfinished, crew_of
from coord.jepsen_like.live.recorded import AsyncWorkload
from coord.jepsen_like.live.scribe import Scribe
from coord.jepsen_like.live.settings import Settings
from coord.jepsen_like.live.verdict import Findings
from coord.jepsen_like.workloads.workload import Workload

TOP = "/coord-torture"


async def visit(
    settings: Settings,
    workload: Workload | AsyncWorkload,
    scribe: Scribe,
    findings: Findings,
    say: Callable[[str], None],
) -> None:
    """Run the workload there, and remove what it left. Raises :class:`NotUp`."""
    endpoints: dict[int, str] = {}
    try:
        for endpoint in settings.cluster:
            async with connect(endpoint, session=False, discover=False, name="torture") as client:
                endpoints[(await client.status())["member"]] = endpoint
        async with connect(settings.cluster, name="torture") as client:
            created = await client.create(f"{TOP}/run-", sequential=True, parents=True)
    except CoordError as error:
        raise NotUp(f"the cluster at {', '.join(settings.cluster)} does not serve: {error}") from error
    below = Below(created.path)
    say(f"writing below {created.path}, through members {', '.join(str(each) for each in endpoints)}")
    scribe.write(Run(workload.name, settings.seed, len(endpoints), {"command": settings.command()}))
    crew = crew_of(
        workload, settings, endpoints, lambda record: scribe.write(below.record(record)), below.script
    )
    try:
        await crew.setup()
        async with trio.open_nursery() as flushing:
            flushing.start_soon(scribe.flush_forever)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(crew.work)
                await trio.sleep(settings.seconds)
                crew.stop()
            await crew.finish()
            flushing.cancel_scope.cancel()
    except* Unfinished as group:
        findings.broken("availability", str(group.exceptions[0]))
    try:
        async with connect(settings.cluster, name="torture") as client:
            await client.delete(created.path, subtree=True)
    except CoordError as error:
        findings.notes.append(f"{created.path} could not be removed: {error}")
