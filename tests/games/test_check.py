"""Broken games are told apart, each by one sentence; games that keep the contract pass."""

import dataclasses
import functools
import random
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

from experiments.configuration.config import build_game
from experiments.launching import compose
from games.check import check, commutes
from games.errors import TacitError
from games.game import Game, Layout, Observer, Symmetry
from games.shapes import check_shapes, require_shapes

# ------------------------------------------------------------------------------------ a sound game, and broken ones

LAYOUT = Layout.of([("door", {"door": 3}, "the door that opened last"), ("time", {"step": 2}, "steps played")])


DRAWN = random.Random(0)


class DoorState(NamedTuple):
    door: Any  # int32[] opened last
    time: Any  # int32[]
    ended: Any
    illegal: Any


@dataclasses.dataclass(frozen=True)
class Doors(Game):
    """Two players take turns to open one of three equal doors; opening the one that is open pays 1."""

    name = "doors"
    version = "doors-1"
    num_players = 2
    num_actions = 4
    max_acting = 1
    cyclic = True
    horizon = 2
    score_range = (0.0, 1.0)

    @property
    def observers(self):
        def encode(state, player):
            return jnp.append(jnp.arange(3) == state.door, jnp.arange(2) == state.time)

        def permute(g, seen):
            return LAYOUT.permute(seen, "door", g.parameters)

        return {"all": Observer("all", LAYOUT, jnp.bool_, encode, permute)}

    def init(self, *, key):
        return DoorState(jax.random.randint(key, (), 0, 3), jnp.int32(0), jnp.bool_(False), jnp.bool_(False))

    def transition(self, state, actions, *, key):
        door = jnp.min(actions)  # the no-op is the greatest
        after = state._replace(door=door, time=state.time + 1, ended=state.time + 1 == 2)
        return after, ((door == state.door) & (state.time == 1)).astype(jnp.float32)

    def acting(self, state):
        return state.time[None] % 2, ~state.ended[None]

    def legal_when_acting(self, state, player):
        return jnp.arange(4) < 3

    def action_name(self, action):
        return ("left", "middle", "right", "no-op")[action]


class Equal(Doors):
    """The doors may be relabelled."""

    def sample_symmetry(self, *, key):
        image = jax.random.permutation(key, jnp.arange(3, dtype=jnp.int32))
        actions = jnp.broadcast_to(jnp.append(image, 3), (2, 4))
        return Symmetry(jnp.arange(2, dtype=jnp.int32), actions, image)

    def apply_symmetry(self, symmetry, state):
        return state._replace(door=symmetry.parameters[state.door])


def wrong(game):
    return [finding.wrong for finding in check(game, games=32) if finding.wrong]


@pytest.mark.slow
def test_a_sound_game_passes():
    found = check(Equal(), games=32)
    assert [finding.wrong for finding in found] == [""] * 17
    assert found[-1].law == "symmetries commute with steps, legal actions and observations"


class Endless(Doors):
    def transition(self, state, actions, *, key):
        after, reward = super().transition(state, actions, key=key)
        return after._replace(ended=jnp.bool_(False), time=after.time % 2), reward


class Rich(Doors):
    def transition(self, state, actions, *, key):
        after, reward = super().transition(state, actions, key=key)
        return after, 100 * reward


class NotANumber(Doors):
    def transition(self, state, actions, *, key):
        after, reward = super().transition(state, actions, key=key)
        return after, jnp.where(state.time == 1, jnp.log(-1 - reward), 0.0)


class Stuck(Doors):
    def legal_when_acting(self, state, player):
        return (jnp.arange(4) < 3) & (state.time == 0)


class Idle(Doors):
    def legal_when_acting(self, state, player):
        return jnp.ones(4, jnp.bool_)


class Deserted(Doors):
    cyclic = False

    def acting(self, state):
        return state.time[None] % 2, state.time[None] == 0


class Crowded(Doors):
    max_acting = 2
    cyclic = False

    def acting(self, state):
        return jnp.zeros(2, jnp.int32), jnp.ones(2, jnp.bool_)


