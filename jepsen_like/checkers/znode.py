"""One znode of the model."""

from typing import Any

from coord.api.ops import Kind


class Znode:
    """``kind`` is ``None``, and ``owner`` -1, where only the log told of the create: then nobody knows."""

    __slots__ = (
        "children", "children_revision", "children_version", "created", "kind", "modified", "next_sequence",
        "owner", "ttl_ms", "value", "version",
    )  # fmt: skip

    def __init__(self, value: bytes, revision: int, kind: Kind | None, owner: int, ttl_ms: int) -> None:
        self.value = value
        self.created = self.modified = self.children_revision = revision
        self.version = self.children_version = 0
        self.kind = kind
        self.owner = owner
        self.ttl_ms = ttl_ms
        self.children: dict[str, None] = {}
        self.next_sequence: int | None = 0
        """``None``: a child was created by nobody knows which op, perhaps a sequential one."""

    def copy(self) -> "Znode":
        twin = Znode.__new__(Znode)
        for each in Znode.__slots__:
            setattr(twin, each, getattr(self, each))
        twin.children = dict(self.children)
        return twin

    def stat(self) -> tuple[Any, ...]:
        """A :class:`~coord.api.results.Stat`, in its order, without wall-clock stamps."""
        return (
            self.created,
            self.modified,
            self.children_revision,
            self.version,
            self.children_version,
            self.owner,
            len(self.value),
            len(self.children),
            self.kind,
            self.ttl_ms,
        )
