"""Search at test time: one step ahead of a fixed joint policy, with exact beliefs, on top of any method.

At each of its histories an agent takes the action that is best if everybody goes on with the joint policy π from then
on, itself included, and if the others have played π so far,

    Q_π(h, a) = E_{τ ~ P_π(·|h)} [r + γ · value of π afterwards],      π'(h) = the best a, ties split evenly.

Its model of the others is the joint policy of its own run. If one agent does so and the others keep to π, this is a
step of policy iteration in the POMDP that they make, so that self-play never falls. If several do so at the same time,
each is wrong about the others, and self-play may fall. Lerer, Hu, Foerster and Brown 2020, "Improving policies via
search in cooperative partially observable games", search in this way with one agent, and for several have each replay
the others' search.

With a stranger the belief assumes the wrong policy. What search does to cross-play is measured by playing the new
policies (`marl.exact.crossplay.play`, `marl.exact.methods.score`).

Where the others' parts of π exclude the history there is no belief, and the policy stays what it was.
"""

import functools
from collections.abc import Sequence

import jax
import numpy as np

from games.errors import whole_number
from games.tabular.histories import Tree
from marl.exact.objective import Array, JointPolicy, Tables, double_precision, in_batches, sweep, tables
from marl.exact.reasoning import SEEN, largest_return, split_ties

TIES = 1e-8
"""Action values closer than this share of the largest possible return are equal."""


@double_precision
def lookahead(
    tree: Tree, log_probs: tuple[np.ndarray, ...], *, agents: Sequence[int] | None = None
) -> tuple[np.ndarray, ...]:
    """Joint policies in which agents search one step ahead of the given joint policies.

    Args:
      tree: the game's histories.
      log_probs: for each agent float64[B, H, A].
      agents: who searches, each assuming that nobody else does; None: everybody.

    Returns:
      For each agent float64[B, H, A]; agents who do not search keep their policies.

    Raises:
      TacitError: for an agent that the game does not have; for a game with bounded memory.
    """
    tree.need_perfect_recall("a search with exact beliefs")
    count = len(tree.agents)
    chosen = range(count) if agents is None else [whole_number("agent", agent, 0, count - 1) for agent in agents]
    others, q = in_batches(_values, tables(tree), log_probs)
    tolerance = TIES * largest_return(tree)
    policies = list(log_probs)
    for agent in chosen:
        best = np.stack([split_ties(one, tree.agents[agent].legal, tolerance) for one in q[agent]])
        policies[agent] = np.where(others[agent][..., None] > SEEN, best, log_probs[agent])
    return tuple(policies)


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, 0))
def _values(table: Tables, log_probs: JointPolicy) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """(the others' and chance's share of the reach of each history, action values), for each agent."""
    swept = sweep(table, log_probs, 0.0)
    return swept.others, swept.q
