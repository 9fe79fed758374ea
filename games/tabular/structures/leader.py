"""A leader: one agent sees everything that agents observe, and decides or instructs."""

from collections.abc import Sequence

from games.errors import whole_number
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


def leader(game: Simulator, *, agent: int = 0, symbols: int | None = None) -> Simulator:
    """Agent number `agent` sees all private observations, and sets the others' actions or instructs them.

    Without `symbols` the leader chooses the joint action at every step, and the others have nothing to choose. With
    `symbols` it sends everybody one of so many symbols before every step, and then all act for themselves: the
    instruction has no meaning but what they make of it.

    Actions: without `symbols` the leader's are the joint actions ("left+right") and the others' is "wait"; with it the
    leader has "instruct 0", ... and "wait" is for the others, beside the original actions. Observations: the leader's
    also name what everybody else last observed; the others' name the instruction. Horizon: the same, or twice as long
    with `symbols`. Discount: √γ with `symbols`, rewards rescaled.

    Symmetries: the leader is told apart from the others; symbols are new labels that nothing tells apart.

    Raises:
      TacitError: if there is no such agent; if `symbols` is not a whole number of at least 1; if the game is too large.
    """
    problem, original = game.problem, Original(game)
    chief = whole_number("leader agent", agent, 0, problem.num_agents - 1)
    if symbols is not None:
        symbols = whole_number("leader symbols", symbols, 1)
    label = named(game, "leader", agent=chief, symbols=symbols)
    check_joint_actions(label, symbols or 1)
    instructs = [Move(f"instruct {symbol}", means=symbol) for symbol in range(symbols or 0)]

    def everything(number: int, core: Core) -> tuple[str, ...]:
        """What the leader is told of the others' observations."""
        if number != chief or core.seen is None:
            return ()
        others = [k for k in original.agents if k != chief]
        return tuple(original.says(k, problem.observations[k][core.seen[k]]) for k in others)

    def decide_legal(number: int, core: Core, phase: None) -> Sequence[Action]:
        if number != chief:
            return [WAIT]
        names = problem.actions
        return [
            Move("+".join(names[k][a] for k, a in enumerate(joint)), means=joint)
            for joint in original.joint_legal(core)
        ]

    def decide(core: Core, phase: None, joint: Joint) -> Step:
        decision = joint[chief]
        assert isinstance(decision, Move)
        return Step({None: 1.0}, played=decision.means)

    def decide_view(number: int, core: Core, phase: None, joint: Joint | None) -> tuple[str, ...]:
        return everything(number, core)

    def instruct_legal(number: int, core: Core, instructed: bool) -> Sequence[Action]:
        if instructed:
            return original.legal(number, core)
        return instructs if number == chief else [WAIT]

    def instruct(core: Core, instructed: bool, joint: Joint) -> Step:
        return Step({False: 1.0}, played=joint) if instructed else Step({True: 1.0})  # pyright: ignore

    def instruct_view(number: int, core: Core, instructed: bool, joint: Joint | None) -> tuple[str, ...]:
        if number == chief:
            return ("act" if instructed else "instruct", *everything(number, core))
        return original.heard(number, joint) if instructed else ("wait",)

    if symbols is None:
        return transform(original, Rules(None, decide_legal, decide, decide_view), label)
    return transform(original, Rules(False, instruct_legal, instruct, instruct_view, pace=2), label)
