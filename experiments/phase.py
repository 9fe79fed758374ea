"""`tacit phase` and `tacit symmetries`: the exact lab on the command line."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import compose, exact, exact_tables, figures, tables, terminal
from experiments.exact import PhaseConfig
from games.tabular.simulator import Simulator
from games.tabular.symmetry import Automorphism

PHASE = "phase"
"""The configuration of `tacit phase` in conf/."""
_SHOWN = 5


def run(config: PhaseConfig, *, in_sweep: bool = False, form: str = tables.SHOWN) -> float | None:
    """Make a phase diagram, draw it and, unless it is one of a sweep, print its table in a format.

    Returns:
      The least α that was found to have one solution above, for sweepers.
    """
    with terminal.counter(show=config.execution.progress and form == tables.SHOWN) as report:
        path = exact.run_phase(config, report=lambda progress: report(*progress))
    table = exact.read_phase(path)
    if config.execution.figures:
        draw(path, table)
    if not in_sweep:
        _put([table], [path], form)
    return table["alpha_unique"]["one_from"]


def draw(path: Path, table: dict[str, Any]) -> None:
    """The figures of a phase run, into its directory, if they are not there."""
    if (path / "phase.svg").exists():
        return
    title = f"{exact_tables.title(table)}, run {path.name}"
    if len(table["rows"]) > 1:
        if table["branch"]:
            figures.save(figures.branch_diagram(table, title), path / "branch")
        figures.save(figures.phase_diagram(table, title), path / "phase")


def main(arguments: Sequence[str], form: str = tables.SHOWN) -> None:
    """Run `tacit phase ARGUMENTS` and print tables in a format.

    Raises:
      TacitError: for anything wrong with the configuration, before anything compiles.
    """
    show, work = functools.partial(conclude, form=form), functools.partial(run, form=form)
    command = compose.Command("phase", PHASE, PhaseConfig.parse, work, lambda config: [config], show)
    compose.main(command, arguments)


def conclude(paths: Sequence[Path], draw: bool, *, form: str) -> None:
    """Print the tables of finished runs."""
    _put([exact.read_phase(path) for path in paths], paths, form)


def _put(contents: Sequence[Mapping[str, Any]], paths: Sequence[Path], form: str) -> None:
    found = list(map(exact_tables.phase, contents))
    if form != tables.SHOWN:
        tables.put(found, form)
        return
    for table, path in zip(found, paths, strict=True):
        tables.show([table])
        print(f"run {path}")


def describe_symmetries(overrides: Sequence[str], generators: int) -> str:
    """The orders of a tabular game's symmetry groups, and up to `generators` generators in words."""
    simulator = exact.build_tabular(compose.compose(overrides, PHASE)["game"])
    both = exact.groups(simulator)
    problem = simulator.problem
    lines = [
        f"{simulator.name}: {problem.num_agents} agents, {problem.num_states} states, "
        f"{' x '.join(map(str, problem.num_actions))} actions, {' x '.join(map(str, problem.num_observations))} "
        f"observations, discount {problem.discount:g}",
        "",
        f"{'':<34}{'with agent swaps':>24}{'without':>24}",
    ]
    for words, attribute in (("symmetries of policies", "policy_order"), ("automorphisms, states included", "order")):
        lines.append(
            f"{words:<34}"
            f"{exact_tables.symmetries(getattr(both.swap, attribute)):>24}"
            f"{exact_tables.symmetries(getattr(both.no_swap, attribute)):>24}"
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
    """Which name becomes which other one: cycles within one set of names, arrows between two; long ones are cut."""
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
