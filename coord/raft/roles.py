"""The roles a member can have."""

import enum


class Role(enum.IntEnum):
    """``PRE_CANDIDATE`` asks whether it could win before it spends a term on it (thesis §9.6)."""

    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3
