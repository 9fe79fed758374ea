"""Whether a game keeps the contract of `games.game`: a test of each law, with one sentence where it is broken.

`check` begins with what needs no compiling (`games.shapes`), then plays random legal games, all in one compiled
program, and tests what must hold in each step. Random games may miss rare events: a game that passes is not proved
right.
"""

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from games.errors import TacitError
from games.game import Array, Game, Symmetry
from games.shapes import (
    Finding,
    array_shape,
    call_user_code,
    check_laws,
    check_shapes,
    class_name,
    has_symmetries,
    key_shape,
    leaves_of,
    observers_of,
    state_of,
)

_TOLERANCE = 1e-4
"""How far sums of float32 rewards, relative to the score range, and single numbers may be off."""
_QUICKLY = {"xla_backend_optimization_level": 0}
"""Options for a quick compilation: the program runs for less time than it takes to compile."""


class _Step(NamedTuple):
    """What is looked at in one step of a random game, recorded as numpy arrays [games, steps, ...].

    P players, K = max_acting.
    """

    over: Any  # bool[] the game had ended before
    ends: Any  # bool[] and afterwards
    flagged: Any  # bool[] `illegal` afterwards
    listed: Any  # int32[K] and bool[K], as `acting` gives them
    valid: Any
    acts: Any  # bool[P]
    choices: Any  # int32[P] actions but the no-op that `legal_when_acting` allows
    idles: Any  # bool[P] whether it allows the no-op
    reward: Any  # float32[]
    finite: dict[str, Any]  # bool[] for each observer of floats: all that is seen
    commute: dict[str, Any]  # bool[] as `commutes`; empty without symmetries
    permutes: Any  # bool[] the symmetry drawn is made of permutations that leave the no-op where it is


def check(game: Game, *, games: int = 64, key: Array | None = None) -> list[Finding]:
    """Every law of the contract that can be tried: `check_shapes`, then random legal games.

    Everybody who acts chooses uniformly among the legal actions, for `horizon` steps; where the game draws symmetries,
    each game is also followed through one of them.

    Args:
      game: the game.
      games: how many are played.
      key: decides chance, actions and symmetries; None for a fixed one.

    Returns:
      A finding for each law; only those of `check_shapes` where one of these is broken.
    """
    found = check_shapes(game)
    if any(finding.wrong for finding in found):
        return found
    state, key = state_of(game), jax.random.key(0) if key is None else key
    repeatable = {"the same key gives the same game": lambda: _check_repeatable(game, state)}
    played = _play(game, games, key)
    on_steps = {
        "where a game is not over somebody acts, and nobody twice": _check_turns,
        "who acts has a legal action, and the no-op is none": _check_legal,
        "a game ends within its horizon": _check_end,
        "rewards are finite, and their sum lies in the score range": _check_rewards,
        "what observers show is finite": _check_finite,
    }
    if game.cyclic:
        on_steps["players take turns in their order, as `cyclic` says"] = _check_cyclic
    if has_symmetries(game):
        on_steps["symmetries are permutations"] = _check_permutations
        if _draws(game, state):
            law = "symmetries commute with legal actions and observations (with steps: not tried, they are random)"
            on_steps[law] = functools.partial(_check_commutes, but=("step", "reward", "end"))
        else:
            on_steps["symmetries commute with steps, legal actions and observations"] = _check_commutes
    return found + check_laws(
        repeatable | {law: functools.partial(test, game, played) for law, test in on_steps.items()}
    )