class Elsewhere(Doors):
    cyclic = False

    def acting(self, state):
        return 1 + state.time[None], jnp.ones(1, jnp.bool_)


class Backwards(Doors):
    def acting(self, state):
        return 1 - state.time[None] % 2, ~state.ended[None]


class Over(Doors):
    def init(self, *, key):
        return super().init(key=key)._replace(ended=jnp.bool_(True))


class Flagged(Doors):
    def transition(self, state, actions, *, key):
        after, reward = super().transition(state, actions, key=key)
        return after._replace(illegal=jnp.bool_(True)), reward


class Moody(Doors):
    def transition(self, state, actions, *, key):
        after, reward = super().transition(state, actions, key=key)
        return after, reward * DRAWN.random()


class Blind(Doors):
    @property
    def observers(self):
        def encode(state, player):
            return jnp.append(jnp.ones(4, jnp.float32), 1 / (1 - state.time.astype(jnp.float32)))

        return {"all": Observer("all", LAYOUT, jnp.float32, encode, lambda g, seen: seen)}


class Crooked(Equal):
    """Its state is not relabelled."""

    def apply_symmetry(self, symmetry, state):
        return state


class Unmoved(Equal):
    """Its doors stay, and its observations move."""

    def sample_symmetry(self, *, key):
        drawn = super().sample_symmetry(key=key)
        return drawn._replace(actions=jnp.broadcast_to(jnp.arange(4, dtype=jnp.int32), (2, 4)))


class Backstage(Equal):
    """Its observer relabels the wrong way round."""

    @property
    def observers(self):
        (own,) = super().observers.values()

        def permute(g, seen):
            return LAYOUT.permute(seen, "door", jnp.argsort(g.parameters))

        return {"all": dataclasses.replace(own, symmetry=permute)}


class Favourite(Equal):
    """The middle door cannot be opened, whatever it is called."""

    def legal_when_acting(self, state, player):
        return jnp.array([True, False, True, False])


class Prized(Equal):
    """The middle door pays, whatever it is called."""

    def transition(self, state, actions, *, key):
        after, _ = super().transition(state, actions, key=key)
        return after, (after.door == 1).astype(jnp.float32)


class Merged(Equal):
    def sample_symmetry(self, *, key):
        actions = jnp.broadcast_to(jnp.array([0, 0, 2, 3], jnp.int32), (2, 4))
        return super().sample_symmetry(key=key)._replace(actions=actions)


