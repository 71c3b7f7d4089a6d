"""The members of a group, as their znodes tell them. Sans IO: for :mod:`coord.recipes.membership`, and its blocking
face.

Below the path of a group there is an ephemeral for each member, by its name. Its value is a JSON object::

    {"id": "5f0c…", "session": 17, "since_ms": 1767225600000, "pulse": 10.0, "attributes": {"zone": "a"}}

``id`` is the joining's own, ``pulse`` is null for a member that gives none. One that does has a second znode,
``.pulse/<name>``, which the service deletes when it was not set for that time.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from coord.client import Cache, Cached, ChangeKind, Event, InvalidRequest, Reason, Stat
from coord.recipes.arguments import below

PULSES: Final = ".pulse"


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a group."""

    name: str
    attributes: Mapping[str, Any]
    since_ms: int
    """When it joined, by its own wall clock; for people. 0 where it is not known."""
    session: int
    """Whose it is; 0 where it is not known (a znode that was made by other means)."""
    joined_revision: int
    """Orders joinings exactly, and tells one from the next of the same name."""
    pulse: float | None
    """Seconds: it says at least so often that its work goes on. ``None``: it never says."""
    stuck: bool
    """It has a pulse, and has not given it for that long: its session lives, and its work does not go on."""


class What(StrEnum):
    """What happened to a member."""

    JOINED = "joined"
    UPDATED = "updated"
    """It has other attributes."""
    STUCK = "stuck"
    """It has not given its pulse for too long."""
    WORKING = "working"
    """It gives its pulse again."""
    LEFT = "left"
    """It is no member any more; :class:`Why` says why."""


class Why(StrEnum):
    """Why a member is none any more."""

    SAID_SO = "said so"
    """It left, or ended its session."""
    EXPIRED = "expired"
    """Its session was silent for its timeout: it crashed, hung as a whole, or was cut off."""
    REMOVED = "removed"
    """Somebody else deleted it."""
    UNKNOWN = "unknown"
    """It was gone when, after a gap in what could be told, the group was read anew."""


@dataclass(frozen=True, slots=True)
class Change:
    what: What
    member: Member
    """As it is now; one that left, as it was last."""
    why: Why | None
    """Of one that left."""
    revision: int


def record(
    identity: str, session: int, since_ms: int, pulse: float | None, attributes: Mapping[str, Any]
) -> bytes:
    """A member's value. Raises :class:`InvalidRequest` (refused) for attributes that JSON has no words for."""
    if not isinstance(attributes, Mapping) or not all(isinstance(key, str) for key in attributes):
        raise InvalidRequest(f"attributes are a mapping of names to values, not {attributes!r:.60}")
    facts = {
        "id": identity,
        "session": session,
        "since_ms": since_ms,
        "pulse": pulse,
        "attributes": dict(attributes),
    }
    try:
        return json.dumps(facts, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"attributes are what JSON can say: text, numbers, lists, mappings; {error}"
        ) from error


def member_of(name: str, value: bytes, joined_revision: int, stuck: bool) -> Member:
    """The member that a znode tells. One that was made by other means has no attributes, and is a member all the
    same.

    ``stuck``: it has no pulse just now.
    """
    try:
        facts = json.loads(value)
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        facts = {}
    pulse = facts.get("pulse")
    attributes = facts.get("attributes")
    if isinstance(pulse, bool) or not isinstance(pulse, int | float):
        pulse = None
    return Member(
        name,
        attributes if isinstance(attributes, dict) else {},
        _whole(facts.get("since_ms")),
        _whole(facts.get("session")),
        joined_revision,
        pulse,
        stuck and pulse is not None,
    )


def _whole(fact: object) -> int:
    return fact if isinstance(fact, int) and not isinstance(fact, bool) else 0


