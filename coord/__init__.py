"""coord: a coordination service.

A small cluster of members agrees on a tree of znodes, so that programs on many machines can hold
locks, elect leaders, see who is alive, share configuration and hand out work.

Users want ``coord.client``; ``docs/`` tells the rest, and each room's README says why it is as it is.
"""

__version__ = "0.1.0"
