"""The contract that every simulated game keeps.

A `Game` is a frozen description of one game: its rules are pure functions of one state, and the caller makes batches
with `jax.vmap`. One contract serves turn-based and simultaneous games. What happens after the end of a game and on an
illegal action is decided here, in `Game.step` and `Game.legal`, and nowhere else.
"""

import abc
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from games.errors import TacitError

Array = jax.Array


class State(Protocol):
    """What `Game` needs of a game's state, a NamedTuple of arrays with any further fields."""

    @property
    def ended(self) -> Array:
        """bool[]: the game is over."""
        ...

    @property
    def illegal(self) -> Array:
        """bool[]: an illegal action has been tried in this game (it was not played)."""
        ...

    def _replace(self, **fields: Any) -> Any: ...


class Symmetry(NamedTuple):
    """An automorphism of a game, as permutations (source index -> image index).

    `players` int[num_players], `actions` int[num_players, num_actions] (row: the acting player before the permutation),
    `parameters`: what the game itself needs to act on its states and observations.
    """

    players: Array
    actions: Array
    parameters: Any

    def on_action(self, player: Array, action: Array) -> Array:
        """int32[]: the image of an action of `player`."""
        return self.actions[player, action]

    def on_legal(self, player: Array, legal: Array) -> Array:
        """bool[num_actions]: the image of a legal mask (or of any vector over the actions) of `player`."""
        return jnp.zeros_like(legal).at[self.actions[player]].set(legal)


@dataclasses.dataclass(frozen=True)
class Section:
    """A named slice of an observation: `start <= index < stop`, in C order of its named axes."""

    name: str
    start: int
    axes: tuple[tuple[str, int], ...]
    """(name, length) of each axis, for example (("slot", 5), ("color", 5))."""
    meaning: str

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(length for _, length in self.axes)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def stop(self) -> int:
        return self.start + self.size


