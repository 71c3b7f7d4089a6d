"""A test of threads that hangs would hang for ever: it is ended, with what every thread was doing."""

import faulthandler
from collections.abc import Iterator

import pytest

HANGS_SECONDS = 120.0
"""Far more than any of these takes. Where it hung is shown with ``pytest -s``."""


@pytest.fixture(autouse=True)
def _watched() -> Iterator[None]:
    faulthandler.dump_traceback_later(HANGS_SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
