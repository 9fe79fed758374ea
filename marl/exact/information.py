"""What an agent's messages say, and what it does with those that it hears: mutual information in bits, exactly.

In every game an agent passes through one action-observation history, (o_0, a_0, o_1, a_1, ...), with a probability that
the joint policy and chance give. Here the *steps* count from 0: a_t is its action of step t, o_t what it has seen last
before that action; o_0 is the initial observation. Mutual informations between parts of this sequence are differences
of entropies of its marginals,

    I(X; Y | Z) = H(X, Z) + H(Y, Z) − H(X, Y, Z) − H(Z).

Which steps are messages depends on the game: the caller of `sent` and `used` says it. Where an action or an observation
holds more than a message, `Entry.classes` says what of it counts.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from games.errors import TacitError, one_of, whole_number
from games.tabular.histories import Tree
from marl.exact.reasoning import JointPolicy, realisation_plan


class Entry(NamedTuple):
    """One action or observation of an agent."""

    what: Literal["action", "observation"]
    step: int
    classes: Sequence[int] | None = None
    """For each action, or observation, a number: those with the same number count as the same. None: all differ."""


def sent(
    tree: Tree,
    log_probs: JointPolicy,
    agent: int,
    *,
    steps: Sequence[int],
    private: Sequence[int] = (0,),
    classes: Sequence[int] | None = None,
) -> float:
    """I(messages; private observations) of the sender, in bits: what its messages say of what it has seen.

    Args:
      tree: the game's histories.
      log_probs: for each agent float64[H, A].
      agent: the sender.
      steps: at which its actions are messages.
      private: steps of its private observations.
      classes: see `Entry`, for the messages; for example all actions that are no message in one class.

    Raises:
      TacitError: for a step or a class that the game does not have.
    """
    messages = [Entry("action", step, classes) for step in steps]
    return mutual_information(tree, log_probs, agent, messages, [Entry("observation", step) for step in private])


def used(
    tree: Tree,
    log_probs: JointPolicy,
    agent: int,
    *,
    received: Sequence[int],
    steps: Sequence[int],
    private: Sequence[int] = (0,),
    classes: Sequence[int] | None = None,
) -> float:
    """I(received; later actions | own private observations) of the receiver, in bits: how far it acts on messages.

    Args:
      tree: the game's histories.
      log_probs: for each agent float64[H, A].
      agent: the receiver.
      received: steps of its observations that hold messages: those sent at step t are seen at t + 1.
      steps: at which its actions count.
      private: steps of its private observations; none: ().
      classes: see `Entry`, for what is received.

    Raises:
      TacitError: for a step or a class that the game does not have; if an action counts that comes before a message.
    """
    if received and steps and min(steps) < max(received):
        raise TacitError(f"actions from step {min(steps)} on cannot use what is seen only at step {max(received)}")
    heard = [Entry("observation", step, classes) for step in received]
    actions = [Entry("action", step) for step in steps]
    return mutual_information(
        tree, log_probs, agent, heard, actions, given=[Entry("observation", step) for step in private]
    )


def mutual_information(
    tree: Tree,
    log_probs: JointPolicy,
    agent: int,
    one: Sequence[Entry],
    other: Sequence[Entry],
    given: Sequence[Entry] = (),
) -> float:
    """I(one; other | given) of what an agent does and sees, in bits.

    Args:
      tree: the game's histories.
      log_probs: for each agent float64[H, A].
      agent: whose.
      one, other, given: parts of its sequence of actions and observations.

    Raises:
      TacitError: for an entry that the game does not have.
    """
    agent = whole_number("agent", agent, 0, len(tree.agents) - 1)
    probability, observations, actions = _sequences(tree, log_probs, agent)
    counts = {"observation": tree.problem.num_observations[agent], "action": tree.problem.num_actions[agent]}

    def column(entry: Entry) -> np.ndarray:
        what = one_of("what counts", entry.what, tuple(counts))
        step = whole_number(f"the step of an {what}", entry.step, 0, tree.horizon - 1)
        values = (observations if what == "observation" else actions)[step]
        if (values < 0).any():
            raise TacitError("agents of this game see nothing before step 0: there is no observation 0")
        if entry.classes is None:
            return values
        if len(entry.classes) != counts[what]:
            raise TacitError(f"classes must be given for each of {counts[what]} {what}s, not for {len(entry.classes)}")
        return np.asarray(entry.classes)[values]

    x, y, z = ([column(entry) for entry in part] for part in (one, other, given))

    def entropy(columns: list[np.ndarray]) -> float:
        if not columns:
            return 0.0
        _, cell = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
        shares = np.bincount(cell.reshape(-1), probability)
        shares = shares[shares > 0]
        return float(-(shares * np.log2(shares)).sum())

    # Where the value is 0, rounding may leave a negative difference.
    return max(entropy(x + z) + entropy(y + z) - entropy(x + y + z) - entropy(z), 0.0)


def _sequences(tree: Tree, log_probs: JointPolicy, agent: int) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """(float64[C] probability, int64[C] observation of each step, int64[C] action of each step) of whole games."""
    plans = realisation_plan(tree, log_probs)
    last = tree.stages[-1]
    weight = last.chance.sum(1)
    for own, plan, column in zip(tree.agents, plans, last.local.T, strict=True):
        weight = weight * plan[own.stage(tree.horizon - 1)].sum(1)[column]
    own = tree.agents[agent]
    here = own.stage(tree.horizon - 1)
    reach = np.bincount(last.local[:, agent], weight, here.stop - here.start)
    probability = reach[:, None] * np.exp(log_probs[agent][here])
    history, action = (part.reshape(-1) for part in np.indices(probability.shape))
    history = history + here.start
    observations, actions = [], []
    for _ in range(tree.horizon):
        observations.append(own.observation[history])
        actions.append(action)
        history, action = own.parent[history], own.action[history]
    return probability.reshape(-1), observations[::-1], actions[::-1]
