"""``module:app``, right and wrong."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coord.client import InvalidRequest
from coord.recipes.queue.worker.loading import BrokenModule, load


class App:
    """Whatever is loaded: the loader does not mind."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def written(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"from {__name__} import App\n{text}\n")


def refusal(spec: str) -> str:
    with pytest.raises(InvalidRequest) as caught:
        load(spec, App)
    assert caught.value.outcome == "refused"
    return caught.value.message


def test_what_is_there_is_found(folder: Path) -> None:
    (folder / "shop_w").mkdir()
    written(folder / "shop_w", "tasks.py", "app = App()\nclass Box:\n    inner = App()\n")
    written(folder, "only_w.py", "made = App()\n")
    assert isinstance(load("shop_w.tasks:app", App), App)
    assert isinstance(load("shop_w.tasks:Box.inner", App), App)
    assert isinstance(load("only_w", App), App)


def test_what_is_wrong_is_said(folder: Path) -> None:
    written(folder, "two_w.py", "a = App()\nb = App()\nc = 3\n")
    written(folder, "none_w.py", "")
    assert "write module:app" in refusal("a/b.py:app")
    assert "write module:app" in refusal("")
    assert "no module 'nowhere_w'" in refusal("nowhere_w:app")
    assert "no module 'two_w.sub'" in refusal("two_w.sub:app") or "two_w" in refusal("two_w.sub:app")
    assert "has no 'app'; there is two_w:a, two_w:b" in refusal("two_w:app")
    assert "is a int, and not an App; there is two_w:a" in refusal("two_w:c")
    assert "has 2 Apps; say which: two_w:a" in refusal("two_w")
    assert "there is no App in it" in refusal("none_w:app")
    assert "there is no App in module 'none_w'" in refusal("none_w")


def test_a_module_that_fails_by_itself_says_so_with_its_traceback(folder: Path) -> None:
    written(folder, "broken_w.py", "import not_there_w\n")
    written(folder, "raising_w.py", "1 / 0\n")
    written(folder, "leaving_w.py", "raise SystemExit(3)\n")
    for name, kind in (
        ("broken_w", ModuleNotFoundError),
        ("raising_w", ZeroDivisionError),
        ("leaving_w", SystemExit),
    ):
        with pytest.raises(BrokenModule) as caught:
            load(f"{name}:app", App)
        assert name in caught.value.message
        assert isinstance(caught.value.__cause__, kind)
