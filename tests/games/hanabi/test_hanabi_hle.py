"""Hanabi beside the Hanabi Learning Environment itself."""

import dataclasses
import itertools

import numpy as np
import pytest

from games.errors import TacitError
from games.hanabi import Hanabi, hle, make, verify

pyhanabi = pytest.importorskip(
    "hanabi_learning_environment.pyhanabi", reason="hanabi-learning-environment is not installed"
)


def hle_game(board: Hanabi):
    kinds = pyhanabi.AgentObservationType
    kind = kinds.MINIMAL if board.default_observer == "minimal" else kinds.CARD_KNOWLEDGE
    parameters = dataclasses.asdict(board)
    del parameters["default_observer"], parameters["copies"]
    return pyhanabi.HanabiGame(parameters | {"observation_type": kind.value})


@pytest.mark.parametrize(
    "steps", [pytest.param(5_000, marks=pytest.mark.slow), pytest.param(100_000, marks=pytest.mark.proof)]
)
def test_every_step_equals_hles(steps):
    report = verify.verify(steps=steps, seed=1)
    assert report.differences == []
    assert report.steps >= steps
    assert set(report.players) == {2, 3, 4, 5}
    assert set(report.endings) == set(verify.ENDINGS)
    assert f"{report.steps} steps of {report.games} games" in str(report)


@pytest.mark.slow
def test_verify_tells_what_differs(monkeypatch):
    apply = hle.HleGame.apply
    monkeypatch.setattr(hle.HleGame, "apply", lambda self, state, action: apply(self, state, action) + 1)
    report = verify.verify(steps=1, seed=1)
    assert len(report.differences) == report.steps
    assert "step 0: reward is 0.0 where HLE has 1" in report.differences[0]
    assert report.differences[0] in str(report)


def test_verify_refuses_to_compare_nothing():
    with pytest.raises(TacitError, match="must be at least 1, not 0"):
        verify.verify(steps=0, seed=0)


@pytest.mark.parametrize("observer", ["hle", "minimal"])
def test_observations_are_as_long_as_hles(observer):
    rng = np.random.default_rng(0)
    checked = 0
    for players, colors, ranks in itertools.product((2, 3, 4, 5), range(1, 6), range(1, 6)):
        try:
            board = Hanabi(
                players=players,
                colors=colors,
                ranks=ranks,
                hand_size=int(rng.integers(1, 6)),
                max_information_tokens=int(rng.integers(0, 9)),
                max_life_tokens=int(rng.integers(1, 4)),
                default_observer=observer,
            )
        except TacitError:
            continue
        game = hle_game(board)
        assert pyhanabi.ObservationEncoder(game).shape() == [board.observer(observer).size]
        assert game.max_moves() + 1 == board.num_actions
        assert [game.num_cards(0, rank) for rank in range(ranks)] == list(board.copies)
        checked += 1
    assert checked > 60


@pytest.mark.parametrize("players", [2, 3, 4, 5])
@pytest.mark.parametrize("preset", ["Hanabi-Full", "Hanabi-Full-Minimal", "Hanabi-Small", "Hanabi-Very-Small"])
def test_presets_are_those_of_rl_env(preset, players):
    from hanabi_learning_environment import rl_env

    game = rl_env.make(preset, num_players=players).game
    board = make(preset, players=players)
    assert game.num_players() == players
    assert game.num_colors() == board.colors
    assert game.num_ranks() == board.ranks
    assert game.hand_size() == board.hand_size
    assert game.max_information_tokens() == board.max_information_tokens
    assert game.max_life_tokens() == board.max_life_tokens
    minimal = pyhanabi.AgentObservationType.MINIMAL.value
    assert (game.observation_type() == minimal) == (board.default_observer == "minimal")
