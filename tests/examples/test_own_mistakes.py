"""Games, policies and learners of one's own that are given or do something wrong: one sentence, and nothing is left."""

import sys
import textwrap

import jax
import pytest

from experiments.configuration import targets
from experiments.configuration.config import JobConfig
from experiments.launching import compose
from games.errors import TacitError
from games.tabular.library import lever

GAMES = """
    from __future__ import annotations

    import dataclasses
    from collections.abc import Sequence

    from games.tabular.library import lever
    from games.tabular.simulator import Simulator

    def make(bland: float = 0.4, pays: Sequence[float] = (1.0,), deep: bool = False) -> Simulator:
        if bland > 1:
            [][3]
        return lever.make((bland, *pays))

    @dataclasses.dataclass(frozen=True)
    class Mined(Simulator):
        spots: int = 3

        def __init__(self, spots: int = 3) -> None:
            if spots < 0:
                raise ValueError(f"{spots} spots\\nare too few")
            inner = lever.make((1.0,) * spots)
            super().__init__(inner.problem, inner.horizon, "mined")

    class Blind(Mined):
        @property
        def observers(self):
            raise RuntimeError("dark")
"""
OTHERS = """
    import dataclasses
    from typing import Any, NamedTuple

    from marl.learners.ippo import IPPO, Hyperparameters
    from marl.policies.feed_forward import FeedForward

    @dataclasses.dataclass(frozen=True)
    class Gated(FeedForward):
        torso: tuple[int, ...] = (8,)
        width: int = 64
        gain: float = 1.0

    @dataclasses.dataclass(frozen=True)
    class High(IPPO):
        epochs: int = 9
        high: float = 0.3

    class Numbers(NamedTuple):
        learning_rate: Any = 1e-3
        entropy_coef: Any = 0.05
        gamma: Any = 0.99
        gae_lambda: Any = 0.9
        clip: Any = 0.2
        value_coef: Any = 0.5
        max_grad_norm: Any = 0.5
        entropy_coef_final: Any = 0.0
        target_entropy: Any = 0.3
        entropy_learning_rate: Any = 0.1
        floor: Any = 0.1

        def check(self):
            if self.floor > 1:
                raise ValueError("no floor above 1")
            return self

    class Floored(High):
        hyperparameters = Numbers

    class Unchecked(IPPO):
        hyperparameters = int
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The current directory, with modules of the user's own that are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    texts = {"dinner": GAMES, "gated": OTHERS, "broken": "\n\ndef make(:\n", "failing": "x = 1\n1 / 0\n"}
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def line_of(text, words):
    return next(n for n, line in enumerate(textwrap.dedent(text).splitlines(), 1) if words in line)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["game=dinner.make", "bland=abc"], "game.bland must be a number, not 'abc'"),
        (["game=dinner.make", "game.deep=1"], "game.deep must be true or false, not 1"),
        (["game=dinner.Mined", "spots=2.5"], "game.spots must be a whole number, not 2.5"),
        (["policy=gated.Gated", "policy.width=wide"], "policy.width must be a whole number, not 'wide'"),
        (["policy=gated.Gated", "policy.gain=[1,2]"], "policy.gain must be a number, not [1, 2]"),
        (["learner=gated.High", "learner.high=much"], "learner.high must be a number, not 'much'"),
        (["learner=gated.Floored", "learner.floor=[0.1,low]"], "learner.floor must be a number, not 'low'"),
        (
            ["learner=gated.Floored", "learner.high=0", "learner.floor=2"],
            f"ValueError: no floor above 1, gated.py line {line_of(OTHERS, 'no floor')}",
        ),
        (
            ["learner=gated.Unchecked"],
            "learner 'gated.Unchecked' must have as hyperparameters a NamedTuple class with check()",
        ),
        (
            ["game=dinner.make", "bland=3"],
            "game dinner.make(bland=3.0, pays=(1.0,), deep=False): IndexError: list index out of range, dinner.py line "
            f"{line_of(GAMES, '[][3]')}",
        ),
        (
            ["-m", "game=dinner.Mined", "game.spots=3,-2"],
            f"game dinner.Mined(spots=-2): ValueError: -2 spots, dinner.py line {line_of(GAMES, 'raise ValueError')}",
        ),
        (
            ["game=dinner.Blind"],
            f"in observers of game dinner.Blind, dinner.py line {line_of(GAMES, 'dark')}: RuntimeError: dark",
        ),
        (["game=broken.make"], "game 'broken.make' cannot be imported: SyntaxError: invalid syntax, broken.py line 3"),
        (
            ["game=failing.make"],
            "game 'failing.make' cannot be imported: ZeroDivisionError: division by zero, failing.py line 2",
        ),
        (["learner=gated.High", "learner.gamme=1"], "no key 'learner.gamme'; did you mean 'learner.gamma'?"),
        (["policy=gated.Gated", "policy.gamma=1"], "no key 'policy.gamma'; policy has observer, torso, actor, critic,"),
        (["-m", "game=dinner.Mined,dinner.make", "game.spots=3"], "the configuration has no key 'game.spots'\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_one_sentence_before_anything_runs(tacit, own, arguments, says):
    before = set(own.iterdir())
    said = tacit("train", "learner.num_games=8", "budget.steps=1000", "seeds=2", *arguments)
    assert (said.status, said.out) == (2, "")
    assert says in said.err
    assert said.err.count("\n") == 1
    assert {path for path in own.iterdir() if path.name != "__pycache__"} == before


@pytest.mark.slow
def test_an_own_key_is_no_false_friend(tacit, own):
    """A key is suggested if it is spelled nearly like it, of the group that was chosen; else all are listed."""
    said = tacit("config", "game=dinner.make", "levers=3").err
    assert "no key 'levers'; it has game, policy, learner, " in said
    assert said.endswith(", and game has bland, pays, deep\n")
    assert "learner has learning_rate, entropy_coef, " in tacit("config", "learner.grace=3").err


def test_values_are_passed_on_as_they_are_annotated(own):
    plain = compose.compose(["game=dinner.make", "bland=1", "game.pays=[1,0]", "policy=gated.Gated"])
    plain["policy"] |= {"torso": [4.0], "gain": 2}
    (run,) = JobConfig.parse(plain).runs
    policy = run.built.kind.policy
    assert (policy.torso, policy.width) == ((4,), 64)
    assert type(policy.gain) is float
    hash(policy)


@pytest.mark.slow
def test_an_extended_class_begins_with_the_file_of_the_extended_one(own):
    ippo = compose.compose(["learner=ippo"])["learner"]
    assert compose.compose(["learner=gated.High"])["learner"] == {
        **ippo, "_target_": "gated.High", "other_play": False, "epochs": 9, "high": 0.3,
    }  # fmt: skip
    floored = compose.compose(["learner=gated.Floored", "learner.floor=[0.2,0.3]"])["learner"]
    assert (floored["learning_rate"], floored["entropy_coef"], floored["floor"]) == (1e-3, 0.05, [0.2, 0.3])
    gated = compose.compose(["policy=gated.Gated"])["policy"]
    assert gated == {
        **compose.compose(["policy=feed_forward"])["policy"], "_target_": "gated.Gated",
        "torso": [8], "width": 64, "gain": 1.0,
    }  # fmt: skip
    assert compose.compose(["game=dinner.Mined"])["game"] == {"_target_": "dinner.Mined", "spots": 3}


def test_a_whole_group_is_completed_without_conf(own, monkeypatch):
    """What runs a piece of a job elsewhere need not read conf/."""
    whole = compose.compose(["learner=gated.High"])["learner"]
    part = {name: value for name, value in whole.items() if name not in ("learning_rate", "high")}
    assert targets.completed("learner", part) == whole
    monkeypatch.setattr(targets, "_files", None)
    assert targets.completed("learner", whole) == whole


@pytest.mark.slow
def test_numbers_of_a_variants_own_reach_it(own):
    """Its class of hyperparameters is what the state carries."""
    plain = compose.compose(["game=dinner.make", "policy=tabular", "learner=gated.Floored", "learner.floor=[0.25,0.5]"])
    first, second = (run.built for run in JobConfig.parse(plain).runs)
    assert (first.hyperparameters.floor, second.hyperparameters.floor) == (0.25, 0.5)
    state = first.learner.init(second.hyperparameters, key=jax.random.key(0))
    assert type(state.hyperparameters).__name__ == "Numbers"
    assert state.hyperparameters.floor == 0.5
    assert first.learner.peak_bytes() > 0


def test_a_defect_of_ours_keeps_its_traceback(monkeypatch):
    def broken(size: int = 3) -> lever.Simulator:
        raise ValueError("ours")

    monkeypatch.setattr(lever, "make", broken)
    with pytest.raises(ValueError, match=r"^ours$") as raised:
        JobConfig.parse(compose.compose([]) | {"game": {"_target_": "games.tabular.library.lever.make"}})
    assert not isinstance(raised.value, TacitError)
