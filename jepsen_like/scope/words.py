"""Actions, messages and members in words, for stories."""

from typing import Any

from coord.jepsen_like.scope.member import CoreMember
from coord.jepsen_like.scope.model import Action
from coord.raft.messages import SnapshotSection
from coord.raft.types import ENTRY_CONFIGURATION, Configuration, Entry, Persist


def entry_in_words(entry: Entry) -> str:
    """``3/2 "x"``: index, term, content."""
    if entry.kind == ENTRY_CONFIGURATION:
        return f"{entry.index}/{entry.term} configuration"
    return f"{entry.index}/{entry.term} {entry.data.decode(errors='replace') or 'no-op'}"


def entries_in_words(entries: list[Entry] | tuple[Entry, ...]) -> str:
    return "[" + ", ".join([entry_in_words(entry) for entry in entries]) + "]"


def message_in_words(message: Any) -> str:
    """``Append term=2 …``: the fields that are not at their usual value."""
    words = [type(message).__name__]
    for name, value in zip(message._fields, message, strict=True):
        if name == "entries":
            words.append(entries_in_words(value))
        elif name == "meta" and isinstance(message, SnapshotSection):
            words.append(f"of {value.index}/{value.term}")
        elif name in ("recovering", "forced"):
            if value:
                words.append(name)
        else:
            words.append(f"{name}={value!r}" if isinstance(value, bytes) else f"{name}={value}")
    return " ".join(words)


def detail_in_words(detail: Any) -> str:
    if isinstance(detail, Configuration):
        return configuration_in_words(detail)
    if isinstance(detail, bytes):
        return detail.decode(errors="replace")
    return str(detail)


def configuration_in_words(configuration: Configuration) -> str:
    """``{1 2 3}``, or ``{2 3}&{1 2 3}`` for a joint one."""
    words = "{" + " ".join(map(str, configuration.voters)) + "}"
    if configuration.outgoing:
        words += "&{" + " ".join(map(str, configuration.outgoing)) + "}"
    return words


def action_in_words(action: Action) -> str:
    kind, detail = action
    if kind == "deliver":
        return f"hears from {detail[0]}: {message_in_words(detail[1])}"
    return kind if detail is None else f"{kind} {detail_in_words(detail)}"


def member_in_words(member: CoreMember) -> str:
    """Role, term, log and disk in a line."""
    raft, disk = member.raft, member.disk
    log = raft._state.log
    words = [
        f"{raft.role.name.lower()} of term {raft.term}",
        f"log {f'after {log.boundary_index} ' if log.boundary_index else ''}{entries_in_words(log._entries)}",
        f"committed {raft.commit_index}",
        f"disk: term {disk.hard_state.term} vote {disk.hard_state.vote}, through {disk.last_index}",
    ]
    if disk.unsynced:
        words.append("unsynced " + "; ".join([batch_in_words(batch) for batch in disk.unsynced]))
    if raft.configuration != member.formed_with:
        words.append(f"configuration {configuration_in_words(raft.configuration)}")
    if raft.recovering:
        words.append("recovering")
    return ", ".join(words)


def batch_in_words(batch: Persist) -> str:
    hard_state = f"term {batch.hard_state.term} vote {batch.hard_state.vote} " if batch.hard_state else ""
    return hard_state + entries_in_words(batch.entries)
