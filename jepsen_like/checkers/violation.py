"""What a checker says of a broken promise."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    promise: str
    """The checker's name, which is the promise's: ``linearizable``, ``watches``…"""
    what: str
    """One sentence with the facts that contradict each other."""
    records: tuple[int, ...] = ()
    """Where those stand in the history (indices into its list of records), for a timeline."""

    def __str__(self) -> str:
        return f"{self.promise}: {self.what}"
