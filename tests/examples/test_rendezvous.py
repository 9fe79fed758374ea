"""Rendezvous: its rules against plain Python, its symmetries, and the way from training to cross-play."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.rendezvous import LEFT, NOOP, RIGHT, STAY, Rendezvous
from games.check import commutes
from games.errors import TacitError
from tests.command_line import printed_rows

SEATS = jnp.arange(2, dtype=jnp.int32)
PPO = ("learner.rollout_length=4", "learner.epochs=1", "learner.minibatches=1", "policy.torso=[8]")


def simulated(cells, steps, start, actions):
    """Rewards, ends and places, in plain Python; nothing moves after the end."""
    here, played, over, told = list(start), 0, False, []
    for joint in actions:
        reward = 0.0
        if not over:
            moves = [{LEFT: -1, STAY: 0, RIGHT: 1}[action] for action in joint]
            here = [(cell + move) % cells for cell, move in zip(here, moves, strict=True)]
            played += 1
            reward = float(here[0] == here[1])
            over = reward == 1 or played == steps
        told.append((reward, over, tuple(here)))
    return told


def test_plays_as_plain_python_does():
    cells, steps, games = 5, 4, 200
    game, generator = Rendezvous(cells, steps), random.Random(0)
    keys = jax.random.split(jax.random.key(1), games)
    actions = [[[generator.choice((LEFT, STAY, RIGHT)) for _ in SEATS] for _ in range(steps + 1)] for _ in range(games)]

    def play(key, actions):
        state = game.init(key=key)

        def step(state, joint):
            legal = jnp.where(state.ended, jnp.full(2, NOOP, jnp.int32), joint)
            state, reward, done = game.step(state, legal, key=key)
            return state, (reward, done, state.cells, state.illegal)

        return state.cells, jax.lax.scan(step, state, actions)[1]

    starts, played = jax.device_get(jax.vmap(play)(keys, jnp.asarray(actions, jnp.int32)))
    assert {tuple(start) for start in starts.tolist()} == {(a, b) for a in range(5) for b in range(5) if a != b}
    rewards, ends, places, illegal = played
    for number in range(games):
        ours = [
            (reward, end, tuple(place))
            for reward, end, place in zip(rewards[number], ends[number], places[number].tolist(), strict=True)
        ]
        assert ours == simulated(cells, steps, starts[number].tolist(), actions[number])
    assert not illegal.any()
    assert 20 < rewards.sum() < games  # some met, some did not


@pytest.mark.slow
def test_symmetries_commute_with_steps_and_observations():
    game = Rendezvous(5, 3)

    def one(key):
        symmetry_key, deal_key, action_key, second_key = jax.random.split(key, 4)
        symmetry = game.sample_symmetry(key=symmetry_key)
        state = game.init(key=deal_key)
        hold = []
        for step_key in (action_key, second_key):
            actions = jax.random.randint(step_key, (2,), 0, 3, jnp.int32)
            hold.append(commutes(game, symmetry, state, actions, key=step_key))
            state, _, _ = game.step(state, actions, key=step_key)
        return hold, symmetry.parameters, symmetry.actions[0]

    hold, cells, actions = jax.device_get(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 300)))
    assert [law for step in hold for law, holds in step.items() if not holds.all()] == []
    assert len({tuple(row) for row in np.concatenate([cells, actions], axis=1).tolist()}) == 10  # of a ring of five


def test_observations():
    game = Rendezvous(5, 3)
    state = game.init(key=jax.random.key(0))._replace(cells=jnp.array([1, 4], jnp.int32), step=jnp.int32(2))
    for player, ones in [(0, [1, 5 + 4, 10 + 2]), (1, [4, 5 + 1, 10 + 2])]:
        assert np.flatnonzero(game.observe(state, jnp.int32(player), "ring")).tolist() == ones


@pytest.mark.parametrize(("arguments", "says"), [((2, 4), "cells must be .* 3"), ((5, 0), "steps must be .* 1")])
def test_bad_sizes(arguments, says):
    with pytest.raises(TacitError, match=says):
        Rendezvous(*arguments)


@pytest.mark.slow
def test_the_checker_says_which_law_is_broken(tacit, folder):
    said = tacit("games", "rendezvous.Rendezvous", "--check", "cells=3")
    assert (said.status, said.err) == (0, "")
    assert [line[:7] for line in said.out.splitlines()] == ["ok     "] * 16
    rules = (folder / "rendezvous.py").read_text()
    (folder / "endless.py").write_text(rules.replace("ended=met | (step >= self.steps)", "ended=met"))
    said = tacit("games", "endless.Rendezvous", "cells=3", "--check")
    assert said.status == 1
    (line,) = [line for line in said.out.splitlines() if line.startswith("WRONG  ")]
    assert line.startswith("WRONG  a game ends within its horizon: ")
    assert line.endswith("are not over after its horizon of 4 steps: transition must set `ended` by then")
    said = tacit("games", "--check")
    assert (said.status, said.err.count("\n")) == (2, 1)


@pytest.mark.slow
def test_a_broken_game_is_refused_before_anything_is_written(tacit, small, folder):
    rules = (folder / "rendezvous.py").read_text()
    (folder / "late.py").write_text(rules.replace("state.step + 1,", "state.step + 1.0,"))
    said = tacit("train", "game=late.Rendezvous", *small, "budget.steps=2000")
    assert (said.status, said.out) == (2, "")
    expected = "transition of game late.Rendezvous gives the state's `step` as float32[], and init gave int32[]"
    assert said.err == f"tacit: {expected}\n"
    assert not (folder / "runs").exists()


@pytest.mark.slow
def test_a_player_without_a_legal_action_is_no_matter_of_learning_rates(tacit, small, folder):
    rules = (folder / "rendezvous.py").read_text()
    (folder / "stuck.py").write_text(rules.replace("!= NOOP", "> player * NOOP"))
    said = tacit("train", "game=stuck.Rendezvous", *PPO, *small, "budget.steps=64")
    assert said.status == 2
    assert "training diverged" in said.err
    assert "player 1 has no legal action at step 0 of a random game of game stuck.Rendezvous" in said.err
    assert "learning_rate" not in said.err


@pytest.mark.slow
def test_from_training_to_cross_play(tacit, small, folder):
    said = tacit("train", "game=rendezvous.Rendezvous", "cells=4", *PPO, *small, "budget.steps=64")
    assert said.status == 0, said.err
    (run,) = folder.glob("runs/*/policies.safetensors")
    said = tacit("crossplay", run.parent, "--games", "16")
    assert said.status == 0, said.err
    assert [row[0] for row in printed_rows(said.out)] == ["play", "sampled", "greedy"]
    said = tacit("conventions", run.parent, "--games", "8", "--symmetries", "1")  # which draws symmetries
    assert said.status == 0, said.err
