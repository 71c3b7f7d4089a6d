"""Exit codes, for scripts, and how an error becomes one."""

from typing import Final

from coord.api.errors import (
    Conflict,
    CoordError,
    DeadlineExceeded,
    Disconnected,
    Exists,
    InvalidRequest,
    NotEmpty,
    NotFound,
    Overloaded,
    SessionEnded,
    StaleToken,
    Unavailable,
)

OK: Final = 0
FAILED: Final = 1
"""Anything without a code of its own."""
USAGE: Final = 2
"""The command line, or the configuration, is wrong."""
NOT_FOUND: Final = 3
CONFLICT: Final = 4
"""The state is another than the one asked for: version, revision, exists already, not empty, a
claim that is another's by now."""
UNAVAILABLE: Final = 5
"""No member answered, no quorum, or not in time. Trying again may help."""
STORAGE: Final = 6
"""A data folder that cannot be used."""
INTERRUPTED: Final = 130
"""Ctrl-C, as shells say it."""

# Those of `coord lock` and `coord elect`, which else end with the code of their command. They are where a shell has its
# own, above what commands use; a command that was ended by a signal counts as 128 and its number, as in a shell.
NOT_ACQUIRED: Final = 124
"""The claim was not granted in time (as `timeout` says it); the command was not run."""
LOST: Final = 125
"""The claim was lost while the command ran; it was ended."""
NOT_EXECUTABLE: Final = 126
NOT_A_COMMAND: Final = 127
SIGNALLED: Final = 128


def exit_code(error: CoordError) -> int:
    """The exit code that tells a script what ``error`` was."""
    if isinstance(error, InvalidRequest):
        return USAGE
    if isinstance(error, NotFound):
        return NOT_FOUND
    if isinstance(error, Conflict | Exists | NotEmpty | StaleToken):
        return CONFLICT
    if isinstance(error, Unavailable | Overloaded | Disconnected | DeadlineExceeded | SessionEnded):
        return UNAVAILABLE
    return FAILED


def first_error(group: BaseExceptionGroup[Exception]) -> CoordError:
    """The first of errors that happened together: one line is what a person can use."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError):
        return CoordError(error.strerror or str(error))
    return error if isinstance(error, CoordError) else CoordError(str(error))
