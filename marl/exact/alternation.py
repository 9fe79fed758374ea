"""Alternating best responses: joint policies of a tabular Dec-POMDP that no single agent can improve.

Joint equilibrium-based search for policies (Nair et al., "Taming decentralized POMDPs", IJCAI 2003), from many starts,
with ties drawn at random to leave plateaus.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from games.errors import whole_number
from games.tabular.dec_pomdp import DecPOMDP
from marl.exact.best_response import BATCH_BYTES, MEMORY_LIMIT, Responder, parts
from marl.exact.deterministic import (
    PurePolicy,
    check_stages,
    flat,
    last_observations,
    legal_after,
    take,
)

LEANING = 0.1
"""Concentration of the Dirichlet distribution that preferences of random starts are drawn from."""

DRIFT = 5
"""The search with random ties from a start ends after so many responses of each agent without an improvement."""


def alternate(
    problem: DecPOMDP, horizon: int, *, restarts: int, seed: int, starts: Sequence[PurePolicy] = ()
) -> tuple[float, PurePolicy]:
    """(value, policy): the best of the joint policies that no single agent can improve, reached from all starts.

    Args:
      problem, horizon: the game.
      restarts: random starts.
      seed: of the random starts and of ties.
      starts: further joint policies to start from.

    Raises:
      TacitError: if `horizon` or `restarts` is not a positive whole number; if the policies, or the beliefs of a stage,
        would take more than `MEMORY_LIMIT`.
    """
    horizon = whole_number("horizon", horizon, 1)
    restarts = whole_number("restarts", restarts, 1)
    rng = np.random.default_rng(whole_number("seed", seed, 0))
    count = restarts + len(starts)
    check_stages(problem, horizon, count, MEMORY_LIMIT)
    num_agents = problem.num_agents
    responders = [Responder(problem, horizon, agent, MEMORY_LIMIT) for agent in range(num_agents)]
    batch = [_random_policies(problem, horizon, agent, restarts, rng) for agent in range(num_agents)]
    for policy in starts:
        batch = [
            [np.vstack([choices, new]) for choices, new in zip(own, given, strict=True)]
            for own, given in zip(batch, policy, strict=True)
        ]
    values = np.full(count, -np.inf)
    unchanged = np.zeros(count, np.int64)  # consecutive responses that left the policy as it was
    in_vain = np.zeros(count, np.int64)  # consecutive responses that found nothing better

    # First accept ties, drawn at random, to leave plateaus; then accept improvements only.
    for ties, patience in ((rng, DRIFT * num_agents), (None, np.inf)):
        for responder in itertools.cycle(responders):
            active = np.flatnonzero((unchanged < num_agents) & (in_vain < patience))
            if not len(active):
                break
            for part in parts(active, responder.copies_at_once()):
                policies = [[choices[part] for choices in own] for own in batch]
                found, response = responder(policies, ties)
                better = found > values[part] + responder.tie
                changed = better
                if ties is not None:
                    changed = better | (flat(response) != flat(policies[responder.agent])).any(1)
                for choices, new in zip(batch[responder.agent], response, strict=True):
                    choices[part[changed]] = new[changed]
                values[part[better]] = found[better]
                in_vain[part] = np.where(better, 0, in_vain[part] + 1)
                unchanged[part] = np.where(changed, 0, unchanged[part] + 1)
    best = int(np.argmax(values))
    return float(values[best]), take(batch, best)


def is_small(problem: DecPOMDP, horizon: int) -> bool:
    """Whether the beliefs of a best response of any agent take at most `BATCH_BYTES`: many of them take seconds."""
    agents = range(problem.num_agents)
    return all(Responder(problem, horizon, agent, MEMORY_LIMIT).bytes_of_one() <= BATCH_BYTES for agent in agents)


def _random_policies(
    problem: DecPOMDP, horizon: int, agent: int, count: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """For each stage int64[count, N]: actions drawn independently at each history.

    They are drawn uniformly for every second policy. The others prefer the same actions at all histories, so that the
    search also starts near policies that mostly take one action.
    """
    preference = np.log(rng.dirichlet(np.full(problem.num_actions[agent], LEANING), (count, 1)) + 1e-300)
    preference[::2] = 0
    legal = legal_after(problem, agent)
    policies: list[np.ndarray] = []
    for last in last_observations(problem, horizon, agent):
        score = preference + rng.gumbel(size=(count, len(last), legal.shape[1]))
        policies.append(np.where(legal[last], score, -np.inf).argmax(2))
    return policies
