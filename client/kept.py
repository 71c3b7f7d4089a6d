"""What belongs to the process that made it, and so can be neither copied nor pickled: it says why, and what instead."""

from typing import ClassVar, NoReturn

from coord.api.errors import InvalidRequest


class KeptHere:
    """Also what :func:`copy.copy` makes is refused: two who believe that they have it would be two who end it."""

    _instead: ClassVar[str]
    """What it is, and what to do."""

    def __copy__(self) -> NoReturn:
        self._refuse("copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        self._refuse("copied")

    def __reduce__(self) -> NoReturn:
        self._refuse("pickled")

    def _refuse(self, verb: str) -> NoReturn:
        name = type(self).__name__
        raise InvalidRequest(f"a {name} cannot be {verb}: {self._instead}")


CLIENT = (
    "it is one session over one connection, and both belong to this process. Hand on the endpoints and connect again "
    "where you need it, or share this client among tasks (coord.client.blocking: threads)"
)
GRANT = (
    "the claim is held by a session of this process, and ends with it. Hand on grant.token to whoever writes, and the "
    "path; share the Grant itself among the tasks or threads of its client"
)
WATCH = (
    "it is open on a connection of this process. Hand on watch.next_revision, and open another watch from there where "
    "you need it"
)
CACHE = (
    "it is kept up by a connection of this process. Open another one where you need it, and hand on cache.revision for "
    "its wait_revision"
)
TRANSACTION = (
    "it is one try, of a client of this process. Hand on what you have read, and what comes of it write in a "
    "transaction where you need it"
)
