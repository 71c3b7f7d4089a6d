"""The table of znodes is a dict by path to all who use it."""

import random

import pytest

from coord.store.znode import Znode, new_znode
from coord.store.znodes import Znodes


def znode(number: int) -> Znode:
    return new_znode(b"", number, 0)


def test_it_is_a_dict_by_path() -> None:
    dice, table = random.Random(1), Znodes()
    model: dict[str, Znode] = {}
    for number in range(3_000):
        path = f"/{dice.randrange(300)}"
        assert (path in table, table.get(path)) == (path in model, model.get(path))
        if path not in model:
            with pytest.raises(KeyError):
                table[path]
            with pytest.raises(KeyError):
                table.remove(path)
            table.add(path, znode(number))
            model[path] = znode(number)
        elif dice.random() < 0.5:
            table.replace(path, znode(number))
            model[path] = znode(number)
        else:
            assert table[path] == model.pop(path)
            table.remove(path)
        assert len(table) == len(model)
    assert list(table.items()) == sorted(model.items())
    more = {f"/{number}": znode(number) for number in range(150, 400)}
    table.put_all(more.items())
    assert table == model | more
    assert len(table) == len(model | more)


def test_no_part_is_a_table_of_all() -> None:
    table = Znodes()
    table.put_all((f"/jobs/{number:08}/config", znode(1)) for number in range(50_000))
    assert max(len(part) for part in table._parts) < 50_000 / len(table._parts) * 2


def test_the_paths_of_a_part_are_sought_all_over_it() -> None:
    """A dict begins to look where the lowest bits of a hash say. Were they the same for all that are in one part, each
    look-up would come by others first, and take two to three times as long."""
    table = Znodes()
    table.put_all((f"/jobs/{number:08}", znode(1)) for number in range(50_000))
    assert all(len({hash(path) % 1024 for path in part}) > 900 for part in table._parts)
