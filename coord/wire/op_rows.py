"""Validation of op rows that a client sent: total, and part of decoding them.

A row that passes here cannot make the store do anything but apply or refuse it. Each function raises
:class:`InvalidRequest` or :class:`LimitExceeded` (both refused) for one op; the frame it came in, and
the other ops in it, are not the worse for it.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from coord.api.errors import InvalidRequest, LimitExceeded
from coord.api.ops import (
    CLAIM,
    CLAIM_FIRST,
    CLAIM_INFO,
    CLAIM_SETTINGS,
    CLAIMS,
    CREATE,
    DELETE,
    EXISTS,
    FENCE,
    FENCED_WRITE,
    GET,
    HOLD_BACK,
    LANES,
    LANES_MAX,
    LIST,
    LOG,
    MULTI,
    MULTI_DEPTH,
    RELEASE,
    ROTATE_TOKEN_KEYS,
    SESSIONS,
    SET,
    SIGN_TOKEN,
    STATUS,
    ClaimFirstFlag,
    ClaimFlag,
    CreateFlag,
    DeleteFlag,
    Kind,
    ListFlag,
    Operator,
    ReleaseFlag,
    Row,
    SetFlag,
    Target,
    WatchScope,
)
from coord.api.paths import check_path, is_valid, is_valid_name
from coord.limits import TOKEN_TTL_MAX_MS, MemberLimits

INT_MAX: Final = 2**63 - 1
TTL_MAX_MS: Final = 10 * 365 * 24 * 3_600_000
UNITS_MAX: Final = 2**31 - 1
"""Of a claim, and of a capacity."""
LOCK_DELAY_MAX_MS: Final = 24 * 3_600_000
LANE_NAME_MAX_BYTES: Final = 256
LANE_INTERVAL_MAX_MS: Final = LOCK_DELAY_MAX_MS
TOKENS_MAX: Final = 1_000
"""Presented by one write."""
KEY_NAME_MAX: Final = 100
"""Characters of the name of a key for signed tokens; theirs are about 25."""

_is_valid = lru_cache(maxsize=8192)(is_valid)
"""Clients use the same paths again and again, and the pattern costs three times the look-up."""

_KIND_MAX: Final = max(Kind)
_TARGET_MAX: Final = max(Target)
_OPERATOR_MAX: Final = max(Operator)
"""Once: to look through an enum takes longer than all the rest of a comparison."""


def check_op(op: Any, limits: MemberLimits) -> Row:
    """Return ``op`` if it is a valid row; raise (refused) otherwise."""
    if type(op) is not list or not op or type(op[0]) is not int:
        raise InvalidRequest("an op is a list that starts with its code")
    validator = _VALIDATORS.get(op[0])
    if validator is None:
        raise InvalidRequest(f"there is no op with the code {op[0]}")
    validator(op, limits)
    return op


def _fields(op: list[Any], count: int, what: str) -> None:
    if len(op) != count + 1:
        raise InvalidRequest(f"{what} has {count} fields after its code, not {len(op) - 1}")


def _path(path: Any) -> None:
    if type(path) is not str:
        raise InvalidRequest(f"a path is text, not {type(path).__name__}")
    if not _is_valid(path):
        check_path(path)


def _value(value: Any) -> None:
    if type(value) is not bytes:
        raise InvalidRequest(f"a value is bytes, not {type(value).__name__}")


def check_int(value: Any, low: int, high: int, what: str) -> int:
    """Return ``value`` if it is an int in ``[low, high]``; raise :class:`InvalidRequest` (refused) otherwise."""
    if type(value) is not int or not low <= value <= high:
        raise InvalidRequest(f"{what} is a whole number from {low} to {high}, not {value!r:.40}")
    return value


def _conditions(version: Any, revision: Any) -> None:
    if version is not None:
        check_int(version, 0, INT_MAX, "a version")
    if revision is not None:
        check_int(revision, 0, INT_MAX, "a revision")


def _create(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 5, "create")
    _, path, value, kind, flags, ttl_ms = op
    check_int(flags, 0, CreateFlag.SEQUENTIAL | CreateFlag.PARENTS, "create's flags")
    if flags & CreateFlag.SEQUENTIAL and type(path) is str:
        check_path(f"{path}{0:019d}")  # "/queue/" is a good prefix: the number alone is the name then
    else:
        _path(path)
    _value(value)
    check_int(kind, 0, _KIND_MAX, "a kind of znode")
    if kind == Kind.TTL:
        check_int(ttl_ms, 1, TTL_MAX_MS, "a TTL znode's ttl_ms")
    elif ttl_ms != 0 or type(ttl_ms) is not int:
        raise InvalidRequest("ttl_ms is for TTL znodes; 0 for others")


def _set(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 5, "set")
    _, path, value, version, revision, flags = op
    _path(path)
    _value(value)
    _conditions(version, revision)
    check_int(flags, 0, SetFlag.CREATE | SetFlag.PARENTS, "set's flags")


def _delete(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 4, "delete")
    _, path, version, revision, flags = op
    _path(path)
    _conditions(version, revision)
    check_int(flags, 0, DeleteFlag.SUBTREE | DeleteFlag.MISSING_OK, "delete's flags")


def _get(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 3, "get")
    _path(op[1])
    _conditions(op[2], op[3])


def _exists(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 1, "exists")
    _path(op[1])


def _list(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 4, "list")
    _, path, flags, limit, after = op
    _path(path)
    check_int(flags, 0, ListFlag.VALUES | ListFlag.STATS, "list's flags")
    _page(limit, limits)
    if after is not None and (type(after) is not str or len(after) > 1024):
        raise InvalidRequest("list goes on after a name, or from the start with null")


def _page(limit: Any, limits: MemberLimits) -> None:
    check_int(limit, 1, INT_MAX, "a page's limit")
    if limit > limits.list_page:
        raise LimitExceeded(
            f"a page of {limit}; at most {limits.list_page} (limit list_page): go on after the last name",
            {"limit": "list_page", "maximum": limits.list_page},
        )


def _multi(op: list[Any], limits: MemberLimits, depth: int = 1) -> None:
    if depth > MULTI_DEPTH:
        raise InvalidRequest(f"multis within multis, more than {MULTI_DEPTH} deep")
    _fields(op, 3, "multi")
    _, compare, then, otherwise = op
    if not all(type(part) is list for part in (compare, then, otherwise)):
        raise InvalidRequest("multi has three lists: comparisons, then, else")
    for each in compare:
        _compare(each)
    for position, each in enumerate((*then, *otherwise)):
        if type(each) is not list or not each or type(each[0]) is not int or each[0] not in _IN_MULTI:
            raise InvalidRequest(
                f"op {position} of the multi is none of create, set, delete, get, exists, list, claim, release, "
                "claim_settings, hold_back, lanes, fence, multi"
            )
        if each[0] == MULTI:
            _multi(each, limits, depth + 1)
            continue
        _VALIDATORS[each[0]](each, limits)
        if each[0] == CLAIM and each[2] & ClaimFlag.WAIT:
            raise InvalidRequest(f"op {position} of the multi is a claim that waits: a multi is done at once")


def _compare(row: Any) -> None:
    if type(row) is not list or len(row) != 4:
        raise InvalidRequest("a comparison is [target, path, operator, operand]")
    target, path, operator, operand = row
    check_int(target, 1, _TARGET_MAX, "a comparison's target")
    _path(path)
    check_int(operator, 0, _OPERATOR_MAX, "a comparison's operator")
    if target == Target.VALUE:
        if type(operand) is not bytes:
            raise InvalidRequest("a value is compared with bytes")
    elif target == Target.EXISTS:
        if type(operand) is not bool or operator not in (Operator.EQUAL, Operator.NOT_EQUAL):
            raise InvalidRequest("existence is compared with true or false, for equal or not equal")
    else:
        check_int(operand, 0, INT_MAX, "a comparison's operand")


def _claim(op: list[Any], limits: MemberLimits) -> None:
    if len(op) != 5:  # else without its last field
        _fields(op, 5, "claim")
        check_int(op[5], 0, UNITS_MAX, "the capacity that a claim expects")
    _, path, flags, units, label, *_ = op
    _path(path)
    all_flags = ClaimFlag.WAIT | ClaimFlag.SHARED | ClaimFlag.CREATE | ClaimFlag.PARENTS
    check_int(flags, 0, all_flags, "claim's flags")
    check_int(units, 1, UNITS_MAX, "a claim's units")
    _label(label)


def _claim_first(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 4, "claim_first")
    _, above, count, flags, label = op
    _path(above)
    check_int(count, 1, INT_MAX, "claim_first's count")
    check_int(flags, 0, ClaimFirstFlag.WAIT | ClaimFirstFlag.VALUES, "claim_first's flags")
    _label(label)


def _label(label: Any) -> None:
    if type(label) is not bytes:
        raise InvalidRequest(f"a label is bytes, not {type(label).__name__}")


def _release(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 3, "release")
    _, number, to, flags = op
    check_int(number, 1, INT_MAX, "a claim's number")
    check_int(to, 0, INT_MAX, "a claim's number")
    check_int(flags, 0, ReleaseFlag.FORCE, "release's flags")


def _claim_settings(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 3, "claim_settings")
    _, path, capacity, lock_delay_ms = op
    _path(path)
    check_int(capacity, 1, UNITS_MAX, "a capacity")
    check_int(lock_delay_ms, 0, LOCK_DELAY_MAX_MS, "a lock delay")


def _hold_back(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 2, "hold_back")
    _path(op[1])
    if op[2] is not None:
        check_int(op[2], 0, TTL_MAX_MS, "for how many ms is held back")


def _lanes(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 2, "lanes")
    _, path, lanes = op
    _path(path)
    if type(lanes) is not list or len(lanes) > LANES_MAX:
        raise InvalidRequest(f"a znode has a list of at most {LANES_MAX} lanes")
    names = []
    for lane in lanes:
        if type(lane) is not list or len(lane) != 4:
            raise InvalidRequest("a lane is [name, width, interval_ms, burst]")
        name, width, interval_ms, burst = lane
        if type(name) is not str or not 0 < len(name.encode()) <= LANE_NAME_MAX_BYTES:
            raise InvalidRequest(f"a lane's name is text of 1 to {LANE_NAME_MAX_BYTES} bytes")
        check_int(width, 0, UNITS_MAX, "a lane's width")
        check_int(interval_ms, 0, LANE_INTERVAL_MAX_MS, "a lane's interval_ms")
        check_int(burst, 1, UNITS_MAX, "a lane's burst")
        names.append(name)
    if len(dict.fromkeys(names)) < len(names):
        raise InvalidRequest("a znode has each lane once")


def _fence(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 2, "fence")
    _path(op[1])
    if op[2] is not None:
        _path(op[2])


def _fenced_write(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 2, "fenced")
    _, tokens, inner = op
    if type(tokens) is not list or len(tokens) > TOKENS_MAX:
        raise InvalidRequest(f"the tokens presented are a list of at most {TOKENS_MAX}")
    for token in tokens:
        if type(token) is not list or len(token) != 2:
            raise InvalidRequest("a token is [incarnation, revision]")
        check_int(token[0], 0, INT_MAX, "a token's incarnation")
        check_int(token[1], 0, INT_MAX, "a token's revision")
    if type(inner) is not list or not inner or type(inner[0]) is not int or inner[0] not in _FENCEABLE:
        raise InvalidRequest("tokens are presented with create, set, delete, multi or fence")
    _VALIDATORS[inner[0]](inner, limits)


def _claims(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 5, "claims")
    _, path, scope, session, after, limit = op
    _path(path)
    if type(scope) is not int or scope not in (WatchScope.ZNODE, WatchScope.SUBTREE):
        raise InvalidRequest("claims are listed for a znode (scope 1) or for a subtree (scope 3)")
    if session is not None:
        check_int(session, 0, INT_MAX, "a session")
    if after is not None:
        check_int(after, 0, INT_MAX, "a claim's number")
    _page(limit, limits)


def _claim_info(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 1, "claim_info")
    _path(op[1])


def _sign_token(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 2, "sign_token")
    check_int(op[1], 1, INT_MAX, "a claim's number")
    check_int(op[2], 0, TOKEN_TTL_MAX_MS, "a signed token's ttl_ms")


def _rotate_token_keys(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 1, "rotate_token_keys")
    revoked = op[1]
    if revoked is not None and (
        type(revoked) is not str or len(revoked) > KEY_NAME_MAX or not is_valid_name(revoked)
    ):
        raise InvalidRequest(
            "what is revoked is the name of a key, as it stands below /coord/token-keys, or null"
        )


def _log(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 2, "log")
    if op[1] is not None:
        check_int(op[1], 0, INT_MAX, "a revision")
    _page(op[2], limits)


def _sessions(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 2, "sessions")
    if op[1] is not None:
        check_int(op[1], 0, INT_MAX, "a session")
    _page(op[2], limits)


def _status(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 0, "status")


_VALIDATORS: Final[Mapping[int, Callable[[list[Any], MemberLimits], None]]] = {
    CREATE: _create,
    SET: _set,
    DELETE: _delete,
    GET: _get,
    EXISTS: _exists,
    LIST: _list,
    MULTI: _multi,
    LOG: _log,
    SESSIONS: _sessions,
    STATUS: _status,
    CLAIM: _claim,
    CLAIM_FIRST: _claim_first,
    RELEASE: _release,
    CLAIM_SETTINGS: _claim_settings,
    FENCE: _fence,
    FENCED_WRITE: _fenced_write,
    CLAIMS: _claims,
    CLAIM_INFO: _claim_info,
    HOLD_BACK: _hold_back,
    LANES: _lanes,
    SIGN_TOKEN: _sign_token,
    ROTATE_TOKEN_KEYS: _rotate_token_keys,
}
_IN_MULTI: Final = (
    *(CREATE, SET, DELETE, GET, EXISTS, LIST, MULTI),
    *(CLAIM, RELEASE, CLAIM_SETTINGS, HOLD_BACK, LANES, FENCE),
)
_FENCEABLE: Final = (CREATE, SET, DELETE, MULTI, FENCE)
