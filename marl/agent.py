"""An agent: everything that is needed to let a policy play."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from games.errors import TacitError, in_short
from games.game import Game
from marl.policies.policy import Policy


class Kind(NamedTuple):
    """What agents have in common if one compiled program can play them all; hashable."""

    policy: Policy
    observer: str
    share_parameters: bool

    @property
    def always_sampled(self) -> bool:
        """Whether agents sample in greedy play, too: true for a policy that is stochastic by definition."""
        return getattr(self.policy, "always_sampled", False)


class Agent(NamedTuple):
    """A policy with its parameters, and how it sees the game.

    Attributes:
      kind: the policy (with its memory clock), the observer's name, and whether all seats use the same parameters.
      params: of `kind.policy`; with a leading axis [num_players] unless `kind.share_parameters`.
      label: how results call it.
    """

    kind: Kind
    params: Any
    label: str

    @classmethod
    def of(
        cls, policy: Policy, params: Any = (), *, observer: str, label: str = "agent", share_parameters: bool = True
    ) -> "Agent":
        """A policy with its parameters as an agent.

        Args:
          policy: a network, a table or a rule (`marl.policies.policy.Policy`).
          params: what `policy.init` returned or a learner made of it; with a leading axis [num_players] unless
            `share_parameters`.
          observer: how it sees the game, the name of one of the game's observers.
          label: how results call it.
          share_parameters: whether all seats use the same parameters.
        """
        return cls(Kind(policy, observer, share_parameters), params, label)


@functools.lru_cache(maxsize=64)
def declared_parameters(kind: Kind, num_players: int) -> Any:
    """The shapes and dtypes of an agent's parameters by its own architecture, without computing them."""
    one = jax.eval_shape(lambda key: kind.policy.init(key=key), jax.random.key(0))
    seats = () if kind.share_parameters else (num_players,)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*seats, *leaf.shape), leaf.dtype), one)


def check_fits(agent: Agent, game: Game) -> None:
    """Refuse an agent that cannot play a game; any architecture is fine.

    A policy of one game may say itself whether it fits another, as `Tabular.misfit` does.

    Raises:
      TacitError: if the game has no such observer; naming the agent and the first weights that its policy does not
        declare, or why its policy does not fit the game.
    """
    declared = declared_parameters(agent.kind, game.num_players)
    if jax.tree.structure(declared) != jax.tree.structure(agent.params):
        raise TacitError(
            f"the weights of agent {agent.label} are not those that its policy declares: {agent.kind.policy}"
        )
    shapes = {name: leaf.shape for name, leaf in named(declared).items()}
    check_shapes(f"agent {agent.label}", shapes, named(agent.params))
    if why := _misfit(agent.kind, game):
        raise TacitError(f"agent {agent.label} cannot play {game.name}: {why}")


@functools.lru_cache(maxsize=64)
def _misfit(kind: Kind, game: Game) -> str:
    """Why agents of this kind cannot play the game, or ""; traces the policy, and computes nothing."""
    policy, observer = kind.policy, game.observer(kind.observer)
    if why := getattr(policy, "misfit", lambda game: "")(game):
        return why

    def apply(key: jax.Array, observation: jax.Array, legal: jax.Array) -> Any:
        memory = policy.initial_memory()
        return policy.apply(policy.init(key=key), memory, observation, legal), (
            memory,
            jnp.zeros_like(legal, jnp.float32),
        )

    seen = jax.ShapeDtypeStruct((observer.size,), observer.dtype)
    try:
        given, expected = jax.eval_shape(
            apply, jax.random.key(0), seen, jax.ShapeDtypeStruct((game.num_actions,), bool)
        )
    except Exception as error:
        return f"its policy does not take {_forms(seen)} and {game.num_actions} actions, {in_short(error)}"
    if _forms(given) != _forms(expected):
        return f"apply must give memory and log-probabilities as {_forms(expected)}, not {_forms(given)}"
    return ""


def _forms(given: Any) -> str:
    """Shapes and dtypes, such as "((), float32[3])"."""
    form = jax.tree.map(lambda leaf: f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]", given)
    return str(form).replace("'", "")


def check_shapes(whose: str, declared: Mapping[str, tuple[int, ...]], weights: Mapping[str, Any]) -> None:
    """Refuse weights that are not those declared.

    Args:
      whose: the weights, as errors call them.
      declared: the shape of each, by name.
      weights: arrays by name.

    Raises:
      TacitError: naming the first that is missing, has another shape or was not declared.
    """
    for name, shape in declared.items():
        found = np.shape(weights[name]) if name in weights else "no such weights"
        if found != shape:
            raise TacitError(f"{whose} declares {name} of shape {shape}, and holds {found}")
    if extra := weights.keys() - declared.keys():
        raise TacitError(f"{whose} holds weights that its architecture does not have: {sorted(extra)}")


def named(params: Any) -> dict[str, Any]:
    """The leaves of parameters by name, in their order, as files have them: "torso_0/kernel"."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
