"""What a user says, as what the layers below want: kinds of znodes, seconds as milliseconds, how fresh a read is."""

from collections.abc import Iterable
from typing import Final

from coord.api.errors import InvalidRequest
from coord.api.ops import Create, Kind, Lane, ReadMode
from coord.wire.op_rows import INT_MAX, check_int

PAGE: Final = 1_000
SECONDS_MAX: Final = 10 * 365 * 24 * 3_600.0


def milliseconds(seconds: float, what: str, most: float = SECONDS_MAX) -> int:
    """Seconds at the user's face, whole milliseconds below it. Raises :class:`InvalidRequest` (refused)."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidRequest(f"{what} is a number of seconds, not {seconds!r:.40}")
    if not 0 < seconds <= most:  # nor is what is not a number
        raise InvalidRequest(
            f"{what} is a number of seconds above 0, at most {most:.0f}; not {seconds!r:.40}"
        )
    return round(seconds * 1000)


def create_op(
    path: str,
    value: bytes,
    kind: Kind,
    ephemeral: bool,
    ttl: float | None,
    sequential: bool,
    parents: bool,
) -> Create:
    """A create, as :meth:`coord.client.Client.create` takes it. Raises :class:`InvalidRequest` (refused)."""
    if not isinstance(kind, Kind):
        raise InvalidRequest(f"a kind of znode is one of coord.client.Kind, not {kind!r:.40}")
    wanted = [kind] if kind != Kind.PERSISTENT else []
    wanted += [Kind.EPHEMERAL] if ephemeral else []
    wanted += [Kind.TTL] if ttl is not None else []
    if len(dict.fromkeys(wanted)) > 1:
        raise InvalidRequest(
            f"a znode is of one kind, not {' and '.join(Kind(each).name for each in wanted)}"
        )
    ttl_ms = 0 if ttl is None else max(milliseconds(ttl, "a ttl"), 1)
    of_kind = wanted[0] if wanted else Kind.PERSISTENT
    return Create(path, value, of_kind, bool(sequential), bool(parents), ttl_ms)


def delay_ms(delay: float, what: str) -> int:
    """As :func:`milliseconds`, or 0: no delay. Raises :class:`InvalidRequest` (refused)."""
    if delay == 0 and not isinstance(delay, bool):
        return 0
    return max(milliseconds(delay, what), 1)


def hold_back_ms(delay: float | None) -> int | None:
    """For how long, as :meth:`coord.client.Client.hold_back` takes it. Raises :class:`InvalidRequest` (refused)."""
    return None if delay is None else delay_ms(delay, "a delay")


def lanes_of(lanes: Iterable[Lane]) -> tuple[Lane, ...]:
    """Lanes, as :meth:`coord.client.Client.lanes` takes them. Raises :class:`InvalidRequest` (refused)."""
    found = (lanes,) if isinstance(lanes, Lane | str) else tuple(lanes)
    for each in found:
        if not isinstance(each, Lane):
            raise InvalidRequest(f"{each!r:.60} is not a lane: write Lane('smtp', width=5)")
    return found


def freshness(at_least: int | None, local: bool, floor: int) -> tuple[ReadMode, int]:
    """The mode of a read, and the revision it waits for. Raises :class:`InvalidRequest` (refused).

    ``floor`` is what the client was told to see. A linearizable read sees it in any case: whatever has a revision
    was committed before that was handed on.
    """
    if at_least is not None:
        if local:
            raise InvalidRequest("a read is either local or at_least some revision")
        check_int(at_least, 0, INT_MAX, "a revision")
        return ReadMode.AT_LEAST, max(at_least, floor)
    if local:
        return (ReadMode.AT_LEAST, floor) if floor else (ReadMode.LOCAL, 0)
    return ReadMode.LINEARIZABLE, 0
