"""Commitments: public and binding announcements of what one is going to do."""

import itertools
from collections.abc import Sequence

from games.errors import one_of
from games.tabular.simulator import Simulator
from games.tabular.structures.phases import (
    WAIT,
    Action,
    Core,
    Joint,
    Move,
    Original,
    Rules,
    Step,
    check_joint_actions,
    named,
    transform,
)  # fmt: skip

FORMS = ("simultaneous", "sequential")

_Announced = tuple[tuple[int, ...], ...]
"""For each agent that has announced its set, in the order of the agents: the actions left to it."""


def commitments(game: Simulator, *, form: str = "simultaneous", subsets: bool = False) -> Simulator:
    """Before every step each agent commits itself, seen by all: to an action or, with `subsets`, to a set of actions.

    "simultaneous": all at once. "sequential": one after the other in the order of the agents, each having seen the
    announcements before its own; the others wait. A single action is carried out as soon as all have announced theirs,
    without a step of its own: there would be nothing left to choose. Of a set, each agent then chooses one of its
    actions, knowing all sets.

    Actions: "commit a" in the place of action a; with `subsets`, one for each set of actions ("commit {a, b}") beside
    the actions themselves; "wait" in the sequential form. Observations: the others' newest announcements and, where a
    choice follows, the own set, together with the last original observation. Horizon, for each original step: 1
    (simultaneous) or the number of agents (sequential) steps, and 1 more with `subsets`. So simultaneous commitments to
    one action only make actions public. Discount: γ^(1 / that number), rewards rescaled.

    Symmetries: a commitment is tied to its action, so the labels are as interchangeable as before; the order of
    speaking tells agents apart.

    Raises:
      TacitError: for an unknown form; if `subsets` is not a truth value; if the game is too large.
    """
    form = one_of("commitments form", form, FORMS)
    subsets = one_of("commitments subsets", subsets, (False, True))
    label = named(game, "commitments", form=form, subsets=subsets)
    original = Original(game)
    agents, sequential = game.problem.num_agents, form == "sequential"
    if subsets:
        counts = [2**size - 1 for size in game.problem.num_actions]
        check_joint_actions(label, *([max(counts)] if sequential else counts))

    def announcements(agent: int, core: Core) -> list[Action]:
        choices = original.legal(agent, core)
        sizes = range(1, len(choices) + 1) if subsets else (1,)
        parts = itertools.chain.from_iterable(itertools.combinations(choices, size) for size in sizes)
        return [Move(f"commit {text(agent, part)}", means=part) for part in parts]

    def text(agent: int, part: tuple[int, ...]) -> str:
        names = [game.problem.actions[agent][action] for action in part]
        return f"{{{', '.join(names)}}}" if subsets else names[0]

    def legal(agent: int, core: Core, announced: _Announced) -> Sequence[Action]:
        if len(announced) == agents:
            return announced[agent]
        return [WAIT] if sequential and agent != len(announced) else announcements(agent, core)

    def step(core: Core, announced: _Announced, joint: Joint) -> Step:
        if len(announced) == agents:
            return Step({(): 1.0}, played=joint)
        together = (*announced, *(move.means for move in joint if isinstance(move, Move) and move.means))
        if len(together) < agents or subsets:
            return Step({together: 1.0})
        return Step({(): 1.0}, played=tuple(action for (action,) in together))

    def view(agent: int, core: Core, announced: _Announced, joint: Joint | None) -> tuple[str, ...]:
        if len(announced) == agents:
            now = f"act within {text(agent, announced[agent])}"
        else:
            now = "wait" if sequential and agent != len(announced) else "commit"
        return (now, *original.heard(agent, joint))

    pace = (agents if sequential else 1) + int(subsets)
    return transform(original, Rules((), legal, step, view, pace=pace), label)
