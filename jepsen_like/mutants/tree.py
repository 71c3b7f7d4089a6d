"""Copies of the tree, with a mutant's patch in them."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from coord.jepsen_like.mutants.mutant import HERE

ROOT: Final = HERE.parents[1]
"""The project's folder: of this very source."""

NEEDED: Final = ("coord", "client", "recipes", "jepsen_like", "tests", "pyproject.toml")

_LEFT_OUT: Final = shutil.ignore_patterns(".*")
"""Compiled files stay: times are copied, so they are good, but for what the patch then changes."""


class DoesNotApply(Exception):
    """The code has moved; the text names the patch."""


def copy_tree(tree: Path, to: Path) -> None:
    """Copy what finders need of ``tree`` to ``to``, a folder that is not there. The links within stay relative, so they
    lead to the copy.

    Raises: FileNotFoundError when ``tree`` lacks something (what is installed has no tests, for instance).
    """
    to.mkdir()
    for name in NEEDED:
        source = tree / name
        if source.is_dir():
            shutil.copytree(source, to / name, symlinks=True, ignore=_LEFT_OUT)
        else:
            shutil.copy2(source, to / name)


def apply_patch(patch: Path, tree: Path, *, only_check: bool = False) -> None:
    """Apply ``patch`` to ``tree``. Raises :class:`DoesNotApply`."""
    command = ["git", "apply", "-p1", *(["--check"] if only_check else []), str(patch)]
    # Were the tree inside somebody's repository, git would take the paths from there, and change nothing.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DoesNotApply(f"{patch.name} does not apply any more, refresh it: {done.stderr.strip()}")
