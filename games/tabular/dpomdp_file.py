"""Reader and writer of MADP's .dpomdp files.

The format is that of the MADP toolbox (Oliehoek, Spaan, Terwijn, Robbel and Messias 2017, "The MADP Toolbox: an open
source library for planning and learning in (multi-)agent systems"), an extension of Cassandra's POMDP files to several
agents. A file is a preamble in fixed order,

    agents: 2                      a count or names
    discount: 0.9
    values: reward                 or cost, which is the negative of a reward
    states: tiger-left tiger-right
    start:                         or `start: STATE`, `start include: STATES`, `start exclude: STATES`
    0.5 0.5                        or `uniform`
    actions:                       one line for each agent, a count or names
    listen open
    listen open
    observations:
    2
    2

and then any number of entries, of which a later one overrides an earlier one; what no entry mentions is 0:

    T: joint action : state : next state : probability
    T: joint action : state :      and one line with a row, or `uniform`
    T: joint action :              and a line for each state, or `uniform` or `identity`
    O: joint action : next state : joint observation : probability
    O: joint action : next state : and one line with a row, or `uniform`
    O: joint action :              and a line for each state, or `uniform`
    R: joint action : state : next state : joint observation : reward
    R: joint action : state : next state :  and one line with a row
    R: joint action : state :      and a line for each next state

Anything may be given by name or by index from 0, and `*` stands for all. A joint action is one entry for each agent, or
one number that counts joint actions with the last agent fastest; joint observations likewise. `#` starts a comment.

Read more generously than by MADP: empty lines, comments behind a line, a missing colon at the end of a line, and a
start distribution in the same line as `start:`. What is declared by a count is called agent0, s0, a0 and o0 and so on;
MADP calls unnamed actions and observations so, and leaves agents and states without a name.
"""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from games.errors import TacitError
from games.tabular.dec_pomdp import DecPOMDP
from games.tabular.dpomdp_parts import AXES, NAMES_ARE, Entry, Names, Preamble, Source, axis_sizes, is_name

MEMORY_LIMIT = 4 << 30
"""Bytes that the tables of a file may take."""


