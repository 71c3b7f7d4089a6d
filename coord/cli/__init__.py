"""The command line. ``main`` is the ``coord`` command."""

import sys
from io import TextIOWrapper


def main() -> None:
    """The ``coord`` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a terminal that cannot show a character shows its number
    try:
        # Here, and not above: Ctrl-C also comes while a second's worth of modules is imported.
        from coord.cli.app import main as begin

        begin()
    except KeyboardInterrupt:
        sys.exit(130)


__all__ = ["main"]
