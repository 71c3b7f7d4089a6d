"""Values of a model, and the bytes that stand for them in the tree: JSON, checked in both directions."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError
from pydantic_core import PydanticSerializationError

from coord.client import CoordError, InvalidRequest

T = TypeVar("T")


class BadValue(CoordError):
    """A value that is not of the model; ``details["problems"]`` says what is wrong, each with its place."""

    slug = "bad_value"


@dataclass(frozen=True, slots=True)
class Published(Generic[T]):
    """A value, as it was found or published."""

    value: T
    version: int
    """To publish on condition of; -1: there is none, and this is the default."""
    revision: int
    """The store's when it was published; tells it in the history. Of a default: when there was none any more, or 0."""


class Typed(Generic[T]):
    """What ``model`` says of the values at ``path``."""

    def __init__(self, path: str, model: type[T]) -> None:
        self._path = path
        try:
            self._adapter: TypeAdapter[T] = TypeAdapter(model)
        except PydanticSchemaGenerationError as error:
            raise InvalidRequest(
                f"a config's model is a pydantic model, or another type that pydantic can validate; not {model!r:.60}: "
                f"{error.message.splitlines()[0]}"
            ) from error

    def encode(self, value: T | dict[str, Any]) -> tuple[bytes, T]:
        """The bytes, and the value as those who read them will have it: a model that was changed after its making
        may be none any more. Raises :class:`BadValue` (refused).
        """
        try:
            data = self._adapter.dump_json(self._adapter.validate_python(value), warnings="error")
            return data, self._adapter.validate_json(data)
        except ValidationError as error:
            raise self._bad(error, "is not published") from None
        except (PydanticSerializationError, ValueError, TypeError) as error:
            raise BadValue(
                f"a value of {self._path!r:.80} is not published: {error}", {"problems": [str(error)]}
            ) from None

    def decode(self, data: bytes, version: int, revision: int) -> Published[T]:
        """Raises :class:`BadValue` (refused)."""
        try:
            return Published(self._adapter.validate_json(data), version, revision)
        except ValidationError as error:
            raise self._bad(error, f"published at revision {revision} is not used") from None

    def _bad(self, error: ValidationError, what: str) -> BadValue:
        problems = [
            f"{'.'.join(map(str, each['loc'])) or 'the whole'}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False)
        ]
        return BadValue(
            f"a value of {self._path!r:.80} {what}: {'; '.join(problems)}",
            {"path": self._path, "problems": problems},
        )
