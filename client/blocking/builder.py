"""A multi, written down step by step: ``client.when(…).then.set(…).create(…).otherwise.get(…).commit()``."""

from collections.abc import Callable
from typing import cast

from coord.api.ops import Compare
from coord.api.results import MultiResult
from coord.client.builder import Branch as AsyncBranch
from coord.client.builder import Conditions as AsyncConditions
from coord.client.builder import Send

# Nobody takes a builder for its base class, which is here for its ops: so only `commit` has to be another.


class Conditions(AsyncConditions):
    """What has to hold; ``then`` and ``otherwise`` begin what is done about it."""

    def __init__(self, multi: Callable[..., MultiResult], compare: tuple[Compare, ...]) -> None:
        super().__init__(cast(Send, multi), compare)
        self._multi = multi

    @property
    def then(self) -> "Branch":
        """The ops that are done if all conditions hold."""
        return Branch(self, self._then)

    @property
    def otherwise(self) -> "Branch":
        """The ops that are done if one of them does not."""
        return Branch(self, self._otherwise)

    def commit(self, *, deadline: float | None = None) -> MultiResult:  # type: ignore[override]
        """Send it: one branch is done whole, at one revision, or refused whole, with the error of one of its ops.

        ``MultiResult.succeeded`` says which branch it was, ``results`` has the result of each of its ops.
        """
        return self._multi(self._compare, self._then, self._otherwise, deadline=deadline)


class Branch(AsyncBranch):
    """One of the two branches. Each op is added to it, and the branch returned: so they can be chained, or added
    in a loop. The ops take what the client's methods of the same names take.
    """

    _conditions: Conditions

    @property
    def then(self) -> "Branch":
        """Go on with what is done if all conditions hold."""
        return self._conditions.then

    @property
    def otherwise(self) -> "Branch":
        """Go on with what is done if one of them does not."""
        return self._conditions.otherwise

    def commit(self, *, deadline: float | None = None) -> MultiResult:  # type: ignore[override]
        """Send both branches; see :meth:`Conditions.commit`."""
        return self._conditions.commit(deadline=deadline)
