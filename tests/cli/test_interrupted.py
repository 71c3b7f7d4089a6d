"""Ctrl-C before a command has begun."""

import subprocess
import sys

RAISE_WHILE_IMPORTING = """
import sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "coord.cli.app":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from coord.cli import main
main()
"""


def test_while_modules_are_imported_it_ends_without_a_word() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", RAISE_WHILE_IMPORTING], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
