"""An agent: everything that is needed to let a policy play."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from games.errors import TacitError
from marl.policies.policy import Policy


class Kind(NamedTuple):
    """What agents have in common when one compiled program can play them: hashable."""

    policy: Policy
    observer: str
    share_parameters: bool


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


@functools.lru_cache(maxsize=64)
def declared_parameters(kind: Kind, num_players: int) -> Any:
    """The shapes and dtypes of an agent's parameters by its own architecture, without computing them."""
    one = jax.eval_shape(lambda key: kind.policy.init(key=key), jax.random.key(0))
    seats = () if kind.share_parameters else (num_players,)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*seats, *leaf.shape), leaf.dtype), one)


def check_parameters(agent: Agent, num_players: int) -> None:
    """Refuse weights that do not fit their own declared architecture; any architecture is fine.

    Raises:
      TacitError: naming the agent and the first weights that do not fit.
    """
    declared = declared_parameters(agent.kind, num_players)
    if jax.tree.structure(declared) != jax.tree.structure(agent.params):
        raise TacitError(
            f"the weights of agent {agent.label} are not those that its policy declares: {agent.kind.policy}"
        )
    found = jax.tree.leaves(agent.params)
    for (path, leaf), weights in zip(jax.tree_util.tree_leaves_with_path(declared), found, strict=True):
        if np.shape(weights) != leaf.shape:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            shapes = f"{leaf.shape}, and has weights of shape {np.shape(weights)}"
            raise TacitError(f"agent {agent.label} declares {name} of shape {shapes}")
