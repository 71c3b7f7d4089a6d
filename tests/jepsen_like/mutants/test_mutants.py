"""The seeded bugs: all fit the present tree, their headers can be read, and one is really found."""

from pathlib import Path

import pytest

from coord.jepsen_like.mutants import hunt as hunting
from coord.jepsen_like.mutants.finding import Finding
from coord.jepsen_like.mutants.hunt import FinderFailed, Hunt, run_finder
from coord.jepsen_like.mutants.mutant import (
    FRESH_FROM,
    Finder,
    Malformed,
    Mutant,
    all_mutants,
    finder_of,
    read_mutant,
    record_finder,
)
from coord.jepsen_like.mutants.tree import ROOT, DoesNotApply, apply_patch, copy_tree
from coord.jepsen_like.scope.scopes import SCOPES
from coord.jepsen_like.sim.kinds import RECIPES_FROM
from coord.jepsen_like.sim.world import World, override

SAMPLE = "17-"
"""A cheap one, that only a checker of histories finds. `make test` plants more, others for each commit."""


def test_there_are_enough_of_them() -> None:
    assert len(all_mutants()) >= 36


@pytest.mark.parametrize("mutant", all_mutants(), ids=lambda mutant: mutant.name)
def test_each_fits_the_tree_and_its_finder_exists(mutant: Mutant) -> None:
    apply_patch(mutant.path, ROOT, only_check=True)
    finder = mutant.finder
    if finder.kind == "sim":
        assert finder.last is not None
        override(World(), dict(finder.settings))
    elif finder.kind == "scope":
        assert finder.target in SCOPES
    else:
        assert (ROOT / finder.target.partition("::")[0]).is_file()
    changed = [line for line in mutant.path.read_text().splitlines() if line.startswith("+++ ")]
    assert all(line.startswith(("+++ b/coord/", "+++ b/client/", "+++ b/recipes/")) for line in changed), (
        "bugs are the product's"
    )


@pytest.mark.parametrize("text", ["sim seeds=3..9 --set voters=5 --set 'workload=mixed'", "scope crash"])
def test_a_finder_reads_what_it_writes(text: str) -> None:
    assert finder_of(str(finder_of(text))) == finder_of(text)


@pytest.mark.parametrize(
    "text", ["luck", "sim", "sim 3", "sim seeds=x..y", "sim seeds=1..2 --set voters", "scope"]
)
def test_a_finder_that_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        finder_of(text)


def test_fresh_seeds_draw_worlds_of_all_kinds() -> None:
    assert FRESH_FROM == RECIPES_FROM


def test_what_is_quick() -> None:
    texts = (
        "pytest tests/x.py::y",
        "sim seeds=3..9",
        "scope sole",
        "sim seeds=1000016..1000016",
        "sim seeds=5..",
    )
    assert [finder_of(text).is_quick for text in texts] == [True, True, False, False, False]
    assert sum(mutant.finder.is_quick for mutant in all_mutants()) > 100


def test_a_malformed_patch_is_named(tmp_path: Path) -> None:
    patch = tmp_path / "99-odd.patch"
    patch.write_text("Breaks much.\nfound-by: luck\n--- a/x\n+++ b/x\n")
    with pytest.raises(Malformed, match=r"99-odd\.patch"):
        read_mutant(patch)
    patch.write_text("Breaks much.\nfound-by: scope crash\n")
    with pytest.raises(Malformed, match=r"99-odd\.patch"):
        read_mutant(patch)


def test_what_found_a_mutant_is_written_into_its_patch(tmp_path: Path) -> None:
    patch = tmp_path / "13-copy.patch"
    (original,) = all_mutants(["13-"])
    patch.write_text(original.path.read_text())
    record_finder(read_mutant(patch), Finder("sim", "", 7, 7, (("voters", "5"),)))
    again = read_mutant(patch)
    assert again.finder == Finder("sim", "", 7, 7, (("voters", "5"),))
    assert again.what == original.what
    apply_patch(patch, ROOT, only_check=True)


def test_a_patch_that_no_longer_fits_is_named(tmp_path: Path) -> None:
    patch = tmp_path / "99-old.patch"
    patch.write_text(
        "Old.\nfound-by: scope crash\n--- a/coord/limits.py\n+++ b/coord/limits.py\n@@ -1 +1 @@\n-never there\n+x\n"
    )
    with pytest.raises(DoesNotApply, match=r"99-old\.patch"):
        apply_patch(patch, ROOT, only_check=True)


def test_one_is_found(tmp_path: Path) -> None:
    (mutant,) = all_mutants([SAMPLE])
    assert not Hunt(ROOT, tmp_path, 60).hunt(mutant).survived
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clean"]


def test_what_the_clean_tree_has_too_is_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def finds_everywhere(finder: Finder, tree: Path, limit_s: float) -> Finding:
        seed = finder.first if finder.kind == "sim" else None
        return Finding("everything is broken", seed, tried=1, cpu_s=0.4)

    monkeypatch.setattr(hunting, "run_finder", finds_everywhere)
    (mutant,) = all_mutants([SAMPLE])
    hunted = Hunt(ROOT, tmp_path, 2).hunt(mutant)
    assert hunted.survived
    assert "everything is broken" in hunted.void[0]


def test_the_copy_is_what_is_imported(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    copy_tree(ROOT, tree)
    finding = run_finder(Finder("sim", "", 5, 4), tree, 20)  # no seeds: it only tells where it is
    assert finding.tree == str(tree.resolve())
    (tree / "coord" / "__init__.py").rename(tree / "coord" / "gone.py")
    with pytest.raises(FinderFailed, match="imported from"):
        run_finder(Finder("sim", "", 5, 4), tree, 20)


def test_a_finder_that_cannot_run_is_an_error(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    copy_tree(ROOT, tree)
    with pytest.raises(FinderFailed, match="no_such_test"):
        run_finder(Finder("pytest", "tests/no_such_test.py"), tree, 20)
