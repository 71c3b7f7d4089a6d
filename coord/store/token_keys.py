"""The public keys of the members, in the service's own subtree: who verifies signed tokens reads them there.

``/coord/token-keys`` is there once somebody wanted a token signed, or new keys. Its value is the *generation*: new keys
were asked for so often. A key says for which generation it was made, and one of a former generation is not taken any
more. That makes a revocation final: 1. a member's key is stolen, and revoked. 2. The member is down just then. 3. It
comes back with the key in its folder, finds that it is not in the tree, and would put it there again.

A member's former keys go by TTL, once no token that they signed can be believed any more.
"""

from typing import Any, Final

from coord.api.commands import Command
from coord.api.events import CHANGED
from coord.api.ops import Row
from coord.api.paths import RESERVED, TOKEN_KEYS, join
from coord.store.draft import Draft
from coord.store.reads import find
from coord.store.tree import Tree
from coord.store.writes import REQUEST, add, remove
from coord.store.znode import CREATED_REVISION, KIND, PERSISTENT, TTL, VALUE, VERSION, Znode, new_znode

KEYS_PER_MEMBER: Final = 8
"""The present one, the next one, and former ones. Of more the oldest go early."""


def key_generation(tree: Tree) -> int | None:
    """Of the keys that are wanted; ``None``: nobody has asked for any yet."""
    top = tree.znodes.get(TOKEN_KEYS)
    return None if top is None else int(top[VALUE])


def rotate_token_keys(draft: Draft, op: Row) -> Any:
    """Result: the new generation."""
    revoked = op[1]
    if revoked is not None:
        path = join(TOKEN_KEYS, revoked)
        find(draft.tree, path)
        remove(draft, path, REQUEST)
    generation = (key_generation(draft.tree) or 0) + 1
    _set_generation(draft, generation)
    return generation


def put_token_key(draft: Draft, command: Command) -> None:
    """A member's key goes into the tree, if it is there yet and not too old; its former ones begin to retire."""
    _, member, key, value, generation, retire_ms = command
    tree = draft.tree
    path = join(TOKEN_KEYS, key)
    wanted = key_generation(tree)
    if path in tree.znodes or generation < (wanted or 0):
        return
    if wanted is None:
        _set_generation(draft, generation)
    former = [join(TOKEN_KEYS, name) for name in tree.children(TOKEN_KEYS) if name.startswith(f"{member}-")]
    former.sort(key=lambda each: tree.znodes[each][CREATED_REVISION])
    surplus = max(len(former) - KEYS_PER_MEMBER + 1, 0)
    for each in former[:surplus]:
        remove(draft, each, REQUEST)
    for each in former[surplus:]:
        znode = tree.znodes[each]
        if znode[KIND] == PERSISTENT:
            remove(draft, each, REQUEST)  # a znode's kind is for life
            add(draft, each, _new(draft, znode[VALUE], retire_ms))
    add(draft, path, _new(draft, value, 0))


def _new(draft: Draft, value: bytes, ttl_ms: int) -> Znode:
    kind = TTL if ttl_ms else PERSISTENT
    deadline_ms = draft.time_ms + ttl_ms if ttl_ms else 0
    return new_znode(value, draft.revision, draft.wall_ms, kind, 0, ttl_ms, deadline_ms)


def _set_generation(draft: Draft, generation: int) -> None:
    tree, value = draft.tree, b"%d" % generation
    before = tree.znodes.get(TOKEN_KEYS)
    if before is None:
        for path, content in ((RESERVED, b""), (TOKEN_KEYS, value)):
            if path not in tree.znodes:
                add(draft, path, _new(draft, content, 0))
        return
    version = before[VERSION] + 1
    after: Znode = (
        value, before[1], draft.revision, before[3], version, *before[5:8], draft.wall_ms, *before[9:],
    )  # fmt: skip
    tree.replace(TOKEN_KEYS, before, after)
    draft.changes.append((CHANGED, TOKEN_KEYS, value, version, draft.session, draft.request, REQUEST))
