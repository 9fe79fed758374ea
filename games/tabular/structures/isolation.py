"""Isolation: everybody works in a part of its own."""

from collections.abc import Sequence

import numpy as np

from games.errors import TacitError, number
from games.tabular.simulator import Simulator
from games.tabular.structures.phases import Core, Joint, Original, Rules, Step, action_number, named, transform


def isolation(game: Simulator, *, partition: Sequence[Sequence[str | int]], penalty: float | None = None) -> Simulator:
    """Each agent keeps to its part of the actions: it can take no others (hard) or pays for them (soft).

    Parts may overlap, and an action with which an agent waits has to be in its part like any other.

    Actions, horizon and discount: nothing is added; hard isolation takes actions away. Observations: "start" where a
    game begins without one, since what is legal depends on an observation. Soft: every agent that acts outside its part
    costs the team `penalty` at that step.

    Symmetries: a partition is part of the game, and those that do not keep it are broken.

    Args:
      partition: for each agent its actions, by name or number.
      penalty: at least 0; None: hard.

    Raises:
      TacitError: if there is not a part for each agent, or an unknown action in it; if some action is in nobody's part;
        if an agent would have no action left after one of its observations; if `penalty` is below 0.
    """
    original = Original(game)
    parts = _parts(game, partition)
    if penalty is not None:
        penalty = number("isolation penalty", penalty, 0)
    label = named(game, "isolation", partition=[sorted(part) for part in parts], penalty=penalty)

    def legal(agent: int, core: Core, phase: None) -> list[int]:
        return [a for a in original.legal(agent, core) if penalty is not None or a in parts[agent]]

    def step(core: Core, phase: None, joint: Joint) -> Step:
        outside = sum(action not in part for action, part in zip(joint, parts, strict=True))
        return Step({None: 1.0}, played=joint, extra=-(penalty or 0.0) * outside)

    def view(agent: int, core: Core, phase: None, joint: Joint | None) -> tuple[str, ...]:
        return ()

    return transform(original, Rules(None, legal, step, view), label)


def _parts(game: Simulator, partition: Sequence[Sequence[str | int]]) -> list[set[int]]:
    """The actions in each agent's part, checked."""
    problem = game.problem
    is_list = isinstance(partition, Sequence) and not isinstance(partition, str)
    if not is_list or len(partition) != problem.num_agents:
        raise TacitError(
            f"isolation partition must be a list of actions for each of {problem.num_agents} agents, not {partition!r}"
        )
    parts: list[set[int]] = []
    for agent, given in enumerate(partition):
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise TacitError(f"isolation partition of {problem.agents[agent]} must be a list of actions, not {given!r}")
        numbers = [action_number(problem, agent, action, "isolation partition") for action in given]
        if None in numbers:
            unknown = given[numbers.index(None)]
            raise TacitError(f"isolation partition: {problem.agents[agent]} has no action {unknown!r}")
        parts.append({number for number in numbers if number is not None})
    given_away = {problem.actions[agent][action] for agent, part in enumerate(parts) for action in part}
    for names in problem.actions:
        if missing := [name for name in names if name not in given_away]:
            raise TacitError(f"isolation partition must cover all actions, and {missing[0]!r} is in nobody's part")
    for agent, part in enumerate(parts):
        inside = np.isin(np.arange(problem.num_actions[agent]), list(part))
        if not part:
            raise TacitError(f"isolation partition leaves {problem.agents[agent]} no action at all")
        if problem.legal is not None and not (left := (problem.legal[agent] & inside).any(1)).all():
            after = problem.observations[agent][int(np.argmin(left))]
            raise TacitError(
                f"isolation partition leaves {problem.agents[agent]} no action after observation {after!r}"
            )
    return parts
