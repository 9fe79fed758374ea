"""Rendezvous: its rules against plain Python, its symmetries, and the way from training to cross-play."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.rendezvous import LEFT, NOOP, RIGHT, STAY, Rendezvous
from games.errors import TacitError

SEATS = jnp.arange(2, dtype=jnp.int32)


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


def test_symmetries_commute_with_steps_and_observations():
    game = Rendezvous(5, 3)

    def one(key):
        symmetry_key, deal_key, action_key, second_key = jax.random.split(key, 4)
        symmetry = game.sample_symmetry(key=symmetry_key)
        state = game.init(key=deal_key)
        image = game.apply_symmetry(symmetry, state)
        equal = []
        for step_key in (action_key, second_key):
            actions = jax.random.randint(step_key, (2,), 0, 3, jnp.int32)
            moved = jax.vmap(symmetry.on_action)(SEATS, actions)
            for player in SEATS:
                seen = game.observer("ring").symmetry(symmetry, game.observe(state, player, "ring"))
                legal = symmetry.on_legal(player, game.legal(state, player))
                equal += [jnp.all(seen == game.observe(image, player, "ring"))]
                equal += [jnp.all(legal == game.legal(image, player))]
            (state, reward, _), (image, theirs, _) = (
                game.step(s, a, key=step_key) for s, a in ((state, actions), (image, moved))
            )
            after = game.apply_symmetry(symmetry, state)
            equal += [reward == theirs, *(jnp.all(x == y) for x, y in zip(after, image, strict=True))]
        return jnp.stack(equal), symmetry.parameters, symmetry.actions[0]

    equal, cells, actions = jax.device_get(jax.vmap(one)(jax.random.split(jax.random.key(0), 300)))
    assert equal.all()
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
def test_from_training_to_cross_play(tacit, small, folder):
    ppo = ("learner.rollout_length=4", "learner.epochs=1", "learner.minibatches=1", "policy.torso=[8]")
    said = tacit("train", "game=rendezvous.Rendezvous", "cells=4", *ppo, *small, "budget.steps=64")
    assert said.status == 0, said.err
    (run,) = folder.glob("runs/*/policies.safetensors")
    said = tacit("crossplay", run.parent, "--games", "16")
    assert said.status == 0, said.err
    assert "sampled  XP " in said.out
    said = tacit("conventions", run.parent, "--games", "8", "--symmetries", "1")  # which draws symmetries
    assert said.status == 0, said.err
