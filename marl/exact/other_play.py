"""Other-Play, exactly: joint policies under random relabellings of the game, and the best of them.

Hu, Lerer, Peysakhovich and Foerster 2020, "Other-Play for zero-shot coordination"; Treutlein, Dennis, Oesterheld and
Foerster 2021, "A new formalism, method and open issues for zero-shot coordination".

Agents who have never met may have labelled the game differently, in any way that is a symmetry of it. An agent whose
labels are drawn uniformly from the symmetry group plays a mixture of the images of its policy. With x(h) the product
of the own action probabilities on the way to h, the mixture's weights y(h, a) = x(h) π(a|h) are the means of the
policy's own weights over the orbits of (history, action), however many symmetries there are; and with perfect recall a
policy with those weights plays exactly as the mixture does (Kuhn's theorem). So the expectation over all relabellings,
of one agent or of each, is the return of one joint policy. If symmetries swap agents, an agent's image may be the
policy of another seat.

Other-Play takes the joint policy whose expected return under independent relabellings of its agents is greatest. As a
mixture over the group plays as an equivariant policy does, that is a best equivariant policy
(`marl.exact.equivariant`). There may be several, each symmetric, that score badly with each other. The start decides
which one is found; a tie-breaking function that does not depend on the labels chooses one.
"""

from collections.abc import Sequence

import numpy as np

from games.errors import TacitError
from games.tabular.histories import Tree
from games.tabular.symmetry import SymmetryGroup, orbits, project
from marl.exact import crossplay
from marl.exact.equivariant import search_tied, vertices
from marl.exact.objective import double_precision
from marl.exact.phase import reach_probabilities
from marl.exact.reasoning import realisation_plan

SAME_OPTIMUM = 1e-3
"""Two optima count as one if no weight y(h, a) differs by more."""
BEST = 1e-6
"""A value this near to the best equivariant one, in units of the span of one step's rewards, counts as optimal."""


