"""``torture``: one run, from the first start of a throw-away cluster to the verdict."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

import trio

from coord.jepsen_like.checkers.availability import BOUND_NOTE
from coord.jepsen_like.checkers.convergence import QUIESCED
from coord.jepsen_like.history import Note, Record, Run
from coord.jepsen_like.live.arena import Arena
from coord.jepsen_like.live.cluster import Cluster, NotUp
from coord.jepsen_like.live.crew import Unfinished, crew_of, is_of_coroutines
from coord.jepsen_like.live.find import find_workload
from coord.jepsen_like.live.named import visit
from coord.jepsen_like.live.nemeses import choose
from coord.jepsen_like.live.nemeses.nemesis import Nemesis
from coord.jepsen_like.live.observer import Observer
from coord.jepsen_like.live.recorded import AsyncWorkload
from coord.jepsen_like.live.report import Report
from coord.jepsen_like.live.schedule import draw_schedule
from coord.jepsen_like.live.scribe import Scribe
from coord.jepsen_like.live.settings import Settings
from coord.jepsen_like.live.strikes import Strikes
from coord.jepsen_like.live.verdict import Findings, verdict
from coord.jepsen_like.workloads.workload import Workload

RECOVER_MS: Final = 20_000
"""Without a fault something must be done within it: a member's start on a busy machine is most of it."""
LAST_LOOK_S: Final = 30.0
OBSERVER: Final = 2_000_000
"""Stands for who looks on, where a process is to be named."""
PROGRESS_EACH_S: Final = 5.0

Say = Callable[[str], None]


def torture(
    settings: Settings,
    *,
    workload: Workload | AsyncWorkload | None = None,
    say: Say = lambda text: None,
    falsify: Callable[[Record], Record] | None = None,
) -> Report:
    """Run, judge, and leave history, timeline and report in ``settings.out``.

    ``workload``: instead of the one that ``settings`` names. ``say`` is told of progress, a line each. ``falsify`` is
    for tests: it may change a record before anyone sees it.

    Raises :class:`NotUp` if the cluster never came up, :class:`ValueError` for names that are none.
    """
    workload = workload or find_workload(settings.workload, settings.seed)
    chosen = choose(settings.nemeses)
    if settings.cluster and chosen:
        raise ValueError("a cluster that is not ours gets a workload, and no nemesis")
    if settings.cluster and is_of_coroutines(workload):
        raise ValueError(
            f"the workload {workload.name} is made of coroutines, which write where they like: on a cluster that is "
            "not ours only workloads of generators can be kept below a path of their own"
        )
    findings = Findings()
    began_s = time.monotonic()

    def tell(text: str) -> None:
        say(f"{time.monotonic() - began_s:6.1f} s  {text}")

    settings.out.mkdir(parents=True, exist_ok=True)
    with Scribe(settings.out / "history.jsonl", falsify) as scribe:
        why: BaseException | None = None
        try:
            if settings.cluster:
                trio.run(visit, settings, workload, scribe, findings, tell)
            else:
                trio.run(_Torture(settings, workload, chosen, scribe, findings, tell).run)
        except* NotUp as group:
            why = _first(group)
        except* KeyboardInterrupt:
            why = KeyboardInterrupt()  # members are gone and mounts undone by now
        if why is not None:
            raise why
    tell(f"judging {len(scribe.records)} records")
    report = verdict(settings, scribe.records, workload.checks, findings)
    if report.ok and not settings.keep_data:
        for data in settings.out.glob("cluster/member-*/"):
            shutil.rmtree(data)
    return report