def commutes(game: Game, symmetry: Symmetry, state: Any, actions: Array, *, key: Array) -> dict[str, Array]:
    """Whether a symmetry commutes with steps, legal actions and observations.

    The laws, with numbers of floating point compared up to rounding: "step, field NAME", for each field of the state,
    g·step(s, a) = step(g·s, g·a); "reward" and "end" of these steps are the same; "legal", for all players p,
    g·legal(s, p) = legal(g·s, g·p); "observer NAME", for all players, g·encode(s, p) = encode(g·s, g·p).

    Args:
      game: the game.
      symmetry: one of its symmetries, g.
      state: one state, s.
      actions: int32[num_players], a, legal or not.
      key: of the step.

    Returns:
      bool[] for each law, by its name.
    """
    players, images = jnp.arange(game.num_players, dtype=jnp.int32), symmetry.players
    both = jax.tree.map(lambda *two: jnp.stack(two), state, game.apply_symmetry(symmetry, state))
    moved = jnp.zeros_like(actions).at[images].set(jax.vmap(symmetry.on_action)(players, actions))
    # The two are a batch, so that the game is traced, and compiled, once for both.
    states, reward, end = jax.vmap(lambda s, a: game.step(s, a, key=key))(both, jnp.stack([actions, moved]))
    after, theirs = (jax.tree.map(lambda leaf, n=n: leaf[n], states) for n in (0, 1))
    found, expected = leaves_of(theirs), leaves_of(game.apply_symmetry(symmetry, after))
    hold = {f"step, field {name}": _same(leaf, expected[name]) for name, leaf in found.items()}
    hold |= {"reward": _same(reward[0], reward[1]), "end": end[0] == end[1]}
    seats = jnp.stack([players, images])
    legal = jax.vmap(jax.vmap(game.legal, (None, 0)))(both, seats)
    hold["legal"] = _same(legal[1], jax.vmap(symmetry.on_legal)(players, legal[0]))
    for name, observer in observers_of(game, None):
        seen = jax.vmap(jax.vmap(observer.encode, (None, 0)))(both, seats)
        hold[f"observer {name}"] = _same(seen[1], jax.vmap(observer.symmetry, (None, 0))(symmetry, seen[0]))
    return hold


def _same(left: Array, right: Array) -> Array:
    """bool[]: equal, numbers of floating point up to rounding."""
    if jnp.issubdtype(left.dtype, jnp.floating):
        return jnp.allclose(left, right, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True)
    return jnp.all(left == right)


def _play(game: Game, games: int, key: Array) -> _Step:
    """Random games, numpy leaves [games, horizon, ...]; steps after the end of a game are recorded, too."""
    players = jnp.arange(game.num_players, dtype=jnp.int32)
    symmetric = has_symmetries(game)
    of_floats = {name: observer for name, observer in observers_of(game, None) if observer.dtype == jnp.float32}

    def one(key: Array) -> _Step:
        deal_key, symmetry_key, play_key = jax.random.split(key, 3)
        symmetry = game.sample_symmetry(key=symmetry_key)

        def body(state: Any, key: Array) -> tuple[Any, _Step]:
            choose_key, step_key = jax.random.split(key)
            allowed = jax.vmap(lambda player: game.legal_when_acting(state, player))(players)
            logits = jnp.where(jax.vmap(game.legal, (None, 0))(state, players), 0.0, -jnp.inf)
            actions = jax.random.categorical(choose_key, logits).astype(jnp.int32)
            after, reward, ends = game.step(state, actions, key=step_key)
            listed, valid = game.acting(state)
            seen = {name: jax.vmap(one.encode, (None, 0))(state, players) for name, one in of_floats.items()}
            return after, _Step(
                over=state.ended,
                ends=ends,
                flagged=after.illegal,
                listed=listed,
                valid=valid,
                acts=game.is_acting(state),
                choices=jnp.sum(allowed[:, : game.noop], axis=1, dtype=jnp.int32),
                idles=allowed[:, game.noop],
                reward=reward,
                finite={name: jnp.all(jnp.isfinite(vectors)) for name, vectors in seen.items()},
                commute=commutes(game, symmetry, state, actions, key=step_key) if symmetric else {},
                permutes=_permutes(game, symmetry),
            )

        return jax.lax.scan(body, game.init(key=deal_key), jax.random.split(play_key, game.horizon))[1]

    program = jax.jit(jax.vmap(one), compiler_options=_QUICKLY if jax.default_backend() == "cpu" else None)
    return call_user_code(game, "a random game", lambda: jax.device_get(program(jax.random.split(key, games))))


