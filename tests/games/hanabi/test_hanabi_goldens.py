"""Games that HLE played (goldens/, made by make_goldens.py), replayed without HLE."""

import functools
import json
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.hanabi import Hanabi, make

FILES = sorted((Path(__file__).parent / "goldens").glob("*.json"))
QUICK = ("Hanabi-Full-2", "Hanabi-Small-2", "one-rank")
SLOW = ("Hanabi-Full-5", "Hanabi-Full-Minimal-4", "Hanabi-Very-Small-2", "two-by-five")
ENDINGS = ("last life lost", "deck used up", "fireworks completed")


def marks(path: Path) -> list:
    """`make quick` replays some boards only, and `make test` those of other kinds: each has to be compiled."""
    if path.stem in QUICK:
        return []
    return [pytest.mark.slow] if path.stem in SLOW else [pytest.mark.proof]


def load(path: Path) -> tuple[Hanabi, list[dict]]:
    document = json.loads(path.read_text())
    return Hanabi(**document["board"]), document["games"]


@functools.partial(jax.jit, static_argnums=0)
def replay(game, decks, actions):
    """What is to be compared at every step of each game, after its actions (of the no-op only) too."""
    players = jnp.arange(game.players, dtype=jnp.int32)

    def one(deck, actions):
        def step(state, action):
            seen = {
                "player": state.player,
                "legal": jax.vmap(game.legal, (None, 0))(state, players),
                "observations": jax.vmap(game.observe, (None, 0, None))(state, players, game.default_observer),
                "beliefs": jax.vmap(game.observe, (None, 0, None))(state, players, "belief"),
                "score": game.score(state),
                "illegal": state.illegal,
            }
            state, reward, done = game.step(
                state, jnp.where(players == state.player, action, game.noop), key=jax.random.key(0)
            )
            return state, seen | {"reward": reward, "done": done}

        return jax.lax.scan(step, game.init_from_deck(deck), actions)[1]

    return jax.vmap(one)(decks, actions)


def replay_all(game: Hanabi, games: list[dict]) -> list[dict]:
    decks = np.array([golden["deck"] for golden in games], np.int32)
    longest = max(len(golden["actions"]) for golden in games)
    actions = np.full((len(games), longest + 1), game.noop, np.int32)
    for golden, row in zip(games, actions, strict=True):
        row[: len(golden["actions"])] = golden["actions"]
    record = jax.device_get(replay(game, decks, actions))
    return [{name: values[n] for name, values in record.items()} for n in range(len(games))]


def belief_sections(game: Hanabi, vector: np.ndarray) -> np.ndarray:
    """[players, slots, colors * ranks]: the belief about each card, the observer's hand first."""
    kinds, named = game.colors * game.ranks, game.colors + game.ranks
    cards = vector[-game.players * game.hand_size * (kinds + named) :].reshape(game.players, game.hand_size, -1)
    return cards[:, :, :kinds]


def golden_belief(game: Hanabi, weights: list[str]) -> np.ndarray:
    """[players, slots, colors * ranks], by absolute seat."""
    counts = np.array([[int(digit) for digit in hand] for hand in weights], float)
    counts = counts.reshape(game.players, game.hand_size, -1)
    return counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)


def test_the_goldens_hold_every_kind_of_game():
    boards = [(path, *load(path)) for path in FILES]
    assert {game.players for _, game, _ in boards} == {2, 3, 4, 5}
    for _, game, games in boards:
        if (game.colors, game.ranks) == (5, 5):
            assert [golden["ending"] for golden in games] == list(ENDINGS)
    for preset in ("Hanabi-Full", "Hanabi-Full-Minimal", "Hanabi-Small", "Hanabi-Very-Small"):
        assert any(game == make(preset, players=game.players) for _, game, _ in boards)
    assert any(game.ranks == 1 for _, game, _ in boards)
    assert sum(path.stat().st_size for path in FILES) < 200_000


@pytest.mark.slow
@pytest.mark.parametrize("path", [pytest.param(path, marks=marks(path), id=path.stem) for path in FILES])
def test_replays_games_of_hle(path):
    game, games = load(path)
    layout = game.observer(game.default_observer).layout
    only_noop = np.arange(game.num_actions) == game.noop
    for golden, record in zip(games, replay_all(game, games), strict=True):
        length = len(golden["actions"])
        assert record["reward"][:length].tolist() == golden["rewards"]
        assert not record["done"][: length - 1].any()
        assert record["done"][length - 1 :].all()
        assert not record["reward"][length:].any()
        assert not record["illegal"].any()
        assert record["score"][length] == golden["score"]
        for snapshot in golden["snapshots"]:
            step = snapshot["step"]
            for player, bits in enumerate(snapshot["observations"]):
                expected = np.unpackbits(np.frombuffer(bytes.fromhex(bits), np.uint8), count=layout.size).astype(bool)
                found = record["observations"][step, player]
                differing = [s.name for s in layout.sections if (expected != found)[s.start : s.stop].any()]
                assert not differing, f"step {step}, player {player}"
                expected_legal = only_noop.copy()
                if player == snapshot["player"]:
                    expected_legal = np.isin(np.arange(game.num_actions), snapshot["legal"])
                np.testing.assert_array_equal(record["legal"][step, player], expected_legal)
            if snapshot["player"] is not None:
                assert record["player"][step] == snapshot["player"]
            if snapshot["beliefs"] is None:
                continue
            belief = golden_belief(game, snapshot["beliefs"])
            for player in range(game.players):
                vector = record["beliefs"][step, player]
                found = belief_sections(game, vector)
                np.testing.assert_allclose(found, np.roll(belief, -player, axis=0), atol=1e-6)
                # Everything else is as in HLE's observation.
                rest = belief_sections(game, np.arange(vector.size)).reshape(-1)
                np.testing.assert_array_equal(
                    np.delete(vector, rest), np.delete(record["observations"][step, player], rest)
                )


@pytest.mark.slow
@pytest.mark.parametrize("players", [2, 5])
def test_the_belief_is_jaxmarls(players):
    with warnings.catch_warnings(), jax.numpy_rank_promotion("allow"):
        warnings.simplefilter("ignore")
        jaxmarl = pytest.importorskip("jaxmarl", reason="jaxmarl is not installed: it is a peer, not a dependency")
        game, games = load(FILES[0].with_name(f"Hanabi-Full-{players}.json"))
        env = jaxmarl.make(
            "hanabi",
            num_agents=game.players,
            hand_size=game.hand_size,
            max_info_tokens=game.max_information_tokens,
            max_life_tokens=game.max_life_tokens,
        )
        for golden, record in zip(games, replay_all(game, games), strict=True):
            deck = np.stack(np.divmod(np.array(golden["deck"]), game.ranks), axis=1)
            observations, state = env.reset_from_deck_of_pairs(jnp.asarray(deck))
            for step, action in enumerate(golden["actions"]):
                for player, agent in enumerate(env.agents):
                    expected = belief_sections(game, np.asarray(observations[agent]))
                    found = belief_sections(game, record["beliefs"][step, player])
                    np.testing.assert_allclose(found, expected, atol=1e-6)
                actions = {agent: jnp.int32(game.noop) for agent in env.agents}
                actions[env.agents[step % game.players]] = jnp.int32(action)
                observations, state, *_ = env.step_env(jax.random.key(0), state, actions)
