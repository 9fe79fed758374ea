"""Cheap talk: costless, public, non-binding messages before the first action."""

from games.errors import whole_number
from games.tabular.simulator import Simulator
from games.tabular.structures.phases import (
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


def cheap_talk(game: Simulator, *, symbols: int = 2, rounds: int = 1) -> Simulator:
    """Everybody says one of `symbols` symbols to everybody at once, `rounds` times, and then plays the game.

    Actions: `symbols` more for each agent ("say 0", ...), the same in all rounds. Observations: what the others said in
    the last round, together with the agent's last original observation. Horizon: `rounds` more, before the first step;
    agents have their initial observations by then. Discount: rewards are divided by γ^rounds.

    Symmetries: each agent's symbols are new labels that nothing tells apart, and may be permuted separately; those of
    the game stay. So without a convention talk carries nothing.

    Raises:
      TacitError: if `symbols` or `rounds` is not a whole number of at least 1; if the game is too large.
    """
    symbols = whole_number("cheap_talk symbols", symbols, 1)
    rounds = whole_number("cheap_talk rounds", rounds, 1)
    label = named(game, "cheap_talk", symbols=symbols, rounds=rounds)
    check_joint_actions(label, *[symbols] * game.problem.num_agents)
    original = Original(game)
    says = tuple(Move(f"say {symbol}", means=symbol) for symbol in range(symbols))

    def legal(agent: int, core: Core, said: int) -> tuple[Action, ...]:
        return says if said < rounds else original.legal(agent, core)

    def step(core: Core, said: int, joint: Joint) -> Step:
        return Step({said + 1: 1.0}) if said < rounds else Step({said: 1.0}, played=joint)

    def view(agent: int, core: Core, said: int, joint: Joint | None) -> tuple[str, ...]:
        return (*(("talk",) if said < rounds else ()), *original.heard(agent, joint))

    return transform(original, Rules(0, legal, step, view, delay=rounds), label)
