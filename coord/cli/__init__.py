"""The command line. ``main`` is the ``coord`` command."""

from coord.cli.app import main

__all__ = ["main"]
