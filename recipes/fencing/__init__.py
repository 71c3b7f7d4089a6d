"""Guards for resources: they remember the greatest fencing token, and refuse lower ones, in one step with the
write.

*What they guarantee.* A lock, a lease, an election can be lost by a holder that does not know it yet: paused
by the garbage collector, a hypervisor, a swapping machine; and a message of its may arrive late. Each grant
of a claim has a greater token than those before it. A guarded resource that has seen one token refuses all
lower ones for ever: whatever a former holder still sends changes nothing.

*What they do not.* Before its successor's *first write*, a former holder is let in: the resource cannot know
of a grant that nobody has shown to it. (coord's own fences can, for writes in the tree.) A guard is right for
holders that exclude each other: where a semaphore lets several in, each has its own token, and the latest
would shut the others out.

*What to do about that.* If a new holder must not act on what a former one may still change, let it write
first, with its token, and read then. Give each unit of a semaphore a name of its own.

Which one?

- rows of a database, with whatever belongs to them, in one transaction: :class:`SqlGuard`
- one row, one statement, no waiting at all: :class:`TokenColumns`
- one file: :class:`FileGuard`
- objects in S3, GCS or the like: :class:`ObjectGuard`
- whatever a web application's handlers do: :class:`FencingASGI`, :class:`FencingWSGI`, over
:class:`MemoryHolds`,
  :class:`FileHolds` or :class:`SqlHolds`
- whoever presents tokens is not trusted to tell the truth: :mod:`coord.recipes.fencing.signed`, before any of these
- something else: write it, and run it through :mod:`coord.recipes.fencing.conformance`

Why they are as they are, and what a resource that cannot check tokens can do: ``README.md`` beside this file.
"""

from coord.client import Token
from coord.recipes.fencing.durable import DamagedGuard
from coord.recipes.fencing.file import FileGuard
from coord.recipes.fencing.holds import FileHolds, Holds, MemoryHolds, SqlHolds
from coord.recipes.fencing.http import FencingASGI, FencingWSGI, Presented
from coord.recipes.fencing.objects import FileObjects, MemoryObjects, ObjectGuard, Objects, Stored, opened
from coord.recipes.fencing.sql import SqlGuard, TokenColumns
from coord.recipes.fencing.token import HEADER, NotGenuine, Presentable, StaleToken

__all__ = [
    "Token",
    "Presentable",
    "HEADER",
    "StaleToken",
    "NotGenuine",
    "DamagedGuard",
    # guards
    "SqlGuard",
    "TokenColumns",
    "FileGuard",
    "ObjectGuard",
    "FencingASGI",
    "FencingWSGI",
    "Presented",
    # what they stand on
    "Objects",
    "Stored",
    "MemoryObjects",
    "FileObjects",
    "opened",
    "Holds",
    "MemoryHolds",
    "FileHolds",
    "SqlHolds",
]
