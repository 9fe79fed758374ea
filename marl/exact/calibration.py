"""How well an agent predicts what its partner does next, exactly: Brier scores and Murphy's decomposition.

An agent models the others by its own run: it assumes that they play their parts of the joint policy in which it has
learned its own. At each of its histories h it predicts the partner's action at the same step (which it cannot have
seen yet) with the exact belief about the partner's history g,

    p(a | h) = Σ_g P(g | h) π̂(a | g),      P(g | h) ∝ Σ over joint histories with h and g of chance · Π x̂ of the others,

x̂ being the products of the modelled action probabilities on the way. A prediction is made only where the partner has
more than one legal action, and the belief is conditional on that.

With o the partner's action as a unit vector, the Brier score (Brier 1950) is the expectation of Σ_a (p_a − o_a)² over
what is really played, from 0 to 2. Predictions that are the same distribution form a group; with ō_p the shares of the
actions that follow prediction p, and ō those of all together (Murphy 1973, "A new vector partition of the probability
score"),

    Brier = E Σ_a (p_a − ō_p,a)² − E Σ_a (ō_p,a − ō_a)² + Σ_a ō_a (1 − ō_a)
          =      reliability     −      resolution      +    uncertainty.

Reliability is 0 where all predictions come true as often as they say. With itself every agent is calibrated: there
the model is what is played. With a stranger it need not be.

Where the model excludes the agent's history (the stranger has done what the modelled partner never does), the belief
assumes that the others have played uniformly; the prediction is what the modelled partner does there.
"""

from typing import NamedTuple

import numpy as np

from games.errors import TacitError, whole_number
from games.tabular.histories import Tree
from marl.exact.reasoning import SEEN, JointPolicy, realisation_plan

DIGITS = 12
"""Decimals to which predicted probabilities are rounded: predictions that agree in all of them are one."""


class Calibration(NamedTuple):
    """Brier = reliability − resolution + uncertainty, each the expectation for one prediction."""

    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    unforeseen: float  # share of predictions made where the model excludes the agent's history
    predictions: float  # the expected number of predictions in a game


def calibration(tree: Tree, model: JointPolicy, played: JointPolicy, *, agent: int, partner: int) -> Calibration:
    """How well `agent`, who assumes the joint policy `model`, predicts `partner` in games of the joint policy `played`.

    Args:
      tree: the game's histories.
      model: for each agent float64[H, A] log-probabilities; the agent's own part does not matter.
      played: the same shapes, what everybody really plays, `agent` included. A partner who draws one of several
        policies before the game is given by the policy that plays as the mixture does (`marl.exact.other_play`).
      agent, partner: two different agents.

    Raises:
      TacitError: if there are no two such agents; if the partner never has a choice where this is played.
    """
    last = len(tree.agents) - 1
    agent, partner = whole_number("agent", agent, 0, last), whole_number("partner", partner, 0, last)
    if agent == partner:
        raise TacitError(f"an agent predicts another one, not itself: agent and partner are both {agent}")
    found = _calibration(tree, _plans(tree, model, played), model, played, agent, partner)
    if not found.predictions:
        raise TacitError(f"agent {tree.problem.agents[partner]} never has a choice: there is nothing to predict")
    return found


def mean_calibration(
    tree: Tree,
    log_probs: tuple[np.ndarray, ...],
    seatings: np.ndarray,
    strangers: tuple[np.ndarray, ...] | None = None,
) -> Calibration:
    """The mean over seatings and ordered pairs of agents, each as one forecaster, weighted by predictions.

    Args:
      tree: the game's histories.
      log_probs: for each agent float64[B, H, A], joint policies.
      seatings: int[C, n], the joint policy from which each agent takes its part and its model of the others.
      strangers: in place of `log_probs`, the policies with which the others play, for example
        `marl.exact.other_play.relabelled` of `log_probs`, for others whose labels are drawn at random. None: those of
        `log_probs`.

    Raises:
      TacitError: for a game of one agent; if nobody ever has a choice.
    """
    met = log_probs if strangers is None else strangers
    if len(tree.agents) < 2:
        raise TacitError("one agent alone has no partner to predict")
    rows: list[Calibration] = []
    for seating in np.asarray(seatings).tolist():
        for agent, seat in enumerate(seating):
            model = tuple(own[seat] for own in log_probs)
            played = tuple(model[i] if i == agent else own[seating[i]] for i, own in enumerate(met))
            plans = _plans(tree, model, played)
            partners = [i for i in range(len(seating)) if i != agent]
            rows += [_calibration(tree, plans, model, played, agent, partner) for partner in partners]
    table = np.array(rows)
    number = table[:, -1]
    if not number.any():
        raise TacitError("nobody ever has a choice: there is nothing to predict")
    return Calibration._make([*(number @ table[:, :-1] / number.sum()).tolist(), float(number.mean())])


