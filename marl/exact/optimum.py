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
FIRST_WORK = 4_000_000
"""What the first searches may do; those that follow may do `MORE` times as much, again and again.

Each time there are three, since which bounds, and which policies they lead to, are best depends on the problem: from
searches within one another where few beliefs are met, from the centralised problem alone where they are so many that
such searches take all the work.
"""

MORE = 4
TRIAL_WORK = 100_000_000
"""From so much on only the one with the lowest upper bound goes on, with all that is left if that is not much more."""

MORE_EFFORT = 8
"""So much more is done for the bound of a belief in the next search, if all bounds were computed in the last one."""


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
    part = FIRST_WORK
    efforts = dict.fromkeys((min(horizon, 2), min(horizon, MOST_LOOKAHEAD), 0), 1)  # of each lookahead
    uppers = dict.fromkeys(efforts, math.inf)
    while upper - value > MET and search.work < work:
        for lookahead in sorted(efforts, key=lambda own: uppers[own]):
            search.allow(efforts[lookahead], min(search.work + part, work))
            found = search.run(start, horizon, lookahead, value)
            value, policy = found.lower, found.policy or policy
            uppers[lookahead] = found.upper
            upper = min(upper, found.upper)
            if upper - value <= MET or search.work >= work:
                break
            if not search.cut:
                efforts[lookahead] *= MORE_EFFORT
        part *= MORE
        if part > TRIAL_WORK:
            best = min(efforts, key=lambda own: uppers[own])
            efforts = {best: efforts[best]}
            if work - search.work < (1 + MORE) * part:
                part = work
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
