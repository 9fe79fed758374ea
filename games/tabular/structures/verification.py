"""Verification: a check finds a conflicting joint action before it counts, and it may be repaired."""

from collections.abc import Callable
from typing import NamedTuple

from games.errors import TacitError, whole_number
from games.tabular.simulator import Simulator
from games.tabular.structures.phases import (
    WAIT,
    Action,
    Core,
    Joint,
    Original,
    Rules,
    Step,
    named,
    originals,
    transform,
)

SHORT = 1e-9
"""A reward that is below the best one by more than this times max(1, |best|) is a conflict."""


class _Block(NamedTuple):
    attempts: int  # made at this step and found to conflict
    rest: int  # steps to wait, the joint action having been carried out


def verification(
    game: Simulator, *, repairs: int = 1, conflict: Callable[[int, tuple[int, ...]], bool] | None = None
) -> Simulator:
    """At every step the joint action is checked first; on a conflict all may choose again, up to `repairs` times.

    If there is no conflict the joint action is carried out, and everybody waits for what is left of the time for
    repairs. If there is one, nothing happens but that everybody is told. After the last repair the joint action is
    carried out whatever the check says.

    Actions: "wait". Observations: "conflict" or "accepted", together with the last original observation. Horizon:
    1 + `repairs` steps for each original one. Discount: γ^(1 / (1 + repairs)), rewards rescaled.

    Symmetries: the default check keeps them (it depends on rewards alone); another may not.

    The check knows the state, so that hearing "conflict" or "accepted" also tells something about it.

    Args:
      conflict: (state, joint action) -> whether it conflicts, by their numbers; None: whether its expected reward is
        below the best of the joint actions that are legal there.

    Raises:
      TacitError: if `repairs` is not a whole number of at least 1; if `conflict` cannot be called; if the game is too
        large.
    """
    repairs = whole_number("verification repairs", repairs, 1)
    if conflict is not None and not callable(conflict):
        raise TacitError(f"verification conflict must be a function of state and joint action, not {conflict!r}")
    original = Original(game)
    best: dict[Core, float] = {}

    def conflicts(core: Core, joint: Joint) -> bool:
        if conflict is not None:
            return bool(conflict(core.state, originals(joint)))
        if core not in best:
            best[core] = max(original.reward(core, other) for other in original.joint_legal(core))
        return original.reward(core, joint) < best[core] - SHORT * max(1.0, abs(best[core]))

    def legal(agent: int, core: Core, block: _Block) -> tuple[Action, ...]:
        return (WAIT,) if block.rest else original.legal(agent, core)

    def step(core: Core, block: _Block, joint: Joint) -> Step:
        if block.rest:
            return Step({_Block(0, block.rest - 1): 1.0})
        if block.attempts < repairs and conflicts(core, joint):
            return Step({_Block(block.attempts + 1, 0): 1.0})
        return Step({_Block(0, repairs - block.attempts): 1.0}, played=joint)

    def view(agent: int, core: Core, block: _Block, joint: Joint | None) -> tuple[str, ...]:
        return ("accepted",) if block.rest else ("conflict",) if block.attempts else ()

    pace = 1 + repairs
    label = named(game, "verification", repairs=repairs, conflict=conflict)
    return transform(original, Rules(_Block(0, 0), legal, step, view, pace=pace), label)
