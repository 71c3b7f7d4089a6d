"""Small scopes are complete and sound, and the parts that judge them are right."""

import os
import subprocess
import sys
from dataclasses import replace
from random import Random

import pytest
from typer.testing import CliRunner

from coord.jepsen_like.scope import member as member_module
from coord.jepsen_like.scope.bounds import CoreScope, CoreSystem
from coord.jepsen_like.scope.canonical import canonical
from coord.jepsen_like.scope.cli import app
from coord.jepsen_like.scope.clone import clone
from coord.jepsen_like.scope.leases import LeaseScope
from coord.jepsen_like.scope.member import CoreMember
from coord.jepsen_like.scope.model import Action, Broken
from coord.jepsen_like.scope.properties import Judge, Memory, is_quorum, quorums_intersect
from coord.jepsen_like.scope.running import explore
from coord.jepsen_like.scope.scopes import CRASH, ELECTION, LARGE_SCOPES, LEASES, PRE_VOTE, READ_INDEX, SCOPES
from coord.raft.settings import RaftSettings
from coord.raft.types import Configuration, Entry, HardState

SMALL_ELECTION = replace(ELECTION, terms=1)


@pytest.mark.parametrize(
    "scope",
    [
        SMALL_ELECTION,
        replace(CRASH, terms=1),
        replace(PRE_VOTE, counts={}),
        replace(READ_INDEX, keeps_opening_messages=False, counts={"read": 1}),
        replace(LEASES, terms=1),
    ],
    ids=lambda scope: scope.name,
)
def test_everything_within_a_small_scope_keeps_every_promise(scope: CoreScope | LeaseScope) -> None:
    verdict = explore(scope).verdict
    assert verdict.ok, verdict
    assert verdict.states > 20


def test_names_are_unique_and_ci_runs_what_is_stated() -> None:
    assert not SCOPES.keys() & LARGE_SCOPES.keys()
    assert all(name == scope.name for name, scope in {**SCOPES, **LARGE_SCOPES}.items())


def test_a_limit_leaves_it_incomplete_and_not_ok() -> None:
    verdict = explore(CRASH, limit=50).verdict
    assert not verdict.complete
    assert not verdict.ok


# -- the parts ----------------------------------------------------------------------------------------------------


def test_quorums_by_hand() -> None:
    three, joined = Configuration((1, 2, 3)), Configuration((2, 3, 4), (1, 2, 3))
    assert is_quorum(three, {1, 2})
    assert not is_quorum(three, {1, 4})
    assert not is_quorum(Configuration((1, 2)), {1})
    assert is_quorum(joined, {2, 3})
    assert not is_quorum(joined, {1, 2})
    assert quorums_intersect(three, joined)
    assert quorums_intersect(three, Configuration((1, 2, 3, 4)))
    assert not quorums_intersect(three, Configuration((1, 4, 5)))


def test_logs_that_share_a_name_and_differ_below_it_do_not_match() -> None:
    settings = RaftSettings(2, 1)
    members = [CoreMember(number, Configuration((1, 2, 3)), settings) for number in (1, 2)]
    for number, first in ((1, b"x"), (2, b"y")):
        disk = members[number - 1].disk
        disk.entries = [Entry(1, 1, 0, first), Entry(2, 2, 0, b"z")]
        disk.hard_state = HardState(2, 0)
        members[number - 1]._start(settings)
    with pytest.raises(Broken, match="log matching"):
        Judge(False).judge(Memory(), members, 1, members[0], [("log",)])


def test_what_the_normal_form_rewrites_changes_nothing_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same walk with and without it: the same messages, up to repetition, and the same state in the end."""
    system = CoreSystem(CRASH)
    true_normalise = member_module.normalise
    for seed in range(10):
        dice = Random(seed)
        members, _, _, bounds = system.begin()
        raw = [clone(member) for member in members]
        sent: list[tuple[int, int, object]] = []
        for _ in range(80):
            number = dice.randint(1, 3)
            letters = [letter for letter in sent if letter[1] == number]
            choices = list(system.choices(number, members[number - 1], bounds))
            if letters and dice.random() < 0.7:
                action = Action("deliver", dice.choice(letters)[::2])
            elif choices:
                action, bounds = dice.choice(choices)
            else:
                continue
            effects = system.act(members[number - 1], action)
            monkeypatch.setattr(member_module, "normalise", lambda *_: None)
            raw_effects = system.act(raw[number - 1], action)
            monkeypatch.setattr(member_module, "normalise", true_normalise)
            assert {repr(each) for each in effects.messages} == {repr(each) for each in raw_effects.messages}
            assert effects.events == raw_effects.events
            sent += [(number, to, message) for to, message in effects.messages]
            true_form = clone(raw[number - 1])
            true_normalise(true_form.raft, true_form.disk, 0, False, False)
            assert canonical(true_form) == canonical(members[number - 1])


@pytest.mark.processes
def test_an_exploration_is_the_same_in_every_process() -> None:
    code = (
        "from coord.jepsen_like.scope.running import explore\n"
        "from coord.jepsen_like.scope.scopes import CRASH, LEASES\n"
        "for scope in (CRASH, LEASES):\n"
        "    facts = explore(scope, 1500).facts()\n"
        "    del facts['cpu_s']\n"
        "    print(facts)\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert said[0] == said[1] != ""


def test_the_command_says_what_it_explored_and_fails_when_it_is_incomplete() -> None:
    runner = CliRunner()
    done = runner.invoke(app, ["--name", "read-index", "--limit", "30"])
    assert done.exit_code == 1
    assert "read-index: INCOMPLETE" in done.output
    assert runner.invoke(app, ["--name", "nonsense"]).exit_code == 2
    done = runner.invoke(app, ["--large", "--name", "membership-three-terms", "--limit", "30"])
    assert done.exit_code == 0
    assert "INCOMPLETE" in done.output
    done = runner.invoke(app, ["--name", "read-index", "--limit", "30", "--json"])
    assert '"complete": false' in done.output