def _permutes(game: Game, symmetry: Symmetry) -> Array:
    """bool[]: players and each player's actions are permuted, and the no-op stays."""
    players, actions = (jnp.arange(size, dtype=jnp.int32) for size in (game.num_players, game.num_actions))
    whole = jnp.all(jnp.sort(symmetry.players) == players) & jnp.all(jnp.sort(symmetry.actions) == actions[None])
    return whole & jnp.all(symmetry.actions[:, game.noop] == game.noop)


def _check_repeatable(game: Game, state: Any) -> None:
    """Tracing twice gives the same program: chance from elsewhere would be another constant in it."""
    actions, key = array_shape((game.num_players,), jnp.int32), key_shape()
    parts: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "init": (lambda key: game.init(key=key), (key,)),
        "transition": (lambda s, a, k: game.transition(s, a, key=k), (state, actions, key)),
    }
    for member, (function, arguments) in parts.items():
        # A new function each time: JAX caches what it has traced.
        first, second = (jax.make_jaxpr(lambda *given: function(*given))(*arguments) for _ in range(2))  # noqa: B023
        if _program(first) != _program(second):
            raise TacitError(
                f"{member} of {class_name(game)} is another function each time it is called: all chance must come from "
                "its key, and nothing may be kept outside of the state"
            )


