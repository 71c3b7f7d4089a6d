"""The way to a violation, walked once more: on members of its own, with nothing looked up, step by step."""

from typing import Any

from coord.api.checks import InvariantViolation
from coord.jepsen_like.scope.clone import clone
from coord.jepsen_like.scope.explorer import Step
from coord.jepsen_like.scope.model import Broken, M, System


class Impossible(ValueError):
    """The story has a step that the system does not offer: it is not this scope's."""


def tell(system: System[M], story: list[Step]) -> tuple[list[str], Broken | None]:
    """Numbered lines, and the promise that the last step breaks (None: it breaks none).

    An independent run: the real members are stepped one after another, without clones that are shared between branches
    and without looked-up results. What breaks there breaks here, or the explorer is wrong.
    """
    members, messages, memory, bounds = system.begin()
    sent = list(messages)
    lines = [f"     member {place + 1}: {system.picture(member)}" for place, member in enumerate(members)]
    for count, (number, action) in enumerate([(step.member, step.action) for step in story], start=1):
        member = members[number - 1]
        if action.kind == "deliver":
            _must_be_sent(sent, number, action.detail)
        else:
            offered = dict(system.choices(number, member, bounds))
            if action not in offered:
                raise Impossible(f"{count}. {action}")
            bounds = offered[action]
        before = clone(member)
        lines.append(f"{count:3d}. member {number} {system.describe(action)}")
        try:
            effects = system.act(member, action)
            sent += [(number, to, message) for to, message in effects.messages]
            if effects.events:
                memory = system.judge(memory, members, number, before, effects.events)
        except Broken as broken:
            return [*lines, f"     => {broken}"], broken
        except InvariantViolation as violation:
            own_check = Broken("the core's own checks", str(violation))
            return [*lines, f"     => {own_check}"], own_check
        lines.append(f"     {system.picture(member)}")
    return lines, None


def _must_be_sent(sent: list[tuple[int, int, Any]], number: int, detail: tuple[Any, ...]) -> None:
    sender, message = detail[:2]
    for each in sent:
        if each[:2] == (sender, number) and type(each[2]) is type(message) and each[2] == message:
            return
    raise Impossible(f"{message} was never sent from {sender} to {number}")
