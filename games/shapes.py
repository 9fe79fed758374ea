"""Whether a game can be traced and gives the shapes and dtypes of its contract; nothing is compiled for it.

A job checks this before it trains, so that a defect of a game gives one sentence instead of a traceback out of a
compiled program. `games.check` goes on from here with random games.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from games.errors import TacitError, location_in_user_code
from games.game import Game, Observer, Symmetry

_FINAL = ("noop", "is_acting", "legal", "step", "checked_step", "observer", "observe")


class Finding(NamedTuple):
    """One law, and what breaks it."""

    law: str
    """In a few words."""
    wrong: str
    """One sentence: what is wrong, where, and what was expected; empty if the law holds."""


def check_shapes(game: Game, observers: Sequence[str] | None = None) -> list[Finding]:
    """Constants, shapes and dtypes of everything in the contract, from tracing alone.

    Args:
      game: the game.
      observers: names of those to look at; None for all that can be built.

    Returns:
      A finding for each law; none of transition and observers if there is no state to give them.
    """
    begins: Mapping[str, Callable[[], object]] = {
        "the constants are in their ranges": lambda: _check_constants(game),
        "what is final is not replaced": lambda: _check_final(game),
        "init gives a NamedTuple of arrays with `ended` and `illegal`": lambda: state_of(game),
    }
    found = check_laws(begins)
    if any(finding.wrong for finding in found):
        return found
    state, key = state_of(game), key_shape()
    laws: dict[str, Callable[[], object]] = {
        "transition keeps the structure, shapes and dtypes of the state": lambda: _check_transition(game, state, key),
        "acting, legal_when_acting and bombed give what they should": lambda: _check_acting(game, state),
        "observers give vectors of their layout's size": lambda: _check_observers(game, state, observers),
        "every action has a name": lambda: _check_names(game),
    }
    if has_symmetries(game):
        laws["symmetries keep shapes and dtypes"] = lambda: _check_symmetry(game, state, key, observers)
    return found + check_laws(laws)


def require_shapes(game: Game, observers: Sequence[str] | None = None) -> None:
    """Refuse a game that cannot be traced, or that gives other shapes than it declares.

    Args as in `check_shapes`.

    Raises:
      TacitError: the sentence of the first law that is broken.
    """
    for finding in check_shapes(game, observers):
        if finding.wrong:
            raise TacitError(finding.wrong)


def check_laws(laws: Mapping[str, Callable[[], object]]) -> list[Finding]:
    """Run the test of each law, which raises TacitError where the law is broken."""
    found = []
    for law, test in laws.items():
        try:
            test()
        except TacitError as error:
            found.append(Finding(law, str(error)))
        else:
            found.append(Finding(law, ""))
    return found


def _check_constants(game: Game) -> None:
    expected = [("num_players", 1, None), ("num_actions", 2, None), ("horizon", 1, None)]
    for name, least, most in [*expected, ("max_acting", 1, "num_players")]:
        value = _read(game, name)
        bound = f"from {least} to {most}" if most else f"of at least {least}"
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < least or (most is not None and value > getattr(game, most)):
            raise TacitError(f"{name} of {class_name(game)} must be a whole number {bound}, not {value!r}")
    for name in ("name", "version"):
        if not isinstance(_read(game, name), str):
            raise TacitError(f"{name} of {class_name(game)} must be a str, not {getattr(game, name)!r}")
    if not isinstance(_read(game, "cyclic"), bool | np.bool_):
        raise TacitError(f"cyclic of {class_name(game)} must be True or False, not {game.cyclic!r}")
    scores = _read(game, "score_range")
    pair = isinstance(scores, tuple | list) and len(scores) == 2
    numbers = pair and all(isinstance(score, int | float | np.number) for score in scores)
    if not numbers or not -math.inf < scores[0] <= scores[1] < math.inf:
        raise TacitError(
            f"score_range of {class_name(game)} must be (least, greatest) as finite numbers, not {scores!r}"
        )
    try:
        hash(game)
    except TypeError as error:
        raise TacitError(
            f"{class_name(game)} must be hashable, a dataclass with frozen=True and fields of numbers, words and "
            f"tuples: {error}"
        ) from error


def _check_final(game: Game) -> None:
    for name in _FINAL:
        if getattr(type(game), name) is not getattr(Game, name):
            raise TacitError(f"{class_name(game)} replaces {name}, which is final: it belongs to games.game.Game")


def state_of(game: Game) -> Any:
    """What `init` gives, as shapes and dtypes.

    Raises:
      TacitError: if it gives no NamedTuple with `ended` and `illegal`, bool[] both.
    """
    state = _traced(game, "init", lambda key: game.init(key=key), key_shape())
    if not (isinstance(state, tuple) and {"ended", "illegal"} <= set(getattr(state, "_fields", ()))):
        raise TacitError(
            f"init of {class_name(game)} must give a NamedTuple with fields `ended` and `illegal`, not {_kind(state)}"
        )
    for field in ("ended", "illegal"):
        _expect(game, f"init gives the field `{field}`", getattr(state, field), (), jnp.bool_)
    return state


def _check_transition(game: Game, state: Any, key: Any) -> None:
    actions = array_shape((game.num_players,), jnp.int32)
    given = _traced(game, "transition", lambda s, a, k: game.transition(s, a, key=k), state, actions, key)
    if type(given) is not tuple or len(given) != 2:
        raise TacitError(f"transition of {class_name(game)} must give (state, reward), not {_kind(given)}")
    after, reward = given
    _expect_like(game, "transition", after, "init gave", state)
    if getattr(reward, "shape", None) != () or not _becomes_float32(reward.dtype):
        raise TacitError(
            f"transition of {class_name(game)} gives the reward as {_form(reward)}, and it must be float32[]"
        )


def _check_acting(game: Game, state: Any) -> None:
    given = _traced(game, "acting", game.acting, state)
    if not isinstance(given, tuple) or len(given) != 2:
        raise TacitError(f"acting of {class_name(game)} must give (players, valid), not {_kind(given)}")
    _expect(game, "acting gives the players", given[0], (game.max_acting,), jnp.int32)
    _expect(game, "acting gives which are valid", given[1], (game.max_acting,), jnp.bool_)
    legal = _traced(game, "legal_when_acting", game.legal_when_acting, state, array_shape((), jnp.int32))
    _expect(game, "legal_when_acting gives the legal actions", legal, (game.num_actions,), jnp.bool_)
    _expect(game, "bombed gives", _traced(game, "bombed", game.bombed, state), (), jnp.bool_)


def _check_observers(game: Game, state: Any, names: Sequence[str] | None) -> None:
    for name, observer in observers_of(game, names):
        what = f"the encoder of observer {name!r}"
        if observer.dtype not in (jnp.bool_, bool, jnp.float32):
            raise TacitError(
                f"observer {name!r} of {class_name(game)} must have the dtype bool or float32, not {observer.dtype!r}"
            )
        seen = _traced(game, what, observer.encode, state, array_shape((), jnp.int32))
        size = f"{what}, whose layout has {observer.size} entries, gives a vector"
        _expect(game, size, seen, (observer.size,), observer.dtype)


def _check_names(game: Game) -> None:
    for action in range(game.num_actions):
        name = call_user_code(game, "action_name", game.action_name, action)
        if not isinstance(name, str):
            raise TacitError(f"action_name of {class_name(game)} must give a str for action {action}, not {name!r}")


def _check_symmetry(game: Game, state: Any, key: Any, names: Sequence[str] | None) -> None:
    symmetry = _traced(game, "sample_symmetry", lambda key: game.sample_symmetry(key=key), key)
    if not isinstance(symmetry, Symmetry):
        raise TacitError(
            f"sample_symmetry of {class_name(game)} must give a games.game.Symmetry, not {_kind(symmetry)}"
        )
    players, actions = (game.num_players,), (game.num_players, game.num_actions)
    _expect(game, "sample_symmetry gives `players`", symmetry.players, players, jnp.int32)
    _expect(game, "sample_symmetry gives `actions`", symmetry.actions, actions, jnp.int32)
    image = _traced(game, "apply_symmetry", game.apply_symmetry, symmetry, state)
    _expect_like(game, "apply_symmetry", image, "its argument had", state)
    for name, observer in observers_of(game, names):
        seen = array_shape((observer.size,), observer.dtype)
        moved = _traced(game, f"the symmetry of observer {name!r}", observer.symmetry, symmetry, seen)
        _expect(game, f"the symmetry of observer {name!r} gives", moved, (observer.size,), observer.dtype)


def observers_of(game: Game, names: Sequence[str] | None) -> Iterator[tuple[str, Observer]]:
    """The observers called `names`, or all but those that refuse to be built (as too large), with their names.

    Raises:
      TacitError: if there is none at all, or none of a name.
    """
    offered = _read(game, "observers")
    if not isinstance(offered, Mapping) or not all(isinstance(name, str) for name in offered):
        raise TacitError(
            f"observers of {class_name(game)} must be a mapping of names to observers, not {_kind(offered)}"
        )
    if not offered:
        raise TacitError(f"{class_name(game)} needs at least one observer")
    for name in offered if names is None else names:
        try:
            observer = game.observer(name)
        except TacitError:
            if names is not None:
                raise
            continue
        yield name, observer


def has_symmetries(game: Game) -> bool:
    """Whether the game draws symmetries of its own, rather than the identity."""
    return type(game).sample_symmetry is not Game.sample_symmetry


def key_shape() -> Any:
    """A random key, as shape and dtype."""
    return jax.eval_shape(lambda: jax.random.key(0))


def array_shape(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    """A placeholder for an array of this shape, for tracing."""
    return jax.ShapeDtypeStruct(shape, dtype)


def _becomes_float32(dtype: Any) -> bool:
    """Whether `Game.step` makes float32 of a reward of this dtype."""
    return jnp.promote_types(dtype, jnp.float32) == jnp.float32


# ------------------------------------------------------------------------------------------------------- in words


def class_name(game: Game) -> str:
    """The game in a sentence, by the path of its class, for example "game mined.Mined"."""
    return f"game {type(game).__module__}.{type(game).__qualname__}"


def _form(leaf: Any) -> str:
    """A leaf's dtype and shape, for example int32[2]."""
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]" if hasattr(leaf, "shape") else _kind(leaf)


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"


