"""Shared history: what everybody saw and did becomes public afterwards."""

from games.tabular.simulator import Simulator
from games.tabular.structures.phases import Core, Joint, Original, Rules, Step, named, originals, transform

_Seen = tuple[int, ...] | None


def shared_history(game: Simulator) -> Simulator:
    """After every step all agents learn the joint action and what everybody had observed before taking it.

    An observation stays private until its agent has acted on it. So a game of one step stays as it is, and later each
    agent knows everything but the others' newest observations.

    Actions, horizon and discount: nothing is added. Observations: the others' actions and their observations before
    them, together with the agent's own new one; "start" where a game begins without one.

    Symmetries: those of the game (what is shown is tied to what it shows).

    Raises:
      TacitError: if the game is too large.
    """
    problem, original = game.problem, Original(game)

    def legal(agent: int, core: Core, before: _Seen) -> tuple[int, ...]:
        return original.legal(agent, core)

    def step(core: Core, before: _Seen, joint: Joint) -> Step:
        return Step({core.seen: 1.0}, played=joint)

    def view(agent: int, core: Core, before: _Seen, joint: Joint | None) -> tuple[str, ...]:
        played = enumerate(originals(joint or ()))
        return tuple(original.says(k, did(k, before, action)) for k, action in played if k != agent)

    def did(agent: int, before: _Seen, number: int) -> str:
        action = problem.actions[agent][number]
        return action if before is None else f"{problem.observations[agent][before[agent]]} -> {action}"

    return transform(original, Rules(None, legal, step, view), named(game, "shared_history"))