class _Plans(NamedTuple):
    """Realisation plans of all agents: float64[H, A] for each."""

    played: tuple[np.ndarray, ...]
    believed: tuple[tuple[np.ndarray, ...], ...]
    """Of the model and of uniform play, which takes the model's place where that excludes a history."""


def _plans(tree: Tree, model: JointPolicy, played: JointPolicy) -> _Plans:
    with np.errstate(divide="ignore"):
        uniform = tuple(map(np.log, tree.uniform()))
    return _Plans(realisation_plan(tree, played), (realisation_plan(tree, model), realisation_plan(tree, uniform)))


def _calibration(
    tree: Tree, plans: _Plans, model: JointPolicy, played: JointPolicy, agent: int, partner: int
) -> Calibration:
    """As `calibration`; all numbers are 0 where nothing is predicted."""
    shape = (tree.agents[agent].size, tree.problem.num_actions[partner])
    actions = np.zeros(shape)  # P(the agent comes to h, is asked, and the partner does a)
    beliefs = np.zeros((len(plans.believed), *shape))
    choice = tree.agents[partner].legal.sum(1) > 1
    predicted, done = np.exp(model[partner]), np.exp(played[partner])
    for t, stage in enumerate(tree.stages):
        rows = [own.stage(t).start + column for own, column in zip(tree.agents, stage.local.T, strict=True)]
        mine, theirs = rows[agent], rows[partner]
        asked = stage.chance.sum(1) * choice[theirs]
        reach = asked * _weight(plans.played, rows)
        np.add.at(actions, mine, reach[:, None] * done[theirs])
        for belief, plan in zip(beliefs, plans.believed, strict=True):
            weight = asked * _weight(plan, rows, without=agent)
            np.add.at(belief, mine, weight[:, None] * predicted[theirs])
    weight = actions.sum(1)
    asked = np.flatnonzero(weight > 0)
    if not len(asked):
        return Calibration(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    foreseen = beliefs[0, asked].sum(1) > SEEN
    belief = np.where(foreseen[:, None], beliefs[0, asked], beliefs[1, asked])
    forecasts = (belief / belief.sum(1, keepdims=True)).round(DIGITS)
    unforeseen = float(weight[asked][~foreseen].sum() / weight.sum())
    return _decompose(forecasts, actions[asked])._replace(unforeseen=unforeseen)


def _weight(plans: tuple[np.ndarray, ...], rows: list[np.ndarray], without: int | None = None) -> np.ndarray:
    """float64[K]: the product of the agents' own weights on the way to each joint history."""
    weight = np.ones(len(rows[0]))
    for agent, (plan, row) in enumerate(zip(plans, rows, strict=True)):
        if agent != without:
            weight = weight * plan[row].sum(1)
    return weight


def _decompose(forecasts: np.ndarray, actions: np.ndarray) -> Calibration:
    """The scores of predictions float64[N, A], with the probability float64[N, A] of each prediction and action."""
    total = actions.sum()
    weight = actions.sum(1, keepdims=True)
    # E (p - o)² = p² - 2 p E o + E o, as o is 0 or 1.
    brier = float((weight * forecasts**2 - 2 * forecasts * actions + actions).sum() / total)
    groups, group = np.unique(forecasts, axis=0, return_inverse=True)
    grouped = np.zeros_like(groups)
    np.add.at(grouped, group.reshape(-1), actions)
    sizes = grouped.sum(1, keepdims=True)
    shares, base = grouped / sizes, grouped.sum(0) / total
    reliability = float((sizes * (groups - shares) ** 2).sum() / total)
    resolution = float((sizes * (shares - base) ** 2).sum() / total)
    uncertainty = float((base * (1 - base)).sum())
    return Calibration(brier, reliability, resolution, uncertainty, 0.0, float(total))
