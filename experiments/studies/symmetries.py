"""`tacit symmetries`: the symmetry group of a tabular game, in words."""

from collections.abc import Sequence

from experiments.presentation import tables
from experiments.studies.tabular import groups, tabular
from games.game import Game
from games.tabular.simulator import Simulator
from games.tabular.symmetry import Automorphism

_SHOWN = 5


def describe(game: Game, generators: int = 8) -> str:
    """The orders of a tabular game's symmetry groups, and up to `generators` generators in words.

    Raises:
      TacitError: if the game is not tabular.
    """
    simulator = tabular(game)
    both = groups(simulator)
    problem = simulator.problem
    lines = [
        f"{simulator.name}: {problem.num_agents} agents, {problem.num_states} state{'s' * (problem.num_states != 1)}, "
        f"{' x '.join(map(str, problem.num_actions))} actions, {' x '.join(map(str, problem.num_observations))} "
        f"observations, discount {problem.discount:g}",
        "",
        f"{'':<34}{'with agent swaps':>24}{'without':>24}",
    ]
    for words, attribute in (("symmetries of policies", "policy_order"), ("automorphisms, states included", "order")):
        lines.append(
            f"{words:<34}"
            f"{tables.whole(getattr(both.swap, attribute)):>24}"
            f"{tables.whole(getattr(both.no_swap, attribute)):>24}"
        )
    shown = both.swap.acting[:generators]
    if shown:
        lines += ["", f"generators ({len(shown)} of {len(both.swap.acting)}; what is not named stays)"]
        lines += [f"  {_words(simulator, generator)}" for generator in shown]
    return "\n".join(lines)


def _words(simulator: Simulator, generator: Automorphism) -> str:
    """Every agent's own permutations, as cycles: for example "actions of agent0: (open-left open-right); …"."""
    problem = simulator.problem
    parts = []
    if moved := _moves(problem.agents, problem.agents, generator.agents.tolist()):
        parts.append(f"agents: {moved}")
    for what, names, images in (
        ("actions", problem.actions, generator.actions), ("observations", problem.observations, generator.observations)
    ):  # fmt: skip
        for agent, image in enumerate(images):
            if moved := _moves(names[agent], names[int(generator.agents[agent])], image.tolist()):
                parts.append(f"{what} of {problem.agents[agent]}: {moved}")
    return "; ".join(parts)


def _moves(sources: Sequence[str], targets: Sequence[str], image: Sequence[int]) -> str:
    """A permutation in words: cycles within one set of names, arrows between two sets; long ones are truncated."""
    if sources != targets:
        pieces = [f"{sources[a]} -> {targets[b]}" for a, b in enumerate(image) if sources[a] != targets[b]]
        joint = ", "
    else:
        pieces, seen, joint = [], set(), " "
        for first in range(len(image)):
            cycle = [first]
            while (following := image[cycle[-1]]) != first:
                cycle.append(following)
            if len(cycle) > 1 and first not in seen:
                pieces.append(f"({' '.join(sources[place] for place in cycle)})")
            seen.update(cycle)
    cut = [f"and {len(pieces) - _SHOWN} more"] if len(pieces) > _SHOWN else []
    return joint.join(pieces[:_SHOWN] + cut)
