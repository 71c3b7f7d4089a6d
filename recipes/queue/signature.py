"""A function's parameters and result, as JSON that is checked on both sides. Pure.

Arguments stand by name: a parameter that is added with a default makes no task that waits invalid. Bytes are base64.
Nothing is ever unpickled.
"""

import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, get_type_hints

from pydantic import (
    ConfigDict,
    Field,
    PydanticSchemaGenerationError,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic_core import PydanticSerializationError

from coord.client import CoordError, InvalidRequest
from coord.recipes.queue.errors import TooLarge
from coord.recipes.queue.record import Passes

BYTES_MAX: Final = 64 * 1024
"""Of one task's arguments, and of one result. They are kept in the memory of all members."""

_CONFIG: Final = ConfigDict(
    extra="forbid",
    ser_json_bytes="base64",
    val_json_bytes="base64",
    ser_json_inf_nan="strings",
    arbitrary_types_allowed=False,
    protected_namespaces=(),
)


class BadArguments(CoordError):
    """Arguments, or a result, that are not of the declared types; ``details["problems"]`` says what is wrong."""

    slug = "bad_arguments"


class Signature:
    """What ``function`` takes and returns."""

    def __init__(self, name: str, function: Callable[..., Any], bytes_max: int = BYTES_MAX) -> None:
        self._name = name
        self._bytes_max = bytes_max
        self._signature = inspect.signature(function)
        try:
            hints = get_type_hints(function, include_extras=True)
        except Exception as error:  # whatever evaluating an annotation may raise
            raise InvalidRequest(f"the annotations of {name} cannot be evaluated: {error!r:.200}") from error
        fields: dict[str, Any] = {}
        self._optional: set[str] = set()
        for n, (key, parameter) in enumerate(self._signature.parameters.items()):
            kind = hints.get(key, Any)
            if parameter.kind is parameter.VAR_POSITIONAL:
                kind, needed = list[kind], False  # type: ignore[valid-type]
            elif parameter.kind is parameter.VAR_KEYWORD:
                kind, needed = dict[str, kind], False  # type: ignore[valid-type]
            else:
                needed = parameter.default is parameter.empty
            # The model's own names are p0, p1, …: a parameter may be called `copy`, `json` or `_x`. What is not given
            # is not written: the function's own default counts where it runs.
            fields[f"p{n}"] = (kind, Field(alias=key) if needed else Field(default=None, alias=key))
        self._names = dict(zip(fields, self._signature.parameters, strict=True))
        returns = hints.get("return", Any)
        try:
            self._arguments: TypeAdapter[Any] = TypeAdapter(create_model(name, __config__=_CONFIG, **fields))
            self._result: TypeAdapter[Any] = _adapter(returns)
        except (PydanticSchemaGenerationError, PydanticUserError, TypeError) as error:
            raise InvalidRequest(
                f"{name} has a parameter, or a result, that JSON cannot hold: {str(error).splitlines()[0]:.300}"
            ) from None
        positional = [
            key
            for key, parameter in self._signature.parameters.items()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
        self.first = positional[0] if positional else None
        """The parameter that takes what is passed on from another task."""
        self._fields = fields

    @cached_property
    def _rest(self) -> TypeAdapter[Any]:
        """All arguments but the first, which is not there yet."""
        fields = {key: field for key, field in self._fields.items() if self._names[key] != self.first}
        return TypeAdapter(create_model(self._name, __config__=_CONFIG, **fields))

    # --- arguments ---

    def encode(self, args: Sequence[Any], kwargs: Mapping[str, Any], passes: Passes = "none") -> bytes:
        """The arguments of one call; where something is ``passed`` on, without the first. Raises
        :class:`BadArguments` and :class:`TooLarge` (refused).
        """
        if passes != "none":
            if self.first is None:
                raise BadArguments(
                    f"{self._name} takes no argument, so no result can be passed on to it; say .ignoring_inputs()",
                    {"problems": []},
                )
            args = (None, *args)
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise BadArguments(f"{self._name}: {error}", {"problems": [str(error)]}) from None
        given = dict(bound.arguments)
        adapter = self._arguments
        if passes != "none":
            given.pop(self.first or "", None)
            adapter = self._rest
        try:
            model = adapter.validate_python(given)
            data = adapter.dump_json(model, by_alias=True, exclude_unset=True, warnings="error")
        except ValidationError as error:
            raise self._bad(error, "is not enqueued") from None
        except (PydanticSerializationError, ValueError, TypeError) as error:
            raise BadArguments(f"{self._name} is not enqueued: {error}", {"problems": [str(error)]}) from None
        if len(data) > self._bytes_max:
            raise TooLarge(
                f"the arguments of {self._name} have {len(data)} bytes; a task has {self._bytes_max} at most. Put what "
                "is large elsewhere (a file, an object store, a table) and pass where it is",
                {"limit": "arguments", "maximum": self._bytes_max},
            )
        return data

    def decode(
        self, arguments: bytes, passes: Passes = "none", inputs: Sequence[bytes] = ()
    ) -> inspect.BoundArguments:
        """The arguments for the call; ``inputs``: the results that are passed on, as JSON. Raises
        :class:`BadArguments` (refused).
        """
        if passes != "none":
            whole = b"[" + b",".join(inputs) + b"]" if passes == "all" else b"".join(inputs[:1])
            head = self._json_name(self.first or "") + b":" + whole
            rest = arguments.strip()[1:]
            arguments = b"{" + head + (b"," if rest.strip() != b"}" else b"") + rest
        try:
            model = self._arguments.validate_json(arguments)
        except ValidationError as error:
            raise self._bad(error, "is not run") from None
        bound = inspect.BoundArguments(self._signature, OrderedDict())
        for field, key in self._names.items():
            if field in model.model_fields_set:
                bound.arguments[key] = getattr(model, field)
        return bound

    # --- results ---

    def encode_result(self, value: Any) -> bytes:
        """Raises :class:`BadArguments` and :class:`TooLarge` (refused)."""
        try:
            data = self._result.dump_json(self._result.validate_python(value), warnings="error")
        except ValidationError as error:
            raise self._bad(error, "has returned what it is not declared to") from None
        except (PydanticSerializationError, ValueError, TypeError) as error:
            raise BadArguments(
                f"what {self._name} has returned cannot be JSON: {error}", {"problems": [str(error)]}
            ) from None
        if len(data) > self._bytes_max:
            raise TooLarge(
                f"what {self._name} has returned has {len(data)} bytes; a result has {self._bytes_max} at most. Put it "
                "elsewhere, and return where it is",
                {"limit": "result", "maximum": self._bytes_max},
            )
        return data

    def decode_result(self, data: bytes) -> Any:
        """Raises :class:`BadArguments` (refused)."""
        try:
            return self._result.validate_json(data)
        except ValidationError as error:
            raise self._bad(error, "has a result of another type") from None

    # --- inside ---

    def _json_name(self, name: str) -> bytes:
        return _NAME.dump_json(name)

    def _bad(self, error: ValidationError, what: str) -> BadArguments:
        problems = [
            f"{'.'.join(map(str, each['loc'])) or 'the value'}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False)
        ]
        return BadArguments(f"{self._name} {what}: {'; '.join(problems)}", {"problems": problems})


_NAME: Final = TypeAdapter(str)


def _adapter(kind: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(kind, config=_RESULT)
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
        return TypeAdapter(kind)  # a model, which says itself how it is written


_RESULT: Final = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings")
