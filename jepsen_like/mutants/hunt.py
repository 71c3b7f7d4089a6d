"""Hunting mutants: a copy of the tree with the patch in it, its finder let loose on that, and then on the clean tree.

A finding is worth something only if the very same run of the clean tree finds nothing. That is looked at for what was
found (this scope, this seed), once for each, rather than for all seeds that were tried.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from coord.jepsen_like.mutants.finding import Finding
from coord.jepsen_like.mutants.mutant import FRESH_FROM, Finder, Mutant
from coord.jepsen_like.mutants.tree import apply_patch, copy_tree

_WALL_FACTOR: Final = 6
"""The limit is of processor time, for processors are shared; what waits for ever meets this multiple by the wall."""

_OUT_OF_TIME: Final = (-signal.SIGXCPU, -signal.SIGKILL)


class FinderFailed(Exception):
    """A finder ended otherwise than by finding something, or nothing; the text has its last words."""


@dataclass(slots=True)
class Hunted:
    """What came of one mutant. ``finder`` is the run that finds it again; None: it survived."""

    mutant: Mutant
    finder: Finder | None = None
    what: str = ""
    cpu_s: float = 0.0
    """Of a processor, until it was found or given up. Without the check of the clean tree."""
    void: list[str] = field(default_factory=list)
    """Findings that the clean tree has, too: it is broken by itself there."""

    @property
    def survived(self) -> bool:
        return self.finder is None

    def row(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "mutant": self.mutant.name,
            "breaks": self.mutant.what,
            "survived": self.survived,
            "found_by": str(self.finder) if self.finder else None,
            "what": self.what,
            "cpu_s": round(self.cpu_s, 1),
            "void": self.void,
        }


class Hunt:
    """Copies of ``tree`` as it is now, in ``scratch``: what is edited meanwhile changes nothing."""

    def __init__(self, tree: Path, scratch: Path, limit_s: float) -> None:
        self._scratch = scratch
        self._limit_s = limit_s
        self._clean = scratch / "clean"
        copy_tree(tree, self._clean)
        self._lock = threading.Lock()
        self._looking: dict[Finder, threading.Lock] = {}
        self._clean_finds: dict[Finder, str] = {}

    def hunt(self, mutant: Mutant, *, fresh: bool = False, fresh_from: int = FRESH_FROM) -> Hunted:
        """Its recorded finder first, then fresh seeds; with ``fresh`` those alone (a scope or a test is what it is).

        Raises: DoesNotApply, FinderFailed.
        """
        tree = self._scratch / mutant.name
        copy_tree(self._clean, tree)
        try:
            apply_patch(mutant.path, tree)
            hunted = Hunted(mutant)
            searches = [] if fresh and mutant.finder.kind == "sim" else [mutant.finder]
            if mutant.finder.kind == "sim":
                searches.append(mutant.finder.from_seed(fresh_from))
            for search in searches:
                self._search(tree, search, hunted)
                if not hunted.survived:
                    break
            return hunted
        finally:
            shutil.rmtree(tree)

    def _search(self, tree: Path, search: Finder | None, hunted: Hunted) -> None:
        while search is not None and hunted.cpu_s < self._limit_s:
            finding = run_finder(search, tree, self._limit_s - hunted.cpu_s)
            hunted.cpu_s += finding.cpu_s
            if not finding.what:
                return
            found = search if finding.seed is None else search.at(finding.seed)
            clean_finds = self._clean_has(found)
            if not clean_finds:
                hunted.finder, hunted.what = found, finding.what
                return
            hunted.void.append(f"{found}: {clean_finds}")
            search = _after(search, finding.seed)

    def _clean_has(self, finder: Finder) -> str:
        """What ``finder`` finds in the clean tree; empty: nothing."""
        with self._lock:
            looking = self._looking.setdefault(finder, threading.Lock())
        with looking:
            if finder not in self._clean_finds:
                # Several times the limit: a scope is explored wholly here, and only to its first fault in a mutant.
                finding = run_finder(finder, self._clean, _WALL_FACTOR * self._limit_s)
                self._clean_finds[finder] = "it takes too long" if finding.out_of_time else finding.what
            return self._clean_finds[finder]


def _after(search: Finder, seed: int | None) -> Finder | None:
    """The rest of a search, after ``seed`` turned out to be worth nothing."""
    if seed is None or seed == search.last:
        return None
    rest = search.from_seed(seed + 1)
    return rest if search.last is None else Finder("sim", "", seed + 1, search.last, search.settings)


def run_finder(finder: Finder, tree: Path, limit_s: float) -> Finding:
    """Run ``finder`` against ``tree``, in a process of its own, for so long at most. Raises :class:`FinderFailed`."""
    command = [
        sys.executable,
        "-m",
        "coord.jepsen_like.mutants.finding",
        str(tree),
        str(limit_s),
        str(finder),
    ]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONHASHSEED": "0"}
    began = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_WALL_FACTOR * limit_s + 60,
        )
    except subprocess.TimeoutExpired:
        return Finding(cpu_s=limit_s, out_of_time=True)
    if done.returncode in _OUT_OF_TIME:
        return Finding(cpu_s=min(limit_s, time.monotonic() - began), out_of_time=True)
    if done.returncode:
        raise FinderFailed(f"{finder} in {tree.name}: {done.stderr.strip()[-2000:]}")
    return Finding(**json.loads(done.stdout.splitlines()[-1]))
