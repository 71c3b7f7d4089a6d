"""Conditions of a multi, as they are read aloud: ``when.version("/a") == 3``, ``when.missing("/lock")``."""

from dataclasses import dataclass

from coord.api.ops import Compare, Operator, Target


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is compared: a comparison with it makes a :class:`~coord.api.ops.Compare`, not a bool.

    Of a znode that is not there, no comparison holds.
    """

    target: Target
    path: str

    def __eq__(self, operand: object) -> Compare:  # type: ignore[override]
        return self._compare(Operator.EQUAL, operand)

    def __ne__(self, operand: object) -> Compare:  # type: ignore[override]
        return self._compare(Operator.NOT_EQUAL, operand)

    def __lt__(self, operand: bytes | int) -> Compare:
        return self._compare(Operator.LESS, operand)

    def __le__(self, operand: bytes | int) -> Compare:
        return self._compare(Operator.LESS_OR_EQUAL, operand)

    def __gt__(self, operand: bytes | int) -> Compare:
        return self._compare(Operator.GREATER, operand)

    def __ge__(self, operand: bytes | int) -> Compare:
        return self._compare(Operator.GREATER_OR_EQUAL, operand)

    __hash__ = None  # type: ignore[assignment]

    def _compare(self, operator: Operator, operand: object) -> Compare:
        if not isinstance(operand, bytes | int) or isinstance(operand, bytes) != (
            self.target == Target.VALUE
        ):
            wanted = "bytes" if self.target == Target.VALUE else "a whole number"
            raise TypeError(f"{self.target.name.lower()} is compared with {wanted}, not {operand!r:.40}")
        return Compare(self.target, self.path, operator, operand)


def value(path: str) -> Subject:
    """The znode's bytes; they are ordered as bytes are."""
    return Subject(Target.VALUE, path)


def version(path: str) -> Subject:
    """How often the znode was set since its create."""
    return Subject(Target.VERSION, path)


def created_revision(path: str) -> Subject:
    """The store's revision at the znode's create: tells one life of a path from the next."""
    return Subject(Target.CREATED_REVISION, path)


def modified_revision(path: str) -> Subject:
    """The store's revision at the znode's last set, or its create."""
    return Subject(Target.MODIFIED_REVISION, path)


def children_revision(path: str) -> Subject:
    """The store's revision when a child was last created or deleted, or at the znode's own create."""
    return Subject(Target.CHILDREN_REVISION, path)


def child_count(path: str) -> Subject:
    """How many children the znode has."""
    return Subject(Target.CHILD_COUNT, path)


def exists(path: str) -> Compare:
    """The znode is there."""
    return Compare(Target.EXISTS, path, Operator.EQUAL, True)


def missing(path: str) -> Compare:
    """There is no such znode."""
    return Compare(Target.EXISTS, path, Operator.EQUAL, False)