class Roster:
    """The members at one moment, read from a cache of the group. What has not changed since is not read again: the
    same members are the same tuple.

    Looked at in any thread. What is kept for a revision may be newer than that, and never older: it is read after
    it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._read: tuple[int, tuple[Member, ...], dict[str, tuple[Cached, Member]]] = (-1, (), {})

    def read(self, cache: Cache) -> tuple[Member, ...]:
        """By name."""
        revision = cache.revision
        read_revision, roster, before = self._read
        if revision == read_revision:
            return roster
        known: dict[str, tuple[Cached, Member]] = {}
        for name in cache.children(self._path):
            entry = cache.get(below(self._path, name))
            if entry is None or name == PULSES:  # gone just now, where threads look
                continue
            stuck = pulse_path(self._path, name) not in cache
            old, member = before.get(name, (None, None))
            if old is not entry or member is None or member.stuck != (stuck and member.pulse is not None):
                member = member_of(name, entry.value, entry.created_revision, stuck)
            known[name] = (entry, member)
        found = tuple(member for _, member in known.values())
        if len(found) != len(roster) or any(new is not old for new, old in zip(found, roster, strict=True)):
            roster = found
        self._read = (revision, roster, known)
        return roster


def pulse_path(path: str, name: str) -> str:
    return below(below(path, PULSES), name)


class Fold:
    """The members, kept up by events, each of which it makes a change of, or nothing."""

    def __init__(self, path: str, cache: Cache) -> None:
        """Of what the cache shows at its revision; the first event is of the next one."""
        self._above = path if path.endswith("/") else path + "/"
        self.members = {member.name: member for member in Roster(path).read(cache)}
        self._beating = set(cache.children(below(path, PULSES)))
        """Names below ``.pulse``."""

    @property
    def roster(self) -> tuple[Member, ...]:
        return tuple(self.members[name] for name in sorted(self.members))

    def asks(self, event: Event) -> bool:
        """After a gap, one that has come is told at the revision at which it was found, and not at that of its
        coming: whoever wants to know that one has to ask.
        """
        name = event.path[len(self._above) :]
        return (
            event.kind is ChangeKind.CREATED
            and event.reason is Reason.RELISTED
            and event.path.startswith(self._above)
            and "/" not in name
            and name != PULSES
        )

    def apply(self, event: Event, stat: Stat | None = None) -> Change | None:
        """``stat``: of its znode, for one that asks; ``None``: it was gone by then, and that will be told."""
        if not event.path.startswith(self._above):
            return None
        name = event.path[len(self._above) :]
        if name.startswith(f"{PULSES}/"):
            return self._beat(name[len(PULSES) + 1 :], event)
        if "/" in name or name == PULSES:
            return None
        before = self.members.get(name)
        if event.kind is ChangeKind.DELETED:
            if before is None:
                return None
            del self.members[name]
            return Change(What.LEFT, before, _why(event, before), event.revision)
        if event.kind is ChangeKind.CREATED:
            joined = event.revision
            if (
                stat is not None and stat.created_revision <= joined
            ):  # else that is another one, who came later
                joined = stat.created_revision
            now = member_of(name, event.value or b"", joined, name not in self._beating)
            what = What.JOINED
        elif event.kind is ChangeKind.SET and before is not None:
            now = member_of(name, event.value or b"", before.joined_revision, name not in self._beating)
            what = What.UPDATED
        else:
            return None
        self.members[name] = now
        return Change(what, now, None, event.revision)

    def _beat(self, name: str, event: Event) -> Change | None:
        if event.kind is ChangeKind.DELETED:
            self._beating.discard(name)
        elif event.kind in (ChangeKind.CREATED, ChangeKind.SET):
            self._beating.add(name)
        else:
            return None
        member = self.members.get(name)
        stuck = name not in self._beating
        if member is None or member.pulse is None or member.stuck == stuck:
            return None
        member = self.members[name] = replace(member, stuck=stuck)
        return Change(What.STUCK if stuck else What.WORKING, member, None, event.revision)


def _why(event: Event, member: Member) -> Why:
    if event.reason is Reason.SESSION_EXPIRED:
        return Why.EXPIRED
    if event.reason is Reason.SESSION_ENDED:
        return Why.SAID_SO
    if event.reason is Reason.REQUEST:
        return Why.SAID_SO if event.session == member.session else Why.REMOVED
    return Why.UNKNOWN
