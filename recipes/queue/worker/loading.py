"""``module:app`` → the app. What is wrong with it is said so that whoever wrote it can see what would be right."""

import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import TypeVar

from coord.client import InvalidRequest

T = TypeVar("T")


class BrokenModule(InvalidRequest):
    """The user's own module raised while it was imported; ``__cause__`` has its traceback."""


def load(spec: str, kind: type[T]) -> T:
    """The ``kind`` of object that ``spec`` names: ``"shop.tasks:app"``, or ``"shop.tasks"`` where only one is in it.

    Modules are looked for in the current folder, too. Raises :class:`InvalidRequest` (refused).
    """
    name, _, attribute = spec.partition(":")
    if not name or not all(part.isidentifier() for part in name.split(".")):
        raise InvalidRequest(
            f"{spec!r:.80} is no place of an app: write module:app, as in shop.tasks:app for `app` in shop/tasks.py"
        )
    module = _module(name)
    if not attribute:
        return _only_one(module, kind)
    found: object = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise InvalidRequest(f"module {name!r} has no {attribute!r}{_there_is(module, kind)}")
        found = getattr(found, part)
    if not isinstance(found, kind):
        raise InvalidRequest(
            f"{spec!r} is a {type(found).__name__}, and not an {kind.__name__}{_there_is(module, kind)}"
        )
    return found


def _module(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise _broken(name, error) from error  # it is there, and misses another one
        raise InvalidRequest(
            f"there is no module {error.name!r} in {here} or among what is installed; "
            "run it where the module is, or set PYTHONPATH"
        ) from None
    except (Exception, SystemExit) as error:
        raise _broken(name, error) from error


def _broken(name: str, error: BaseException) -> BrokenModule:
    return BrokenModule(f"module {name!r} can't be imported: {type(error).__name__}: {error}")


def _only_one(module: ModuleType, kind: type[T]) -> T:
    found = _all(module, kind)
    if not found:
        raise InvalidRequest(f"there is no {kind.__name__} in module {module.__name__!r}")
    if len(found) > 1:
        raise InvalidRequest(
            f"module {module.__name__!r} has {len(found)} {kind.__name__}s; say which: "
            f"{module.__name__}:{next(iter(found))}"
        )
    return next(iter(found.values()))


def _all(module: ModuleType, kind: type[T]) -> dict[str, T]:
    return {name: value for name, value in vars(module).items() if isinstance(value, kind)}


def _there_is(module: ModuleType, kind: type[T]) -> str:
    found = sorted(_all(module, kind))
    if not found:
        return f"; there is no {kind.__name__} in it"
    return f"; there is {', '.join(f'{module.__name__}:{name}' for name in found)}"
