"""Configurations as bytes and as arithmetic: the codec, what is well-formed, and how one leads to the next.

    C_old  --propose-->  C_old,new (joint)  --committed, the leader goes on by itself-->  C_new

Both kinds of entry act from the moment they are appended, not from when they are committed (thesis §4.1).
"""

import struct
from itertools import pairwise

from coord.api.checks import check
from coord.raft.types import Configuration

_COUNTS = struct.Struct(">HHHH")
_MAX_MEMBER_ID = 2**31 - 1


def encode_configuration(configuration: Configuration) -> bytes:
    """Four counts of 16 bits, then the ids of each group, 32 bits each, big-endian."""
    groups = tuple(configuration)
    ids = [member for group in groups for member in group]
    return _COUNTS.pack(*[len(group) for group in groups]) + struct.pack(f">{len(ids)}I", *ids)


def decode_configuration(data: bytes) -> Configuration:
    """The inverse. Raises ValueError for anything that :func:`encode_configuration` does not make."""
    if len(data) < _COUNTS.size:
        raise ValueError("a configuration entry is cut short")
    counts = _COUNTS.unpack_from(data)
    if len(data) != _COUNTS.size + 4 * sum(counts):
        raise ValueError("a configuration entry has the wrong length")
    ids = struct.unpack_from(f">{sum(counts)}I", data, _COUNTS.size)
    groups = []
    start = 0
    for count in counts:
        groups.append(tuple(ids[start : start + count]))
        start += count
    configuration = Configuration(*groups)
    if not is_well_formed(configuration):
        raise ValueError(f"a configuration entry is not well-formed: {configuration}")
    return configuration


def is_well_formed(configuration: Configuration) -> bool:
    """Sorted ids in range; somebody votes; no member both votes and learns."""
    for group in configuration:
        if any(not 1 <= member <= _MAX_MEMBER_ID for member in group):
            return False
        if any(left >= right for left, right in pairwise(group)):
            return False
    voters, outgoing, learners, learners_next = configuration
    if not voters:
        return not outgoing and not learners and not learners_next
    if any(member in voters or member in outgoing or member in learners_next for member in learners):
        return False
    return all(member in outgoing and member not in voters for member in learners_next)


def is_voter(configuration: Configuration, member: int) -> bool:
    return member in configuration.voters or member in configuration.outgoing


def members_of(configuration: Configuration) -> tuple[int, ...]:
    """Everybody whom the log is sent to, sorted."""
    voters, outgoing, learners, _ = configuration  # learners_next are among the outgoing
    return tuple(sorted({*voters, *outgoing, *learners}))


def joint(current: Configuration, target: Configuration) -> Configuration:
    """C_old,new: the way from ``current`` to ``target``, neither of which is joint.

    Voters that are to become learners wait in ``learners_next``: to be both at once would let a learner count.
    A learner that is to vote does so at once, in the incoming half.
    """
    check(
        not current.outgoing and not target.outgoing,
        "joint consensus joins two plain configurations",
        current,
    )
    return Configuration(
        voters=target.voters,
        outgoing=current.voters,
        learners=tuple(member for member in target.learners if member not in current.voters),
        learners_next=tuple(member for member in target.learners if member in current.voters),
    )


def leave_joint(configuration: Configuration) -> Configuration:
    """C_new: only the incoming half is left."""
    learners = tuple(sorted({*configuration.learners, *configuration.learners_next}))
    return Configuration(voters=configuration.voters, learners=learners)
