"""The self-play optimum of a tabular Dec-POMDP: the best deterministic joint policy and its value.

Some optimal joint policy is deterministic. `optimum` takes best responses to all policies of the other agents where
these are few (`marl.exact.enumeration`). Otherwise it searches over the stages (`marl.exact.multi_agent_a_star`), which
bounds the value from both sides. Where the bounds do not meet within the work that it may do, alternating best
responses (`marl.exact.alternation`) from the policy found and from random starts look for a better one, if they are
small enough.
"""

import math
from typing import NamedTuple

from games.errors import TacitError, whole_number
from games.tabular.dec_pomdp import DecPOMDP
from marl.exact.alternation import alternate, is_small
from marl.exact.deterministic import Controller, as_controller, on_histories
from marl.exact.enumeration import enumerate_policies
from marl.exact.multi_agent_a_star import MOST_LOOKAHEAD, MultiAgentAStar

MET = 1e-9
"""A lower bound that is this near to an upper bound is the optimum."""
WORK = 300_000_000
"""What all searches together may do, by default, in payoffs computed."""
FIRST_WORK = 1_000_000
"""What the first search may do; those that follow may do more and more.

Which lookahead is best depends on the problem: the most where few beliefs are met; little or none where they are so
many that bounds take all the work.
"""

TRIAL_WORK = 20_000_000
"""From so much on only the most lookahead and the one with the lowest upper bound go on."""


class Optimum(NamedTuple):
    """What `optimum` found: optimum ≤ `upper_bound`, and `value` is the optimum if `exact`, else a lower bound."""

    value: float  # of `policy`, with the problem's discount
    policy: Controller
    exact: bool
    upper_bound: float
    method: str


def optimum(
    problem: DecPOMDP, horizon: int, *, limit: int = 5_000, work: int = WORK, restarts: int = 128, seed: int = 0
) -> Optimum:
    """The best deterministic joint policy: the certain optimum, or the best that is found, with an upper bound.

    Args:
      problem, horizon: the game.
      limit: the most policies of the other agents to enumerate.
      work: how many payoffs of Bayesian games the search over the stages may compute; 10^8 take a few seconds.
      restarts: random starts of the alternating best responses, where the search does not end.
      seed: of these starts.

    Raises:
      TacitError: if `horizon`, `work` or `restarts` is not a positive whole number; if not even one joint policy fits.
    """
    horizon = whole_number("horizon", horizon, 1)
    limit = whole_number("limit", limit, 0)
    work = whole_number("work", work, 1)
    restarts = whole_number("restarts", restarts, 1)
    seed = whole_number("seed", seed, 0)
    found = enumerate_policies(problem, horizon, limit) if is_small(problem, horizon) else None
    if found is not None:
        value, policy, count = found
        method = f"best responses to all {count:,} policies of the other agents"
        return Optimum(value, as_controller(problem, policy), True, value, method)
    search = MultiAgentAStar(problem)
    start, _ = search.dynamics.start()
    value, upper, policy = -math.inf, math.inf, None
    most, part = min(horizon, MOST_LOOKAHEAD), FIRST_WORK
    lookaheads = sorted({0, min(horizon, 2), most})
    while upper - value > MET and search.work < work:
        uppers: dict[int, float] = {}
        for lookahead in lookaheads:
            search.most_work = min(search.work + part, work)
            found = search.run(start, horizon, lookahead, value)
            value, policy = found.lower, found.policy or policy
            uppers[lookahead] = found.upper
            upper = min(upper, found.upper)
            if upper - value <= MET or search.work >= work:
                break
        part *= 4
        if part > TRIAL_WORK:
            lookaheads = sorted({min(uppers, key=lambda lookahead: uppers[lookahead]), most})
    method = f"multi-agent A*, {search.nodes:,} nodes"
    if upper - value > MET and is_small(problem, horizon):
        starts = [] if policy is None else [on_histories(problem, horizon, policy)]
        better, found_policy = alternate(problem, horizon, restarts=restarts, seed=seed, starts=starts)
        method += f"; alternating best responses from its policy and {restarts} random starts"
        if better > value + MET:
            value, policy = better, as_controller(problem, found_policy)
            method += ", which found the value"
    if policy is None:
        raise TacitError(f"not even one joint policy of horizon {horizon} fits in memory; take a smaller horizon")
    upper = max(upper, value)
    return Optimum(value, policy, upper - value <= MET, upper, method)
