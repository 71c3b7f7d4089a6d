"""What can go wrong with a data folder, each with a text that reads like help.

Every text says what is wrong, where, and what to do. None of these is ever retried inside this room:
after :class:`SyncFailed` or :class:`DiskFull` from the log, nobody knows what the disk holds, so the
process ends and the next start reads it afresh.
"""

from typing import Final

JOIN_AGAIN: Final = (
    "move the folder away, and let this member join again with an empty one: the other members restore it. (Where "
    "there are no others, what it held is in a backup, or lost.)"
)
"""What is left to do with a folder that nobody can read."""


class StorageError(Exception):
    """A data folder cannot be used as asked."""


class CannotOpen(StorageError):
    """The folder is missing, not readable, not writable, or not a folder at all."""


class FolderInUse(StorageError):
    """Another process holds the folder's lock."""


class WrongMember(StorageError):
    """The folder belongs to another member than the one configured."""


class WrongCluster(StorageError):
    """The folder belongs to another cluster than the one configured or joined."""


class NewerFormat(StorageError):
    """A newer coord wrote this folder; this one does not guess at what it means."""


class DamagedFolder(StorageError):
    """The folder cannot be opened, not even to recover from the peers: who it belongs to is unknown.

    Damage to the log or a snapshot does not raise: it is reported as ``Recovered.damage``, and the
    member starts *recovering*.
    """


class DiskFull(StorageError):
    """No space left. What was not acknowledged did not happen; what was acknowledged is safe.

    From the log it is final for this process. From a :class:`SnapshotWriter` only that snapshot is lost.
    """


class SyncFailed(StorageError):
    """A write or sync failed. Fatal: the kernel may have dropped the data and told us only once."""


class SnapshotGone(StorageError):
    """No such snapshot here (any more): it was trimmed. Start again with the newest."""


class SnapshotDamaged(StorageError):
    """A snapshot on this disk does not pass its checksums. Take or receive a new one."""


class SnapshotRefused(StorageError):
    """A received snapshot is not what its sender digested. It is dropped; the sender starts again."""
