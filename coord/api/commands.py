"""Commands: what a log entry holds, decoded. A request's ops are the client's; the rest is the service's own.

A command is a plain tuple that starts with its kind.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

REQUESTS = 0
"""``(REQUESTS, session, confirmed, [[request id, op row], …])``: one client frame of writes."""

OPEN_SESSION = 1
"""``(OPEN_SESSION, member, boot, number, timeout_ms, secret_digest, principal, client)``: answered by the member that
proposed it. ``boot`` names a life of it, ``number`` the opening in it: that grows, and so a repetition is known."""

END_SESSION = 2
"""``(END_SESSION, session, request id)``: the client asked."""

EXPIRE_SESSIONS = 3
"""``(EXPIRE_SESSIONS, [session, …])``: the leader heard nothing from them for their timeouts."""

SET_LIMITS = 4
"""``(SET_LIMITS, {name: value})``: the leader's configured :class:`~coord.limits.StoreLimits`."""

PUT_TOKEN_KEY = 5
"""``(PUT_TOKEN_KEY, member, key, value, generation, retire_ms)``: a member's public key, for signed tokens, goes into
the tree; its former ones stay there for ``retire_ms`` more."""

Command: TypeAlias = tuple[Any, ...]

Request: TypeAlias = Sequence[Any]
"""``[request id, op row]``."""

Reply: TypeAlias = tuple[Any, ...]
"""``(request id, status, revision, log index, result)``, or for a status other than 0
``(request id, status, revision, log index, message, details)``.

``revision`` is the store's after a write, or when a read was served; ``log index`` is the write's entry,
or the last one applied when a read was served.
"""
