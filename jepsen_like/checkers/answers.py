"""Whether what a client was answered is what the model answers."""

from typing import Any

from coord.api.ops import Create, Delete, Exists, Get, List, Multi, Set
from coord.api.results import Created, Deleted, MultiResult, Page, Stat, Written, Znode


def matches(op: Any, answer: Any, result: Any) -> bool:
    """``answer`` is the model's, plain; ``result`` the client's, typed. Wall-clock stamps are not compared."""
    kind = type(op)
    if kind is Set:
        return type(result) is Written and result.version == answer
    if kind is Get:
        return type(result) is Znode and result.value == answer[0] and _same_stat(answer[1], result.stat)
    if kind is Create:
        return type(result) is Created and result.path == answer
    if kind is Delete:
        return type(result) is Deleted and result.count == answer
    if kind is Exists:
        if answer is None or result is None:
            return answer is result
        return type(result) is Stat and _same_stat(answer, result)
    if kind is List:
        return type(result) is Page and _same_page(op, answer, result)
    if kind is not Multi or type(result) is not MultiResult or result.succeeded != answer[0]:
        return False
    branch = op.then if result.succeeded else op.otherwise
    return len(branch) == len(result.results) and all(
        matches(*each) for each in zip(branch, answer[1], result.results, strict=True)
    )


def _same_stat(answer: tuple[Any, ...], stat: Stat) -> bool:
    return (
        answer[0] == stat.created_revision
        and answer[1] == stat.modified_revision
        and answer[3] == stat.version
        and answer[2] == stat.children_revision
        and answer[4] == stat.children_version
        and answer[6] == stat.data_length
        and answer[7] == stat.child_count
        # Who created it with which op is not always known.
        and (answer[8] is None or (answer[5], answer[8], answer[9]) == (stat.owner, stat.kind, stat.ttl_ms))
    )


def _same_page(op: List, answer: tuple[list[tuple[Any, ...]], bool], page: Page) -> bool:
    rows, more = answer
    children = page.children
    if len(children) < len(rows):
        # A page may end early, by its bytes; it must say so, and not be empty.
        if not page.more or not children:
            return False
    elif len(children) > len(rows) or page.more != more:
        return False
    for (name, value, stat), child in zip(rows, children, strict=False):
        if child.name != name or child.value != value or (child.stat is None) is not (stat is None):
            return False
        if stat is not None and child.stat is not None and not _same_stat(stat, child.stat):
            return False
    return True