def read_file(path: str | Path) -> DecPOMDP:
    """The problem in a .dpomdp file.

    Raises:
      TacitError: for a file that cannot be read or is not text, and as `read`.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise TacitError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, or a path with a null character
        raise TacitError(f"{path} is not a text file, so it is no .dpomdp file") from error
    return read(text, name=str(path))


def read(text: str, name: str = ".dpomdp") -> DecPOMDP:
    """The problem that `text` describes.

    The reward's array is the smallest one that holds it: an axis on which the reward does not depend has length 1.

    Args:
      text: the content of a .dpomdp file.
      name: how errors call the file.

    Raises:
      TacitError: with the line and what was expected there; or with the row of a table that is no distribution.
    """
    source = Source(text, name)
    preamble = Preamble.read(source)
    names = preamble.names
    _shapes(names, (), name)  # refuses what would not fit before anything is built from it
    entries = []
    while source.line is not None:
        entries.append(Entry.read(source, names))
    tables = _tables(entries, names, name)
    try:
        return DecPOMDP(
            agents=names.agents,
            states=names.states,
            actions=names.actions,
            observations=names.observations,
            discount=preamble.discount,
            start=preamble.start,
            transition=tables["T"][:, :, :, 0],
            observation=tables["O"][:, :, :, 0],
            reward=_smallest(0.0 - tables["R"] if preamble.costs else tables["R"]),
        )
    except TacitError as error:
        raise TacitError(f"{name}: {error}") from error


def write(problem: DecPOMDP) -> str:
    """`problem` as the text of a .dpomdp file.

    `read` gives the same numbers and names back, bit for bit; a reward that does not depend on one of its axes comes
    back with that axis of length 1.

    Raises:
      TacitError: naming what the format cannot say.
    """
    _check_can_be_written(problem)
    numbered = _numbered(problem)
    joint_actions = _joint_references(problem.actions, numbered.actions)
    joint_observations = _joint_references(problem.observations, numbered.observations)
    states = _references(problem.states, numbered.states)
    reward = _smallest(problem.reward)
    lines = [
        f"agents: {_declaration(problem.agents, numbered.agents)}",
        f"discount: {problem.discount!r}",
        "values: reward",
        f"states: {_declaration(problem.states, numbered.states)}",
        "start:",
        " ".join(map(repr, problem.start.tolist())),
        "actions:",
        *map(_declaration, problem.actions, numbered.actions),
        "observations:",
        *map(_declaration, problem.observations, numbered.observations),
        *_entries("T", problem.transition, joint_actions, states, states),
        *_entries("O", problem.observation, joint_actions, states, joint_observations),
        *_entries(
            "R",
            reward,
            joint_actions,
            states,
            states if reward.shape[2] > 1 else ["*"],
            joint_observations if reward.shape[3] > 1 else ["*"],
        ),
    ]
    return "\n".join(lines) + "\n"


def _shapes(names: Names, reward_axes: Sequence[str], name: str) -> dict[str, tuple[int, ...]]:
    """The shapes of T, O and R with those axes of the reward, if they fit in memory."""
    sizes = axis_sizes(names)
    kept = {"T": AXES["T"], "O": AXES["O"], "R": reward_axes}
    shapes = {
        table: tuple(sizes[axis] if axis in kept[table] else 1 for axis in axes) + (1,) * (4 - len(axes))
        for table, axes in AXES.items()
    }
    size = 8 * sum(map(math.prod, shapes.values()))
    if size > MEMORY_LIMIT:
        raise TacitError(
            f"{name}: the tables of {sizes['joint action']} joint actions, {sizes['state']} states and "
            f"{sizes['joint observation']} joint observations take {size / 2**30:.3g} GiB, more than the "
            f"{MEMORY_LIMIT / 2**30:g} GiB that a file may take"
        )
    return shapes


def _tables(entries: Sequence[Entry], names: Names, name: str) -> dict[str, np.ndarray]:
    """T [JA, S, S, 1], O [JA, S, JO, 1] and R [JA, S, S or 1, JO or 1], filled in in order."""
    mentioned = [
        axis
        for number, axis in enumerate(AXES["R"])
        if number < 2  # joint action and state: R always has these
        or any(e.where[number] is not None or e.values.ndim >= 4 - number for e in entries if e.table == "R")
    ]
    tables = {table: np.zeros(shape) for table, shape in _shapes(names, mentioned, name).items()}
    for entry in entries:
        table = tables[entry.table]
        indices = (range(size) if at is None else at for at, size in zip(entry.where, table.shape, strict=True))
        table[np.ix_(*indices)] = entry.values
    return tables


def _smallest(reward: np.ndarray) -> np.ndarray:
    """`reward` with an axis of length 1 for the next state and the joint observation where it is the same for all."""
    for axis in (2, 3):
        bits = np.ascontiguousarray(reward).view(np.int64)
        if (bits == bits.take([0], axis)).all():
            reward = reward.take([0], axis)
    return reward


def _numbered(problem: DecPOMDP) -> Names:
    """The names that `problem` would have, had it been declared by counts."""

    def count(size: int, prefix: str) -> tuple[str, ...]:
        return tuple(f"{prefix}{index}" for index in range(size))

    return Names(
        agents=count(problem.num_agents, "agent"),
        states=count(problem.num_states, "s"),
        actions=tuple(count(size, "a") for size in problem.num_actions),
        observations=tuple(count(size, "o") for size in problem.num_observations),
    )


def _check_can_be_written(problem: DecPOMDP) -> None:
    if problem.initial_observation is not None:
        raise TacitError("a .dpomdp file cannot say what agents see before they act (initial_observation)")
    if problem.legal is not None:
        raise TacitError("a .dpomdp file cannot say which actions are legal (legal)")
    kinds = [("agent", problem.agents), ("state", problem.states)]
    for agent, actions, observations in zip(problem.agents, problem.actions, problem.observations, strict=True):
        kinds += [(f"action of {agent}", actions), (f"observation of {agent}", observations)]
    for kind, names in kinds:
        for name in names:
            if not is_name(name):
                raise TacitError(f"a .dpomdp file cannot hold the {kind} {name!r}: a name is {NAMES_ARE}")


def _declaration(names: Sequence[str], numbered: Sequence[str]) -> str:
    """A count where the names are those that a count gives, else the names."""
    return str(len(names)) if names == numbered else " ".join(names)


def _references(names: Sequence[str], numbered: Sequence[str]) -> list[str]:
    """The words by which entries refer to names that are declared so."""
    return list(map(str, range(len(names)))) if names == numbered else list(names)


def _joint_references(per_agent: Sequence[Sequence[str]], numbered: Sequence[Sequence[str]]) -> list[str]:
    """The joint actions or joint observations in order, with an entry for each agent."""
    return [" ".join(joint) for joint in itertools.product(*map(_references, per_agent, numbered))]


def _entries(table: str, values: np.ndarray, *axes: Sequence[str]) -> list[str]:
    """A line for every number that is not 0; -0.0 is written too, so that all bits come back."""
    written = np.argwhere(np.ascontiguousarray(values).view(np.int64)).tolist()
    return [
        f"{table}: {' : '.join(names[index] for names, index in zip(axes, where, strict=True))} : "
        f"{values[tuple(where)].item()!r}"
        for where in written
    ]
