"""Signed tokens: a member says, with its key, what it has just read about a claim.

It is a read, and linearizable: when it was asked, or later, the claim was held by who asks. What that is worth later
is the business of whoever verifies it: a signature says where a token is from, not that it is the latest.

Keys come into the tree when somebody first wants a token signed: a cluster that signs nothing has none, and not a
revision of its own making. Every member puts its key there then, not only the one that was asked, so that one copy of
the keys verifies whatever any member will sign.
"""

from coord.api.commands import PUT_TOKEN_KEY
from coord.api.errors import InvalidRequest, NotAllowed, NotHeld, SessionRequired
from coord.api.ops import ReadMode, Row
from coord.api.paths import TOKEN_KEYS, join
from coord.api.signed import signed_text, to_be_signed
from coord.api.tokens import Token
from coord.limits import TOKEN_TTL_MAX_MS
from coord.replica.connections import Connection
from coord.replica.inputs import Signer
from coord.replica.state import ReplicaState, made_progress
from coord.store.claims import PATH, SESSION, TOKEN
from coord.store.token_keys import key_generation
from coord.wire.client_frames import Reads
from coord.wire.entries import encode_command

SKEW_MS = 5 * 60_000
"""A retired key is kept for so much longer than the last token that it can have signed: clocks differ, and cluster time
is not wall clock."""


def check_signable(state: ReplicaState, client: Connection, frame: Reads) -> None:
    """Raise (refused) what is wrong with asking for a signed token in this way, whatever the claim."""
    if state.token_keys.present is None:
        raise NotAllowed("this member has no key to sign tokens with")
    if not client.session:
        raise SessionRequired("this connection has no session, and so no claim whose token could be signed")
    if frame.mode != ReadMode.LINEARIZABLE:
        raise InvalidRequest("a token is signed by a linearizable read only (mode 0)")


def usable_key(state: ReplicaState) -> Signer | None:
    """The key to sign with at the state that is applied now; ``None``: none is in the tree."""
    znodes = state.store.tree.znodes
    return state.token_keys.turn(
        lambda key: join(TOKEN_KEYS, key) in znodes, state.now_ms, state.settings.token_key_lead_ms
    )


def sign_token(state: ReplicaState, client: Connection, signer: Signer, op: Row) -> str:
    """The text. Raises :class:`NotHeld` (refused)."""
    _, number, ttl_ms = op
    store = state.store
    claim = store.claims.by_number.get(number)
    if claim is None or claim[SESSION] != client.session or not claim[TOKEN]:
        raise NotHeld(
            f"claim {number} is not, or is no longer, held by this session: there is no token of it to sign",
            {"number": number},
        )
    session = store.sessions[client.session]
    lasts_ms = ttl_ms or min(session.timeout_ms, TOKEN_TTL_MAX_MS)
    signed = to_be_signed(
        signer.key,
        state.who.cluster,
        claim[PATH],
        Token(store.incarnation, claim[TOKEN]),
        session.id,
        session.client,
        state.wall_ms // 1000,
        -(-(state.wall_ms + lasts_ms) // 1000),
    )
    return signed_text(signed, signer.sign(signed))


def tick(state: ReplicaState) -> None:
    """See that this member's key is in the tree, if keys are wanted, and that it is as new as was asked for."""
    keys = state.token_keys
    newest = keys.newest
    generation = key_generation(state.store.tree)
    if newest is None or (generation is None and not keys.waiting):
        return
    if newest.generation < (generation or 0):
        if keys.asks(generation or 0, state.ticks):
            state.outputs.key_wanted = generation
    elif join(TOKEN_KEYS, newest.key) not in state.store.tree.znodes and keys.proposed != newest.key:
        keys.proposed = newest.key
        retire_ms = state.settings.token_key_lead_ms + TOKEN_TTL_MAX_MS + SKEW_MS
        command = (
            PUT_TOKEN_KEY, state.who.member, newest.key, newest.value, newest.generation, retire_ms,
        )  # fmt: skip
        state.proposals.add((PUT_TOKEN_KEY, newest.generation), 0, encode_command(command))
    _look(state)


def applied(state: ReplicaState, member: int, generation: int) -> None:
    """A member's key was put into the tree, or was found to be too old for it."""
    keys = state.token_keys
    if member == state.who.member and state.proposals.applied((PUT_TOKEN_KEY, generation), 0):
        made_progress(state)
        keys.proposed = ""  # also if this was another one's time: it is proposed again, should it be missing
    _look(state)


def _look(state: ReplicaState) -> None:
    """Is it time for the next key? Can those who wait for one be served?"""
    keys = state.token_keys
    if (keys.next is not None or keys.waiting) and usable_key(state) is not None:
        state.due += keys.take_waiting()