def _expect(game: Game, what: str, found: Any, shape: tuple[int, ...], dtype: Any) -> None:
    expected = array_shape(shape, dtype)
    if getattr(found, "shape", None) != shape or found.dtype != expected.dtype:
        raise TacitError(f"in {class_name(game)} {what} as {_form(found)}, and it must be {_form(expected)}")


def _expect_like(game: Game, member: str, found: Any, who: str, expected: Any) -> None:
    """Two trees are alike in structure, shapes and dtypes."""
    ours, theirs = (leaves_of(tree) for tree in (found, expected))
    if jax.tree.structure(found) != jax.tree.structure(expected):
        odd = [f"`{path}`" for path in (*ours, *theirs) if (path in ours) != (path in theirs)]
        where = f" (they differ in {', '.join(odd)})" if odd else f" ({_kind(found)} for {_kind(expected)})"
        raise TacitError(f"{member} of {class_name(game)} gives a state of another structure than {who}{where}")
    for path, leaf in ours.items():
        if (leaf.shape, leaf.dtype) != (theirs[path].shape, theirs[path].dtype):
            raise TacitError(
                f"{member} of {class_name(game)} gives the state's `{path}` as {_form(leaf)}, "
                f"and {who} {_form(theirs[path])}"
            )


def leaves_of(tree: Any) -> dict[str, Any]:
    """The leaves of a state by their names."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path).lstrip("."): leaf for path, leaf in leaves}


def _read(game: Game, name: str) -> Any:
    return call_user_code(game, name, lambda: getattr(game, name))


def _traced(game: Game, member: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """The shapes and dtypes of what a member of the game returns."""
    return call_user_code(game, member, lambda: jax.eval_shape(function, *arguments))


def call_user_code(game: Game, member: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """The value of `function`; what the game's own code raises in it becomes one sentence.

    Raises:
      TacitError: naming the game's member, the file and the line.
    """
    try:
        return function(*arguments)
    except TacitError:
        raise
    except Exception as error:
        message = f"{error}".strip().splitlines() or [""]
        said = f"{type(error).__name__}: {message[0]}".rstrip(": .")
        own = getattr(sys.modules.get(type(game).__module__), "__file__", None)
        raise TacitError(f"in {member} of {class_name(game)}{location_in_user_code(error, own)}: {said}") from error