class _Torture:
    """One run on a cluster of our own."""

    def __init__(
        self,
        settings: Settings,
        workload: Workload | AsyncWorkload,
        chosen: Sequence[Nemesis],
        scribe: Scribe,
        findings: Findings,
        say: Say,
    ) -> None:
        self._settings = settings
        self._workload = workload
        self._findings = findings
        self._scribe = scribe
        self._say = say
        reasons = {nemesis.name: nemesis.possible() for nemesis in chosen}
        findings.skipped |= {name: reason for name, reason in reasons.items() if reason is not None}
        self._nemeses = [nemesis for nemesis in chosen if nemesis.name not in findings.skipped]

    async def run(self) -> None:
        settings, write = self._settings, self._scribe.write
        folder = settings.out.absolute() / "cluster"
        if folder.exists():
            shutil.rmtree(folder)  # of a run before this one
        folder.mkdir()
        cluster = Cluster(folder, settings.members, Random(f"links {settings.seed}"), config=settings.config)
        observer = Observer({member: cluster.address(member) for member in cluster.members}, write)
        arena = Arena(cluster, observer, self._say)
        strikes = Strikes(arena, self._nemeses, write, lambda: self._scribe.answers)
        notes = {
            "command": settings.command(),
            "nemeses": [nemesis.name for nemesis in self._nemeses],
            BOUND_NOTE: RECOVER_MS,
        }
        write(Run(self._workload.name, settings.seed, settings.members, notes))
        with _prepared(self._nemeses, cluster):
            await cluster.open()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._scribe.flush_forever)
                await nursery.start(cluster.run)
                await cluster.wait_up()
                self._say(f"{settings.members} members serve; data in {folder}")
                await self._under_fire(cluster, observer, strikes)
                nursery.cancel_scope.cancel()
        self._findings.faults = dict(sorted(strikes.done.items()))
        self._findings.not_now = dict(strikes.not_now)
        self._look_at_members(cluster, observer)

    async def _under_fire(self, cluster: Cluster, observer: Observer, strikes: Strikes) -> None:
        """The run itself, on a cluster that serves, to the last reads."""
        settings = self._settings
        crew = crew_of(self._workload, settings, cluster.endpoints, self._scribe.write)
        schedule = draw_schedule(settings.seed, self._nemeses, settings.seconds)
        try:
            async with trio.open_nursery() as watching:
                watching.start_soon(observer.run)
                watching.start_soon(self._progress, observer)
                await crew.setup()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(crew.work)
                    await strikes.run(schedule, settings.seconds)
                    self._say("the faults are over; the cluster is left to heal")
                    await trio.sleep(settings.calm_s)
                    crew.stop()
                watching.cancel_scope.cancel()
            await cluster.wait_up()
            await crew.finish()
        except* (NotUp, Unfinished) as group:
            for error in group.exceptions:
                self._findings.broken("availability", str(error))
        agreed = await observer.read_digests(LAST_LOOK_S)
        # The log last: sessions that nobody keeps alive any more still end, and each end is a revision.
        if not await observer.read_log(LAST_LOOK_S):
            self._findings.broken("availability", "no member told its log, though no fault was under way")
        if agreed:
            facts = {"members": list(cluster.members)}
            self._scribe.write(Note(OBSERVER, QUIESCED, facts, time.monotonic_ns()))
        else:
            self._findings.broken(
                "convergence", "the members did not come to the same revision without a fault"
            )

    def _look_at_members(self, cluster: Cluster, observer: Observer) -> None:
        """What the members' own words and ends say, and what their leaders said of themselves."""
        findings = self._findings
        for death in cluster.deaths:
            if not death.allowed:
                findings.broken(
                    "members-stay-up",
                    f"member {death.member} ended by itself with code {death.code}:\n{death.last_words}",
                )
        for member, process in cluster.processes.items():
            if "Traceback" in process.said():
                findings.broken("members-stay-up", f"member {member} wrote a traceback: see {process.log}")
        for term, leaders in observer.leaders.items():
            if len(leaders) > 1:
                who = ", ".join(str(each) for each in leaders)
                findings.broken("one-leader", f"members {who} all led term {term}")
        findings.terms_count = len(observer.leaders)
        if observer.missed_revisions:
            findings.notes.append(
                f"{observer.missed_revisions} revisions of the log were forgotten before they were read"
            )

    async def _progress(self, observer: Observer) -> None:
        seen = 0
        while True:
            due = trio.current_time() + PROGRESS_EACH_S
            waited_s = _waited_for_cpu_s()
            await trio.sleep_until(due)
            late_s = trio.current_time() - due
            if late_s > self._findings.stalled_s:
                self._findings.stalled_s = late_s
                self._findings.starved_s = _waited_for_cpu_s() - waited_s
            answered, seen = self._scribe.answers - seen, self._scribe.answers
            leader = (
                f"member {observer.leader} leads term {observer.term}" if observer.leader else "no leader yet"
            )
            self._say(f"{answered / PROGRESS_EACH_S:.0f} answers a second; {leader}")


def _waited_for_cpu_s() -> float:
    """How long this thread was ready to run, and did not, since it began; 0 where nobody counts that."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


@contextmanager
def _prepared(nemeses: Sequence[Nemesis], cluster: Cluster) -> Iterator[None]:
    """What nemeses need before members are started, and undone after they are gone."""
    done: list[Nemesis] = []
    try:
        for nemesis in nemeses:
            done.append(nemesis)  # first: one that fails halfway has something to undo, too
            nemesis.prepare(cluster)
        yield
    finally:
        for nemesis in done:
            nemesis.clean(cluster)


def _first(group: BaseExceptionGroup[NotUp]) -> NotUp:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, NotUp) else NotUp(str(error))
