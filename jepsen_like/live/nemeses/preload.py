"""Libraries that a member is started with, by ``LD_PRELOAD``."""

from collections.abc import Sequence
from glob import glob

from coord.jepsen_like.live.process import MemberProcess


def find_library(patterns: Sequence[str]) -> str | None:
    """The first file that fits one of the patterns."""
    return next((found for pattern in patterns for found in sorted(glob(pattern))), None)


def preload(process: MemberProcess, libraries: Sequence[str]) -> None:
    """Have the member's later starts load ``libraries``, with those of other nemeses."""
    present = process.environment.get("LD_PRELOAD", "").split()
    process.environment["LD_PRELOAD"] = " ".join(dict.fromkeys([*present, *libraries]))
