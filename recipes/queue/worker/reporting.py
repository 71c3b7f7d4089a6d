"""How the end of an attempt is reported, until it is answered.

::

    succeeded, failed, … ──▶ plan ──▶ asked ──▶ done: over
                              ▲                 ├ changed: the record is another by now: plan again
                              └─────────────────┤ lost: another worker has the task: over
                                                └ refused: because of its own ops: it has failed;
                                                  a folder is gone: made, and again; else set aside

An end is asked for once, whoever asks for another one afterwards: a limit that is met while the answer is on its way,
a cancellation.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from coord.client import CoordError, HoldBack, NotFound, Release
from coord.recipes.queue import record as records
from coord.recipes.queue.app import TaskFunction
from coord.recipes.queue.ending import end, retry
from coord.recipes.queue.enqueueing import NoFolders, make_folders
from coord.recipes.queue.errors import TooLarge
from coord.recipes.queue.plan import Op, Plan, is_claimed_by
from coord.recipes.queue.record import VERSION, Ended, Failure
from coord.recipes.queue.record import Outcome as End
from coord.recipes.queue.retry import Over
from coord.recipes.queue.running import Changed, Done, Lost, Running
from coord.recipes.queue.signature import BadArguments
from coord.recipes.queue.worker.job import Raised
from coord.recipes.queue.worker.shop import Shop

log = logging.getLogger("coord.worker")

UNKNOWN_HOLD_MS: Final = 30_000
"""For how long a task is held back that no function of this worker is for: others may have newer code."""


class Report:
    """Of one attempt. Whoever reports an end looks whether one is ``asked`` for already."""

    def __init__(
        self, shop: Shop, running: Running, task: TaskFunction[..., Any], answered: Callable[[str], None]
    ) -> None:
        """``answered`` is called once, with the name of what is to be counted."""
        self.running = running
        self.began = time.monotonic()
        self.began_ms = round(time.time() * 1000)
        self.asked = False
        """Its end is on its way, or there is none to report."""
        self.answered = False
        self.is_lost = False
        """There is no use in asking for anything once more: the session is over."""
        self.told_progress = running.attempt > 1
        """A report of its progress may stand in the tree: an earlier attempt's, or its own."""
        self._shop = shop
        self._task = task
        self._on_answered = answered
        self._made_folders = False

    def __str__(self) -> str:
        return f"{self.running.record.task} {self.running.id} (attempt {self.running.attempt})"

    @property
    def retry_rules(self) -> Any:
        rules, times = self._task.options.retry, self.running.record.times
        return rules if times is None else replace(rules, times=times)

    # --- the ends that there are ---

    def end(
        self,
        outcome: End,
        *,
        value: bytes = b"null",
        failure: Failure | None = None,
        why: str = "",
        once: Sequence[Op] = (),
    ) -> None:
        """Of the task."""
        running, record = self.running, self.running.record
        ended = Ended(
            VERSION, outcome, record.task, record.at_ms, round(time.time() * 1000), self._took_ms(), running.attempt,
            self._shop.name, failure, why, value,
        )  # fmt: skip
        plan = partial(end, ended=ended, once=once, reported=self.told_progress)
        self._ask(plan, outcome, alone=bool(once))

    def failed(self, raised: Raised) -> None:
        """Of the attempt; of the task, if there is to be no other."""
        error, running = raised.error, self.running
        if isinstance(error, BadArguments | TooLarge):
            verdict: Any = Over(f"{type(error).__name__} is not to be tried again")
        else:
            workers = running.record.workers | {self._shop.name}
            verdict = self.retry_rules.after(error, running.attempt, workers, self._shop.dice)
        failure = Failure.of(error, raised.traceback)
        if isinstance(verdict, Over):
            log.error("%s has failed, and is a dead letter, as %s:\n%s", self, verdict.why, raised.traceback)
            self.end("failed", failure=failure, why=verdict.why)
            return
        log.warning(
            "%s has failed, and is tried again in %.1f s:\n%s", self, verdict.delay_s, raised.traceback
        )
        attempt = records.Attempt(running.attempt, self.began_ms, self._took_ms(), self._shop.name, failure)
        # The service counts lost attempts, and forgets none: what is written down is the reported ones only.
        self._ask(partial(retry, attempt=attempt, delay_ms=round(verdict.delay_s * 1000)), "retried")

    def hand_back(self) -> None:
        """It was no attempt: the task is anybody's."""
        self.asked = True
        release = Release(self.running.claim)
        self._shop.completer.add(
            Plan((), (release,), (), lambda result: None),
            lambda answer: self._over("handed_back"),
            alone=True,
        )

    def set_aside(self, hold_ms: int | None) -> None:
        """It was none, and is not to be one here."""
        self.asked = True
        aside = set_aside(self.running.path, self.running.token, self.running.claim, hold_ms)
        self._shop.completer.add(aside, lambda answer: self._over("set_aside"), alone=True)

    def lost(self) -> None:
        """Whatever comes of it does not count."""
        self.is_lost = True
        self._over("lost")

    # --- inside ---

    def _took_ms(self) -> int:
        return round((time.monotonic() - self.began) * 1000)

    def _ask(self, plan: Callable[[Running], Plan[Any]], what: str, *, alone: bool = False) -> None:
        """Ask for an end, and count it as ``what`` when it has happened."""
        self.asked = True
        self._shop.progress.forget(self.running.id)
        self._shop.completer.add(plan(self.running), partial(self._told, plan, what, alone), alone=alone)

    def _told(self, plan: Callable[[Running], Plan[Any]], what: str, alone: bool, answer: Any) -> None:
        if self.answered:
            return  # it was lost before, and is counted as that
        if isinstance(answer, Done):
            self._over(what)
        elif isinstance(answer, Changed):
            try:
                self.running = self.running.changed(answer)
            except CoordError as error:
                log.error("%s is no task any more: %s", self, error)
                self.set_aside(None)
                return
            self._ask(plan, what, alone=alone)
        elif isinstance(answer, Lost):
            log.warning("%s is another worker's by now; that it has %s does not count", self, what)
            self._over("lost")
        else:
            self._refused(plan, what, alone, answer)

    def _refused(
        self, plan: Callable[[Running], Plan[Any]], what: str, alone: bool, error: CoordError
    ) -> None:
        if error.outcome == "unknown" or self.is_lost:
            # The session is over; somebody will look at the task again, if it is still there.
            self._over("lost")
        elif alone:
            self.failed(Raised(error, f"what it has asked for by once() was refused: {error}"))
        elif isinstance(error, NotFound) and not self._made_folders:
            # Somebody has deleted a folder of the queue's: of results, for instance.
            self._made_folders = True
            missing = NoFolders(((self.running.paths, self.running.needs),))
            again = partial(self._ask, plan, what)
            self._shop.completer.add(
                Plan((), tuple(make_folders(missing)), (), lambda result: None), lambda answer: again()
            )
        else:
            log.error("%s can't be ended as %s, and is set aside: %s", self, what, error)
            self.set_aside(None)

    def _over(self, counted_as: str) -> None:
        """Its end has happened, or can't."""
        self.asked = True
        if not self.answered:
            self.answered = True
            log.debug("%s: %s", self, counted_as)
            self._on_answered(counted_as)


def set_aside(path: str, token: int, claim: int, hold_ms: int | None) -> Plan[None]:
    """Give back what can't be run here, and hold it back: for others who may, or (``None``) for somebody to look at."""
    return Plan(
        (is_claimed_by(path, token),), (HoldBack(path, hold_ms), Release(claim)), (), lambda result: None
    )