PLAYED = [
    # what a game inherits, and what its sentences say: all of them, in the order of the laws
    (
        (Endless, Idle, Backwards, Blind, Moody, Rich),
        [
            "transition of game {game} is another function each time it is called: all chance must come from its key",
            "allows player 1 the no-op, action 3, at step 0 of a random game",
            "32 of 32 random games of game {game} are not over after its horizon of 2 steps",
            "outside of its score_range from 0 to 1",
            "observer 'all' of game {game} shows a number that is not finite at step 1",
            "cyclic=True, and at step 0 of a random game the acting players are 1 instead of 0 alone",
        ],
    ),
    (
        (Stuck, Crowded),
        [
            "acting of game {game} lists a player twice at step 0",
            "player 0 has no legal action at step 1 of a random game of game {game}",
        ],
    ),
    (
        (Elsewhere, NotANumber, Flagged),
        [
            "acting of game {game} lists player 2 at step 1 of a random game, and players are 0 to 1",
            "transition of game {game} sets `illegal` at step 0 of a random game of legal actions",
            "gives the reward nan at step 1 of a random game, and it must be finite",
        ],
    ),
    ((Deserted,), ["nobody acts at step 1 of a random game of game {game}, which is not over"]),
    ((Over,), ["init of game {game} gives a game that is over"]),
    ((Crooked,), ["a symmetry g of game {game} does not commute with observer 'all': symmetry(g, encode(s, p)) and"]),
    (
        (Merged,),
        [
            "that is no permutation, or moves the no-op, action 3",
            "g(legal(s, p)) and legal(apply_symmetry(g, s), g(p)) differ (step 0",
        ],
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("faults", "says"), PLAYED, ids=lambda value: getattr(value[0], "__name__", ""))
def test_random_games_show_what_is_wrong(faults, says):
    game = type("Broken", faults, {"__module__": "mine"})()
    found = wrong(game)
    assert len(found) == len(says), found
    for sentence, expected in zip(found, says, strict=True):
        assert expected.format(game="mine.Broken") in sentence
        assert "\n" not in sentence


@functools.partial(jax.jit, static_argnums=0)
def laws(game):
    deal, draw = jax.random.split(jax.random.key(3))
    state, symmetry = game.init(key=deal), game.sample_symmetry(key=draw)
    return symmetry.parameters, commutes(game, symmetry, state, jnp.array([1, 3], jnp.int32), key=deal)


@pytest.mark.parametrize(
    ("game", "broken"),
    [
        (Equal, set()),
        (Crooked, {"step, field door", "observer all"}),
        (Unmoved, {"step, field door"}),
        (Backstage, {"observer all"}),
        (Favourite, {"legal", "step, field time", "step, field illegal"}),  # nothing is played: door 1 stays
        (Prized, {"reward"}),
    ],
)
def test_which_law_is_broken(game, broken):
    image, hold = jax.device_get(laws(game()))
    assert image.tolist() == [2, 0, 1]  # not its own inverse
    fields = [f"step, field {name}" for name in DoorState._fields]
    assert set(hold) == {*fields, "reward", "end", "legal", "observer all"}
    assert {law for law, holds in hold.items() if not holds} == broken


# ----------------------------------------------------------------------------------------- what needs no playing


class Late(Doors):
    def transition(self, state, actions, *, key):
        after, reward = super().transition(state, actions, key=key)
        return after._replace(time=after.time + 0.0), reward


class Reshaped(Doors):
    def transition(self, state, actions, *, key):
        after, reward = super().transition(state, actions, key=key)
        return after._replace(time=(after.time, after.time)), reward


class Forgetful(Doors):
    def transition(self, state, actions, *, key):
        return super().transition(state, actions, key=key)[0]


class PaidEach(Doors):
    def transition(self, state, actions, *, key):
        after, reward = super().transition(state, actions, key=key)
        return after, jnp.stack([reward, reward])


class Raises(Doors):
    def transition(self, state, actions, *, key):
        raise ValueError("no door\nof this name")


class Branches(Doors):
    def transition(self, state, actions, *, key):
        return super().transition(state, actions if state.time else 2 - actions, key=key)


class Short(Doors):
    @property
    def observers(self):
        return {"all": Observer("all", LAYOUT, jnp.bool_, lambda s, p: jnp.ones(4, jnp.bool_), lambda g, seen: seen)}


class Wordless(Doors):
    @property
    def observers(self):
        return {}


class Seeing(Doors):
    @property
    def observers(self):
        return list(super().observers.values())


class Stateless(Doors):
    def init(self, *, key):
        return {"time": jnp.int32(0)}


class Masked(Doors):
    def legal_when_acting(self, state, player):
        return jnp.ones(3, jnp.bool_)


class Listed(Doors):
    def acting(self, state):
        return jnp.zeros(2, jnp.int32), jnp.ones(2, jnp.bool_)


class Nameless(Doors):
    def action_name(self, action):
        return ("left", "middle", "right")[action]


class Halved(Doors):
    horizon = 1.5


class Wide(Doors):
    max_acting = 3


class Upside(Doors):
    score_range = (1.0, 0.0)


class Stepping(Doors):
    def step(self, state, actions, *, key):  # pyright: ignore
        return super().step(state, actions, key=key)


class Loose(Doors):
    __hash__ = None  # pyright: ignore


class Shifted(Equal):
    def sample_symmetry(self, *, key):
        return super().sample_symmetry(key=key)._replace(players=jnp.arange(3, dtype=jnp.int32))


def line(text):
    """The number of this file's line that holds `text`."""
    return 1 + Path(__file__).read_text().splitlines().index(text)


TRACED = [
    (Late, "transition of game {module}.Late gives the state's `time` as float32[], and init gave int32[]"),
    (Reshaped, "gives a state of another structure than init gave (they differ in `time[0]`, `time[1]`, `time`)"),
    (Forgetful, "transition of game {module}.Forgetful must give (state, reward), not a DoorState"),
    (PaidEach, "gives the reward as float32[2], and it must be float32[]"),
    (Raises, "in transition of game {module}.Raises, test_check.py line {}: ValueError: no door"),
    (Branches, "in transition of game {module}.Branches, test_check.py line {}: TracerBoolConversionError:"),
    (
        Short,
        "the encoder of observer 'all', whose layout has 5 entries, gives a vector as bool[4], and it must be bool[5]",
    ),
    (Wordless, "game {module}.Wordless needs at least one observer"),
    (Seeing, "observers of game {module}.Seeing must be a mapping of names to observers, not a list"),
    (Stateless, "must give a NamedTuple with fields `ended` and `illegal`, not a dict"),
    (Masked, "legal_when_acting gives the legal actions as bool[3], and it must be bool[4]"),
    (Listed, "acting gives the players as int32[2], and it must be int32[1]"),
    (
        Nameless,
        "in action_name of game {module}.Nameless, test_check.py line {}: IndexError: tuple index out of range",
    ),
    (Halved, "horizon of game {module}.Halved must be a whole number of at least 1, not 1.5"),
    (Wide, "max_acting of game {module}.Wide must be a whole number from 1 to num_players, not 3"),
    (Upside, "score_range of game {module}.Upside must be (least, greatest) as finite numbers, not (1.0, 0.0)"),
    (Stepping, "game {module}.Stepping replaces step, which is final"),
    (Loose, "game {module}.Loose must be hashable, a dataclass with frozen=True"),
    (Shifted, "sample_symmetry gives `players` as int32[3], and it must be int32[2]"),
]
LINES = {
    Raises: '        raise ValueError("no door\\nof this name")',
    Branches: "        return super().transition(state, actions if state.time else 2 - actions, key=key)",
    Nameless: '        return ("left", "middle", "right")[action]',
}


@pytest.mark.parametrize(("game", "says"), TRACED, ids=lambda value: getattr(value, "__name__", ""))
def test_tracing_shows_what_is_wrong(game, says):
    says = says.format(line(LINES[game]) if game in LINES else 0, module=__name__)
    with pytest.raises(TacitError) as refused:
        require_shapes(game())
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert wrong(game()) == [str(refused.value)]  # nothing is played


def test_only_the_observer_in_use_need_be_built():
    game = build_game(compose.compose(["game=dectiger", "game.horizon=10"])["game"])
    require_shapes(game, ["last"])
    with pytest.raises(TacitError, match="observer 'history' of game"):
        require_shapes(game, ["history"])
    assert not any(finding.wrong for finding in check_shapes(game))  # the other one alone


# ------------------------------------------------------------------------------------------------ games of the library


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["lever", "tiny_hanabi", "many_edits", pytest.param("hanabi_very_small", marks=pytest.mark.proof)]
)
def test_games_of_the_library_keep_the_contract(name):
    assert wrong(build_game(compose.compose([f"game={name}"])["game"])) == []


@pytest.mark.slow
def test_chance_within_a_step_is_left_out_of_what_must_commute():
    class Windy(Equal):
        def transition(self, state, actions, *, key):
            after, reward = super().transition(state, actions, key=key)
            return after._replace(
                door=jnp.where(state.time == 0, jax.random.randint(key, (), 0, 3), after.door)
            ), reward

    found = check(Windy(), games=32)
    assert found[-1].law.endswith("(with steps: not tried, they are random)")
    assert not any(finding.wrong for finding in found)
