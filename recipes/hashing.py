"""Who of several is responsible for a key: rendezvous hashing (highest random weight). Pure: no cluster, no clock.

*What it guarantees.* The same answer in every process, of every version and machine, for the same key and members,
in whatever order these are given. When a member goes, only its keys move, evenly to the others; when one comes, it
takes its share from all and nothing else moves. :func:`spread` gives nobody more than a fair share.

*What it does not.* Processes that see other members answer otherwise: while a change of membership spreads, two may
each take themselves for the owner of a key. And a share is even on average only: of 1000 keys over 10 members some
have 80 and some 120 (:func:`spread` has not that problem, and moves a few keys more for it).

*What to do about that.* Where two owners at a time do harm, claim the key before serving it; where they cost only
work, as with a cache, nothing.

::

    from coord.recipes.hashing import owner, ranked, spread

    members = ["a", "b", "c"]
    print(owner("user-17", members))  # → b
    print(ranked("user-17", members)[:2])  # → ['b', 'c']
    print(owner("user-17", ["a", "c"]))  # → c
    print({name: len(keys) for name, keys in spread(map(str, range(100)), members).items()})
    # → {'a': 33, 'b': 33, 'c': 34}
"""

from collections.abc import Iterable
from hashlib import blake2b

from coord.client import InvalidRequest


def score(key: str, member: str) -> int:
    """The weight of ``member`` for ``key``: 64 bits that look random. Whoever has the greatest is responsible.

    Made of the UTF-8 bytes of both, the member's with their length before them, by BLAKE2b: another language can do
    the same.
    """
    name = member.encode("utf-8", "surrogatepass")
    data = len(name).to_bytes(4) + name + key.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest())


def ranked(key: str, members: Iterable[str]) -> list[str]:
    """All members, the one that is responsible for ``key`` first, the one that would be without it second, and so
    on: also where to keep copies.
    """
    key = _checked_key(key)
    return sorted(_checked(members), key=lambda member: (-score(key, member), member))


def owner(key: str, members: Iterable[str]) -> str:
    """The member that is responsible for ``key``. Raises :class:`InvalidRequest` (refused) if there is none at all."""
    names, key = _checked(members), _checked_key(key)
    if not names:
        raise InvalidRequest(f"nobody can be responsible for {key!r:.60}: there is no member")
    return min(names, key=lambda member: (-score(key, member), member))


def spread(keys: Iterable[str], members: Iterable[str]) -> dict[str, list[str]]:
    """Member -> its keys, in order; each member has the same number, or one more.

    A key goes to the first of its :func:`ranked` members that has room. When one of M members comes or goes the
    keys that must move do, and of the others some do that were squeezed out of, or had squeezed in at, their first
    choice.
    """
    names = sorted(_checked(members))
    wanted = sorted(dict.fromkeys(map(_checked_key, keys)))
    if not names:
        raise InvalidRequest(f"nobody can have these {len(wanted)} keys: there is no member")
    least, more = divmod(len(wanted), len(names))
    shares: dict[str, list[str]] = {name: [] for name in names}
    # The strongest preferences first: then it does not matter how the keys are called.
    wishes = sorted((-score(key, name), key, name) for key in wanted for name in names)
    placed: dict[str, str] = {}
    for _, key, name in wishes:
        share = shares[name]
        if key in placed or len(share) > least or (len(share) == least and more == 0):
            continue
        if len(share) == least:
            more -= 1
        share.append(key)
        placed[key] = name
    return {name: sorted(share) for name, share in shares.items()}


def _checked_key(key: str) -> str:
    # Which text a number would be is for the caller to say: all processes have to say the same.
    if not isinstance(key, str):
        raise InvalidRequest(f"a key is text, not {key!r:.60}")
    return key


def _checked(members: Iterable[str]) -> list[str]:
    if isinstance(members, str):
        raise InvalidRequest(f"members are several names, not one: [{members!r:.60}]")
    return list(dict.fromkeys(members))
