"""The command line. ``main`` is the ``coord`` command."""

import sys


def main() -> None:
    """The ``coord`` command."""
    try:
        # Here, and not above: Ctrl-C also comes while a second's worth of modules is imported.
        from coord.cli.app import main as begin

        begin()
    except KeyboardInterrupt:
        sys.exit(130)


__all__ = ["main"]
