"""The policy by hand of the examples, and what is refused of one."""

import re
import sys
from pathlib import Path

import pytest

from experiments import runs
from tests.command_line import printed_rows

ROOT = Path(__file__).parents[2]
LEVERS = ("game=lever", "payoffs=[1,1,1,0.9]")
WRONG = """
import jax.numpy as jnp

class Base:
    memory_clock = "own_turns"
    def init(self, *, key): return ()
    def initial_memory(self): return jnp.int32(0)

class Short(Base):
    def apply(self, params, memory, observation, legal): return memory, jnp.zeros(3)

class Forgetful(Base):
    def apply(self, params, memory, observation, legal): return (), jnp.where(legal, 0.0, -jnp.inf)

class Alone(Base):
    def apply(self, params, memory, observation, legal): return jnp.zeros(legal.shape)

class Broken(Base):
    def apply(self, params, memory, observation, legal): return memory, observation.eyes

class Timeless(Short):
    memory_clock = "sometimes"

class Clockless(Short):
    @property
    def memory_clock(self): return self.clock
"""


def test_the_page_shows_all_of_the_example():
    page = (ROOT / "docs/howto/add_a_policy.md").read_text()
    (shown,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert shown == (ROOT / "examples/focal.py").read_text()


@pytest.mark.slow
def test_a_policy_by_hand_plays_with_seeds_and_partners(tacit, folder, small):
    trained = tacit("train", *LEVERS, "policy=tabular", "budget.steps=512", *small)
    assert trained.status == 0, trained.err
    said = tacit(
        "crossplay", "runs", "--with", "focal.Last,odd=focal.Last,any=uniform", "--games", "400", "--output", "met"
    )
    assert said.status == 0, said.err
    for result in runs.read_crossplay(folder / "met").values():
        assert list(result.labels[2:]) == ["Last", "odd", "any"]
        own = {
            cell[0]: mean for cell, mean in zip(result.seatings.tolist(), result.mean, strict=True) if len({*cell}) == 1
        }
        assert own[2] == own[3] == pytest.approx(0.9)  # the last of the levers, sampled or greedy
        assert own[4] == pytest.approx((1 + 1 + 1 + 0.9) / 16, abs=0.1)  # equal probabilities have no best action
    said = tacit("methods", "runs", "--with", "focal.Last", "--games", "8")
    assert said.status == 0, said.err
    assert "Last" in [row[0] for row in printed_rows(said.out)]


@pytest.mark.slow
def test_a_policy_by_hand_plays_games_of_turns(tacit, folder):
    said = tacit("crossplay", "game=hanabi_2x3", "--with", "focal.Last", "--games", "4")
    assert said.status == 0, said.err
    assert ["sampled", "Last"] in [row[:2] for row in printed_rows(said.out)]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "Short",
            "agent Short cannot play lever: apply must give memory and log-probabilities as (int32[], float32[5]), "
            "not (int32[], float32[3])",
        ),
        ("Forgetful", "as (int32[], float32[5]), not ((), float32[5])"),
        ("Alone", "as (int32[], float32[5]), not float32[5]"),
        ("Broken", "agent Broken cannot play lever: its policy does not take bool[8] and 5 actions, AttributeError: "),
        ("Timeless", "memory_clock of partner wrong.Timeless must be one of every_step, own_turns, not 'sometimes'"),
        ("Clockless", "partner wrong.Clockless(): AttributeError: 'Clockless' object has no attribute 'clock'"),
        ("Base", "partner 'wrong.Base' must be a class with init, initial_memory, memory_clock, apply"),
        ("Brokn", "partner 'wrong.Brokn' cannot be imported: module 'wrong' has no 'Brokn'; did you mean 'Broken'?"),
    ],
)
def test_a_mistake_in_a_policy_by_hand_is_one_sentence(tacit, folder, monkeypatch, name, says):
    (folder / "wrong.py").write_text(WRONG)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    monkeypatch.delitem(sys.modules, "wrong", raising=False)
    said = tacit("crossplay", *LEVERS, "--with", f"wrong.{name}")
    assert (said.status, said.out) == (2, "")
    assert says in said.err
    assert said.err.count("\n") == 1
    assert not (folder / "runs").exists()
    monkeypatch.delitem(sys.modules, "wrong", raising=False)