def realisation_weights(tree: Tree, log_probs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """y(h, a), the product of the own action probabilities up to and including a: for each agent float64[..., H, A].

    Args:
      tree: the game's histories.
      log_probs: for each agent float64[..., H, A].
    """
    batch_last = [np.moveaxis(own, (-2, -1), (0, 1)) for own in log_probs]
    return tuple(np.moveaxis(own, (0, 1), (-2, -1)) for own in realisation_plan(tree, batch_last))


def with_weights(tree: Tree, weights: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The log-probabilities that have given weights y(h, a), uniform where the own weight is 0.

    Args:
      tree: the game's histories.
      weights: for each agent float64[..., H, A].

    Returns:
      The same shapes, -inf where illegal.
    """
    policy = []
    for own, uniform, weight in zip(tree.agents, tree.uniform(), weights, strict=True):
        total = weight.sum(-1, keepdims=True)
        probs = np.where(total > 0, weight / np.where(total > 0, total, 1.0), uniform)
        with np.errstate(divide="ignore"):
            policy.append(np.log(np.where(own.legal, probs, 0.0)))
    return tuple(policy)


def relabelled(tree: Tree, tied: Sequence[np.ndarray], log_probs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """What each agent plays on average over the symmetries of the game: for each agent float64[..., H, A].

    The return of agents from relabelled policies is the expectation over independent relabellings of all of them; for
    two agents who keep their seats, also over relabellings of only one.

    Args:
      tree: the game's histories.
      tied: what `games.tabular.symmetry.orbits` returned.
      log_probs: for each agent float64[..., H, A].
    """
    return with_weights(tree, project(tied, realisation_weights(tree, log_probs)))


def mixture(tree: Tree, log_probs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """What an agent plays who draws one of N policies, each as likely, before the game: for each agent float64[H, A].

    Args:
      tree: the game's histories.
      log_probs: for each agent float64[N, H, A].
    """
    return with_weights(tree, [own.mean(0) for own in realisation_weights(tree, log_probs)])


def uniform_where_unreached(tree: Tree, log_probs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """The same policies, uniform at histories that their joint policy never reaches: for each agent float64[N, H, A].

    Nothing is learned there. Actions drawn at random, once and independently, would earn the same on average.
    """
    reach = reach_probabilities(tree, log_probs)
    with np.errstate(divide="ignore"):
        return tuple(
            np.where(reached[..., None] > 0, log, np.log(uniform))
            for reached, log, uniform in zip(reach, log_probs, tree.uniform(), strict=True)
        )


@double_precision
def optima(
    tree: Tree, group: SymmetryGroup, *, best: float, starts: int = 32, seed: int = 0
) -> tuple[tuple[np.ndarray, ...], int]:
    """The different optima of Other-Play that a search from independent starts finds.

    If it finds none, the optima among the vertices of the tied policies, where these are few enough to enumerate.

    Args:
      tree: the game's histories.
      group: its symmetries, with or without agent swaps.
      best: the greatest value known of an equivariant policy (`marl.exact.equivariant.best_equivariant`).
      starts, seed: of the search.

    Returns:
      (for each agent float64[K, H, A], how many starts reached one of them; 0 if they are from the vertices).

    Raises:
      TacitError: if the group does nothing to policies; if no start reached `best`.
    """
    if group.policy_order == 1:
        raise TacitError("the group is trivial: Other-Play is self-play here")
    tied = orbits(group, tree)
    found = search_tied(tree, tied, starts, np.random.default_rng(seed))
    span = float(np.ptp(tree.problem.expected_reward)) or 1.0
    reached = np.flatnonzero(crossplay.self_play(tree, found) >= best - BEST * span)
    count = len(reached)
    if not count and (corners := vertices(tree, tied)) is not None:
        found, reached = corners, np.flatnonzero(crossplay.self_play(tree, corners) >= best - BEST * span)
    if not len(reached):
        raise TacitError(f"none of {starts} starts reached the best equivariant value known, {best:.6g}")
    found = uniform_where_unreached(tree, tuple(own[reached] for own in found))
    weights = realisation_weights(tree, found)
    different: list[int] = []
    for place in range(len(reached)):
        if all(max(np.abs(own[place] - own[known]).max() for own in weights) > SAME_OPTIMUM for known in different):
            different.append(place)
    return tuple(own[different] for own in found), count


def by_preference(tree: Tree, tied: Sequence[np.ndarray], policies: tuple[np.ndarray, ...]) -> np.ndarray:
    """The order of K equivariant policies by a fixed symmetry-invariant tie-breaking function, the preferred one first.

    The function adds up the weights y(h, a), each times a number that is drawn once and for all for the orbit of
    (h, a). Every symmetry takes an orbit to itself, so that the choice is the same however an agent has labelled the
    game; it does depend on the numbering of orbits, which all agents read from the same tables.

    Args:
      tree: the game's histories.
      tied: what `games.tabular.symmetry.orbits` returned.
      policies: for each agent float64[K, H, A], equivariant.

    Returns:
      int64[K], indices of the policies.
    """
    numbers = np.random.default_rng(0).random(1 + max(int(own.max()) for own in tied))
    preference = np.zeros(len(policies[0]))
    for own, weights in zip(tied, realisation_weights(tree, policies), strict=True):
        preference += (weights * np.where(own >= 0, numbers[own], 0.0)).sum((1, 2))
    return np.argsort(-preference, kind="stable")


def break_ties(tree: Tree, tied: Sequence[np.ndarray], policies: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """The first of `by_preference`, from the same arguments: for each agent float64[1, H, A]."""
    preferred = by_preference(tree, tied, policies)[0]
    return tuple(own[preferred : preferred + 1] for own in policies)


def cross_play_of_the_preferred(
    tree: Tree, tied: Sequence[np.ndarray], policies: tuple[np.ndarray, ...], runs: int
) -> float:
    """The expected return of two agents who each take the preferred one of `runs` optima that they found.

    Each finds its own, independently, and each of the K optima as likely: Treutlein et al.'s tie-breaking with as many
    training seeds. One run is `mixture` of all; infinitely many are `break_ties`.

    Args:
      tree: the game's histories; of two agents.
      tied: what `games.tabular.symmetry.orbits` returned.
      policies: for each agent float64[K, H, A], equivariant.
      runs: at least 1.
    """
    ordered = tuple(own[by_preference(tree, tied, policies)] for own in policies)
    cells = np.asarray(crossplay.cross_play(tree, relabelled(tree, tied, ordered)))
    # The preferred one of several has at least the place p if all of them have.
    at_least = ((len(cells) - np.arange(len(cells) + 1)) / len(cells)) ** runs
    chosen = at_least[:-1] - at_least[1:]
    return float(chosen @ cells @ chosen)
