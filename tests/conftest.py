"""For all tests."""

import signal


def pytest_configure() -> None:
    """Ctrl-C is heeded, also where the tests were started in the background, by a shell that has it ignored there."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