@dataclasses.dataclass(frozen=True)
class Layout:
    """The named slices of an observation, in order and without gaps.

    >>> layout = Layout.of([("time", {"step": 3}, "steps played"), ("hand", {"slot": 2, "color": 5}, "own cards")])
    >>> layout.size, layout["hand"]
    (13, slice(3, 13, None))
    """

    sections: tuple[Section, ...]

    @classmethod
    def of(cls, named: Iterable[tuple[str, Mapping[str, int], str]]) -> "Layout":
        """The layout of sections (name, axes, meaning), one after the other."""
        sections: list[Section] = []
        for name, axes, meaning in named:
            start = sections[-1].stop if sections else 0
            sections.append(Section(name, start, tuple(axes.items()), meaning))
        return cls(tuple(sections))

    @property
    def size(self) -> int:
        return self.sections[-1].stop

    def __getitem__(self, name: str) -> slice:
        for section in self.sections:
            if section.name == name:
                return slice(section.start, section.stop)
        raise KeyError(f"no section {name!r}; there are {', '.join(s.name for s in self.sections)}")

    def permute(self, observation: Array, axis: str, image: Array) -> Array:
        """Relabel every axis called `axis`: what stood at index i goes to index `image[i]`.

        Args:
          observation: [size], of any dtype.
          axis: the name of the axes to relabel.
          image: int[length], a permutation.
        """
        # One gather. Along an axis of that name with `stride` entries from one index to the next, the entry at index i
        # comes from index source[i], which lies (source[i] - i) * stride entries further on.
        source = jnp.argsort(image).astype(jnp.int32)
        origin = jnp.arange(self.size, dtype=jnp.int32)
        for index, stride in self._axes_called(axis):
            origin += (source[index] - index) * stride
        return observation[origin]

    def _axes_called(self, axis: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """For the first axis of that name in each section, then the second, ...: (index, stride) int32[size]."""
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for section in self.sections:
            indices = np.indices(section.shape).reshape(len(section.shape), -1)
            dimensions = [dimension for dimension, (name, _) in enumerate(section.axes) if name == axis]
            for nth, dimension in enumerate(dimensions):
                if nth == len(found):
                    found.append((np.zeros(self.size, np.int32), np.zeros(self.size, np.int32)))
                index, stride = found[nth]
                index[section.start : section.stop] = indices[dimension]
                stride[section.start : section.stop] = math.prod(section.shape[dimension + 1 :])
        return found

    def __str__(self) -> str:
        rows = [
            (section.name, " x ".join(f"{name} {length}" for name, length in section.axes), section)
            for section in self.sections
        ]
        name_width = max(len(name) for name, _, _ in rows)
        axes_width = max(len(axes) for _, axes, _ in rows)
        lines = [f"{'start':>5} {'stop':>5}  {'section':<{name_width}}  {'axes':<{axes_width}}  meaning"]
        lines += [
            f"{section.start:>5} {section.stop:>5}  {name:<{name_width}}  {axes:<{axes_width}}  {section.meaning}"
            for name, axes, section in rows
        ]
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Observer:
    """How a player sees a state: a plug-in of a game, computed on demand.

    Attributes:
      name: how configurations call it.
      layout: the named slices of the vector.
      dtype: bool where every entry is a bit, else float32; networks cast.
      encode: (state, player int[]) -> dtype[layout.size], for one state.
      symmetry: (Symmetry, observation) -> observation, the group action on this observer's vectors.
    """

    name: str
    layout: Layout
    dtype: Any
    encode: Callable[[Any, Array], Array] = dataclasses.field(compare=False)
    symmetry: Callable[[Symmetry, Array], Array] = dataclasses.field(compare=False)

    @property
    def size(self) -> int:
        return self.layout.size


class Game(abc.ABC):
    """A cooperative game of `num_players`, as pure functions of one state. Subclasses are frozen dataclasses.

    The team shares one reward. At every step each player gives an action; a player who is not acting has exactly one
    legal action, `noop`, which is always the last id. Subclasses define the abstract members; `step` and `legal` are
    final.
    """

    # A subclass gives these as fields, class variables or properties, whichever suits it; all are only read. The type
    # system cannot say so (PEP 767 would): pyright's reportIncompatibleVariableOverride is off where games are defined.
    name: str
    version: str
    """Changes whenever the same actions can lead elsewhere than before."""

    num_players: int
    num_actions: int
    """Actions of a player, `noop` included."""
    max_acting: int
    """The most players that act at one step: 1 in a turn-based game."""
    cyclic: bool
    """Whether at step t of every unfinished game exactly player t mod num_players acts."""
    horizon: int
    """No game is longer than this many steps."""
    score_range: tuple[float, float]
    """The least and the greatest sum of a game's rewards."""
    seats_differ: bool = False
    """Whether players may have different roles: then learners share no parameters between them unless told to."""
    discounted: bool = False
    """Whether rewards carry the game's own discount already: then learners use γ = 1 unless told otherwise."""

    @property
    def noop(self) -> int:
        return self.num_actions - 1

    @property
    @abc.abstractmethod
    def observers(self) -> Mapping[str, Observer]:
        """The observers of this game by name; the first is the default."""

    @abc.abstractmethod
    def init(self, *, key: Array) -> Any:
        """The state a game starts from."""

    @abc.abstractmethod
    def transition(self, state: Any, actions: Array, *, key: Array) -> tuple[Any, Array]:
        """One step of an unfinished game under legal actions.

        Args:
          state: one state, not ended.
          actions: int32[num_players], all legal.
          key: chance of this step.

        Returns:
          The next state and the reward, float32[].
        """

    @abc.abstractmethod
    def acting(self, state: Any) -> tuple[Array, Array]:
        """The acting players, int32[max_acting], and which of these entries are valid, bool[max_acting]."""

    @abc.abstractmethod
    def legal_when_acting(self, state: Any, player: Array) -> Array:
        """bool[num_actions]: what `player` may do where it is its turn and the game is not over; `noop` is False."""

    def bombed(self, state: Any) -> Array:
        """bool[]: the game ended in a disaster that cost the whole score (Hanabi: no life left)."""
        return jnp.zeros((), jnp.bool_)

    @abc.abstractmethod
    def action_name(self, action: int) -> str:
        """An action in words."""

    def sample_symmetry(self, *, key: Array) -> Symmetry:
        """A uniformly drawn element of the group that `apply_symmetry` acts with; here the trivial one."""
        del key
        actions = jnp.arange(self.num_actions, dtype=jnp.int32)
        return Symmetry(
            players=jnp.arange(self.num_players, dtype=jnp.int32),
            actions=jnp.broadcast_to(actions, (self.num_players, self.num_actions)),
            parameters=(),
        )

    def apply_symmetry(self, symmetry: Symmetry, state: Any) -> Any:
        """The image of a state; here the identity."""
        del symmetry
        return state

    def places_of(self, smaller: Any, observer: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Where a smaller game's observations and actions stand among those of this one.

        Args:
          smaller: another game of the same class.
          observer: the name of one of their observers.

        Returns:
          The index of each of its observation entries, int[size], and of each of its actions, int[num_actions].

        Raises:
          TacitError: if it does not fit into this game; here always.
        """
        raise TacitError(
            f"it is {smaller.name} with other parameters, and {self.name} has no places for its observations"
        )

    @final
    def is_acting(self, state: Any) -> Array:
        """bool[num_players]: who acts at this step; nobody after the end."""
        players, valid = self.acting(state)
        hits = players[:, None] == jnp.arange(self.num_players, dtype=jnp.int32)[None]
        return jnp.any(hits & valid[:, None], axis=0) & ~state.ended

    @final
    def legal(self, state: Any, player: Array) -> Array:
        """bool[num_actions]: the legal actions of `player`; only `noop` out of turn and after the end."""
        acts = self.is_acting(state)[player]
        only_noop = jnp.arange(self.num_actions, dtype=jnp.int32) == self.noop
        return jnp.where(acts, self.legal_when_acting(state, player), only_noop)

    @final
    def step(self, state: Any, actions: Array, *, key: Array) -> tuple[Any, Array, Array]:
        """One step of the game.

        After the end nothing changes and the reward is 0. If any player's action is illegal nothing is played either:
        the state stays, the reward is 0 and `state.illegal` is set.

        Args:
          state: one state.
          actions: int32[num_players].
          key: chance of this step; consumed.

        Returns:
          (state, reward float32[], done bool[]).
        """
        players = jnp.arange(self.num_players, dtype=jnp.int32)
        in_range = (actions >= 0) & (actions < self.num_actions)
        legal = jax.vmap(lambda player, action: self.legal(state, player)[action])(
            players, jnp.clip(actions, 0, self.num_actions - 1)
        )
        allowed = jnp.all(legal & in_range)
        next_state, reward = self.transition(state, actions, key=key)
        frozen = state.ended | ~allowed
        kept = state._replace(illegal=state.illegal | (~allowed & ~state.ended))
        next_state = jax.tree.map(lambda old, new: jnp.where(frozen, old, new), kept, next_state)
        return next_state, jnp.where(frozen, jnp.float32(0), reward), next_state.ended

    @final
    def checked_step(self, state: Any, actions: ArrayLike, *, key: Array) -> tuple[Any, Array, Array]:
        """`step` with actions int[num_players] outside of `jit`: an illegal one raises instead of setting the flag.

        Raises:
          TacitError: naming the player, the action and what was legal instead.
        """
        for player, action in enumerate(np.asarray(actions).tolist()):
            legal = np.flatnonzero(np.asarray(self.legal(state, jnp.int32(player))))
            if action not in legal:
                known = f"{self.action_name(action)!r}" if 0 <= action < self.num_actions else "which does not exist"
                names = ", ".join(f"{a} {self.action_name(a)!r}" for a in legal.tolist())
                raise TacitError(
                    f"player {player} may not take action {action} ({known}) here; legal for this player: {names}"
                )
        return self.step(state, jnp.asarray(actions), key=key)

    @final
    def observer(self, name: str) -> Observer:
        """The observer called `name`.

        Raises:
          TacitError: where this game has none of that name.
        """
        try:
            return self.observers[name]
        except KeyError:
            raise TacitError(
                f"game {self.name!r} has no observer {name!r}; it has {', '.join(self.observers)}"
            ) from None

    @final
    def observe(self, state: Any, player: Array | int, observer: str | None = None) -> Array:
        """What `player` sees of one state through the observer called `observer`, by default the first: dtype[size]."""
        return self._observer(observer).encode(state, jnp.asarray(player, jnp.int32))

    @final
    def section(self, observation: Array, name: str, observer: str | None = None) -> Array:
        """The section called `name` of what `observe` returned.

            game.section(game.observe(state, 0), "hands")

        Args:
          observation: [..., size], of any dtype; traced, too.
          name: of the section (`tacit games NAME` lists them).
          observer: whose layout it is, by default the first one's.

        Returns:
          [..., *axes], with the section's named axes in their order.

        Raises:
          TacitError: where the observer has no such section, or its observations have another size.
        """
        seen_by = self._observer(observer)
        whose, sections = f"observer {seen_by.name!r} of game {self.name!r}", seen_by.layout.sections
        found = next((section for section in sections if section.name == name), None)
        if found is None:
            known = ", ".join(section.name for section in sections)
            raise TacitError(f"{whose} has no section {name!r}; it has {known}")
        *batch, size = jnp.shape(observation) or (0,)
        if size != seen_by.size:
            raise TacitError(f"{whose} has observations of {seen_by.size} entries, not {size}: name another observer")
        return observation[..., found.start : found.stop].reshape(*batch, *found.shape)

    def _observer(self, name: str | None) -> Observer:
        return self.observer(next(iter(self.observers)) if name is None else name)