def _program(traced: Any) -> tuple[str, list[bytes]]:
    """A traced function, without the addresses of Python objects, and its constants."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(traced.jaxpr)), [np.asarray(const).tobytes() for const in traced.consts]


def _draws(game: Game, state: Any) -> bool:
    """Whether `transition` uses its key."""
    actions = array_shape((game.num_players,), jnp.int32)
    traced = jax.make_jaxpr(lambda s, a, k: game.transition(s, a, key=k))(state, actions, key_shape()).jaxpr
    key = traced.invars[-1]
    return any(used is key for equation in traced.eqns for used in equation.invars)


def _first(wrong: np.ndarray) -> tuple[int, ...] | None:
    """Where bool[games, steps, ...] is first True, by step: (game, step, ...)."""
    where = np.argwhere(wrong)
    return tuple(where[where[:, 1].argmin()].tolist()) if len(where) else None


def _stuck(played: _Step) -> np.ndarray:
    """bool[games, 1]: the game stopped because somebody had no legal action."""
    return played.flagged.any(axis=1, keepdims=True)


def _check_turns(game: Game, played: _Step) -> None:
    unfinished = ~played.over
    beyond = (played.listed < 0) | (played.listed >= game.num_players)
    if at := _first(unfinished[..., None] & played.valid & beyond):
        raise TacitError(
            f"acting of {class_name(game)} lists player {played.listed[at]} at step {at[1]} of a random game, "
            f"and players are 0 to {game.num_players - 1}"
        )
    if at := _first(unfinished & (played.valid.sum(axis=2) != played.acts.sum(axis=2))):
        raise TacitError(f"acting of {class_name(game)} lists a player twice at step {at[1]} of a random game")
    if at := _first(unfinished & ~played.acts.any(axis=2)):
        raise TacitError(
            f"nobody acts at step {at[1]} of a random game of {class_name(game)}, which is not over: acting must list "
            "somebody, or transition set `ended`"
        )


def _check_legal(game: Game, played: _Step) -> None:
    if at := _first(played.acts & (played.choices == 0)):
        raise TacitError(
            f"player {at[2]} has no legal action at step {at[1]} of a random game of {class_name(game)}: where a "
            "player acts, legal_when_acting must allow at least one action besides the no-op"
        )
    if at := _first(played.acts & played.idles):
        raise TacitError(
            f"legal_when_acting of {class_name(game)} allows player {at[2]} the no-op, action {game.noop}, at step "
            f"{at[1]} of a random game: the last action must be False where a player acts"
        )
    if at := _first(played.flagged):
        raise TacitError(
            f"transition of {class_name(game)} sets `illegal` at step {at[1]} of a random game of legal actions: it "
            "begins False in init, and only step sets it"
        )


def _check_end(game: Game, played: _Step) -> None:
    if _first(played.over[:, :1]):
        raise TacitError(f"init of {class_name(game)} gives a game that is over: `ended` begins False")
    open_ended = ~played.ends[:, -1:] & ~_stuck(played)
    if open_ended.any():
        raise TacitError(
            f"{open_ended.sum()} of {len(open_ended)} random games of {class_name(game)} are not over after its "
            f"horizon of {game.horizon} steps: transition must set `ended` by then"
        )


def _check_rewards(game: Game, played: _Step) -> None:
    if at := _first(~np.isfinite(played.reward)):
        raise TacitError(
            f"transition of {class_name(game)} gives the reward {played.reward[at]} at step {at[1]} of a random game, "
            "and it must be finite"
        )
    low, high = game.score_range
    slack = _TOLERANCE * max(1.0, abs(low), abs(high))
    returns = played.reward.astype(np.float64).sum(axis=1)
    outside = np.flatnonzero((returns < low - slack) | (returns > high + slack))
    if len(outside):
        raise TacitError(
            f"the rewards of a random game of {class_name(game)} sum to {returns[outside[0]]:g}, outside of its "
            f"score_range from {low:g} to {high:g} (so do {len(outside)} of {len(returns)} games)"
        )


def _check_finite(game: Game, played: _Step) -> None:
    for name, finite in played.finite.items():
        if at := _first(~finite & ~played.over):
            raise TacitError(
                f"observer {name!r} of {class_name(game)} shows a number that is not finite at step {at[1]} of a "
                "random game"
            )


def _check_cyclic(game: Game, played: _Step) -> None:
    turn = np.arange(game.horizon)[:, None] % game.num_players == np.arange(game.num_players)
    if at := _first(((played.acts != turn).any(axis=2)) & ~played.over):
        who = " and ".join(map(str, np.flatnonzero(played.acts[at]))) or "nobody"
        raise TacitError(
            f"{class_name(game)} declares cyclic=True, and at step {at[1]} of a random game the acting players are "
            f"{who} instead of {at[1] % game.num_players} alone"
        )


def _check_permutations(game: Game, played: _Step) -> None:
    if _first(~played.permutes):
        raise TacitError(
            f"sample_symmetry of {class_name(game)} draws `players` or a row of `actions` that is no permutation, or "
            f"moves the no-op, action {game.noop}"
        )


def _check_commutes(game: Game, played: _Step, but: tuple[str, ...] = ()) -> None:
    """The laws of `commutes`, without those whose names begin as in `but`."""
    for law, holds in played.commute.items():
        if law.startswith(but):
            continue
        if at := _first(~holds & ~played.over & ~_stuck(played)):
            raise TacitError(
                f"a symmetry g of {class_name(game)} does not commute with {_in_formula(law)} "
                f"(step {at[1]} of a random game)"
            )


def _in_formula(law: str) -> str:
    """A law of `commutes` as what should be equal."""
    kind, _, name = law.partition(" ")
    return {
        "step,": f"step: apply_symmetry(g, step(s, a)) and step(apply_symmetry(g, s), g(a)) differ in `{name[6:]}`",
        "reward": "step: the rewards of step(s, a) and step(apply_symmetry(g, s), g(a)) differ",
        "end": "step: step(s, a) and step(apply_symmetry(g, s), g(a)) do not both end the game",
        "legal": "legal: g(legal(s, p)) and legal(apply_symmetry(g, s), g(p)) differ",
        "observer": f"observer {name!r}: symmetry(g, encode(s, p)) and encode(apply_symmetry(g, s), g(p)) differ",
    }[kind]
