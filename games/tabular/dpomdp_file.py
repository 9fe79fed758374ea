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
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from games.errors import TacitError
from games.tabular.dec_pomdp import DecPOMDP

MEMORY_LIMIT = 4 << 30
"""Bytes that the tables of a file may take."""

MOST_NAMES = 100_000
"""The greatest count that a file may declare."""

RESERVED = frozenset({"agents", "discount", "actions", "observations", "T", "O", "R"})
"""What MADP does not allow as a name."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_ENTRY = re.compile(r"[TOR]\s*:")

_AXES = {
    "T": ("joint action", "state", "next state"),
    "O": ("joint action", "next state", "joint observation"),
    "R": ("joint action", "state", "next state", "joint observation"),
}
_FORMS = {
    "T": "'T: joint action : state : next state : probability', 'T: joint action : state :' or 'T: joint action :'",
    "O": "'O: joint action : next state : joint observation : probability', 'O: joint action : next state :' or "
    "'O: joint action :'",
    "R": "'R: joint action : state : next state : joint observation : reward', "
    "'R: joint action : state : next state :' or 'R: joint action : state :'",
}
_NAMES_ARE = "a letter, then letters, digits, - and _, and none of " + ", ".join(sorted(RESERVED))


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
    source = _Source(text, name)
    preamble = _Preamble.read(source)
    names = preamble.names
    _shapes(names, (), name)  # refuses what would not fit before anything is built from it
    entries = []
    while source.line is not None:
        entries.append(_Entry.read(source, names))
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


class _Source:
    """The lines of a file that hold more than a comment, one after the other."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self._lines = iter(
            (number, stripped)
            for number, line in enumerate(text.splitlines(), start=1)
            if (stripped := line.split("#", 1)[0].strip())
        )
        self.number = 0
        self.line: str | None = None
        self.advance()

    def advance(self) -> None:
        """Go to the next line; `line` is None after the last."""
        following = next(self._lines, None)
        if following is None:
            self.number, self.line = self.number + 1, None
        else:
            self.number, self.line = following

    def take(self, expected: str) -> str:
        """The current line, and go on."""
        if self.line is None:
            raise TacitError(f"{self.name}, line {self.number}: expected {expected}, found the end of the file")
        line = self.line
        self.advance()
        return line

    def take_keyword(self, *keywords: str) -> str | None:
        """The current line if it is one of `keywords`, and go on; else None."""
        return self.take("a keyword") if self.line in keywords else None

    def fail(self, expected: str, found: str, number: int) -> NoReturn:
        """Raise at line `number`."""
        shown = repr(found if len(found) <= 60 else found[:57] + "...") if found else "nothing"
        raise TacitError(f"{self.name}, line {number}: expected {expected}, found {shown}")

    def number_of(self, word: str, number: int, what: str = "a number") -> float:
        """`word` as a finite number."""
        if not _NUMBER.fullmatch(word) or not math.isfinite(float(word)):
            self.fail(what, word, number)
        return float(word)

    def probability_of(self, word: str, number: int) -> float:
        """`word` as a number from 0 to 1."""
        value = self.number_of(word, number, "a probability")
        if not 0 <= value <= 1:
            self.fail("a probability from 0 to 1", word, number)
        return value


class _Names(NamedTuple):
    """What a file declares, and how its entries refer to it."""

    agents: tuple[str, ...]
    states: tuple[str, ...]
    actions: tuple[tuple[str, ...], ...]
    observations: tuple[tuple[str, ...], ...]

    def indices(self, words: str, axis: str, source: _Source, number: int) -> list[int]:
        """The indices along the axis called `axis` that `words` stand for, in order."""
        if not axis.startswith("joint"):
            return _which(words, self.states, axis, source, number)
        kind = axis.removeprefix("joint ")
        per_agent = self.actions if kind == "action" else self.observations
        parts = words.split()
        sizes = [len(names) for names in per_agent]
        if len(parts) == 1 and (parts == ["*"] or (parts[0].isdecimal() and len(sizes) > 1)):
            return _which(parts[0], range(math.prod(sizes)), axis, source, number)
        if len(parts) != len(sizes):
            source.fail(f"a {axis}: an entry for each of {len(sizes)} agents or one number or *", words, number)
        chosen = [
            _which(part, names, f"{kind} of {agent}", source, number)
            for part, names, agent in zip(parts, per_agent, self.agents, strict=True)
        ]
        strides = [math.prod(sizes[agent + 1 :]) for agent in range(len(sizes))]
        return [
            sum(index * stride for index, stride in zip(joint, strides, strict=True))
            for joint in itertools.product(*chosen)
        ]


def _which(word: str, names: Sequence[object], what: str, source: _Source, number: int) -> list[int]:
    """The indices that a name, an index or * stands for."""
    if word == "*":
        return list(range(len(names)))
    article = "an" if what[0] in "ao" else "a"
    if word.isdecimal():
        if int(word) < len(names):
            return [int(word)]
        source.fail(f"{article} {what} from 0 to {len(names) - 1}", word, number)
    if word in names:
        return [names.index(word)]
    source.fail(f"{article} {what} (one of {len(names)} names, its index or *)", word, number)


class _Preamble(NamedTuple):
    """What stands before the entries."""

    discount: float
    costs: bool
    start: np.ndarray  # float64[S]
    names: _Names

    @staticmethod
    def read(source: _Source) -> "_Preamble":
        number, words = _declared(source, "agents")
        agents = _names(words, "agent", source, number)
        number, words = _declared(source, "discount")
        discount = source.number_of(" ".join(words), number, "a discount from 0 to 1")
        if not 0 <= discount <= 1:
            source.fail("a discount from 0 to 1", words[0], number)
        number, words = _declared(source, "values")
        if words not in (["reward"], ["cost"]):
            source.fail("'reward' or 'cost'", " ".join(words), number)
        costs = words == ["cost"]
        number, words = _declared(source, "states")
        states = _names(words, "s", source, number)
        start = _read_start(source, states)
        actions = _names_of_each_agent(source, "actions", "a", agents)
        observations = _names_of_each_agent(source, "observations", "o", agents)
        return _Preamble(discount, costs, start, _Names(agents, states, actions, observations))


def _declared(source: _Source, keyword: str) -> tuple[int, list[str]]:
    """Number and words of the line `keyword: words`."""
    number, line = source.number, source.take(f"'{keyword}:'")
    key, colon, rest = line.partition(":")
    if not colon or key.strip() != keyword:
        source.fail(f"'{keyword}:'", line, number)
    return number, rest.split()


def _names(words: Sequence[str], prefix: str, source: _Source, number: int) -> tuple[str, ...]:
    """The names that a count or a list declares."""
    if len(words) == 1 and words[0].isdecimal():
        count = int(words[0])
        if not 1 <= count <= MOST_NAMES:
            source.fail(f"a count from 1 to {MOST_NAMES} or names", words[0], number)
        return tuple(f"{prefix}{index}" for index in range(count))
    if not words:
        source.fail("a count or names", "", number)
    for index, word in enumerate(words):
        if not _is_name(word):
            source.fail(f"a name, which is {_NAMES_ARE}", word, number)
        if word in words[:index]:
            source.fail("different names", word, number)
    return tuple(words)


def _is_name(word: str) -> bool:
    return _NAME.fullmatch(word) is not None and word not in RESERVED


def _names_of_each_agent(
    source: _Source, keyword: str, prefix: str, agents: Sequence[str]
) -> tuple[tuple[str, ...], ...]:
    """The names below `keyword:`, one line for each agent."""
    number, words = _declared(source, keyword)
    if words:
        source.fail(f"nothing behind '{keyword}:' (a line for each agent follows)", " ".join(words), number)
    per_agent = []
    for agent in agents:
        number, line = source.number, source.take(f"the {keyword} of {agent}")
        if ":" in line:
            source.fail(f"the {keyword} of {agent}, as there are {len(agents)} agents", line, number)
        per_agent.append(_names(line.split(), prefix, source, number))
    return tuple(per_agent)


def _read_start(source: _Source, states: Sequence[str]) -> np.ndarray:
    """float64[S], in any of the forms."""
    number, line = source.number, source.take("'start:'")
    key, colon, rest = line.partition(":")
    form = key.split()
    if not colon or form not in (["start"], ["start", "include"], ["start", "exclude"]):
        source.fail("'start:', 'start include:' or 'start exclude:'", line, number)
    words = rest.split()
    if form != ["start"]:
        if not words:
            source.fail("states", "", number)
        mentioned = {_one_state(word, states, source, number) for word in words}
        chosen = mentioned if form == ["start", "include"] else set(range(len(states))) - mentioned
        if not chosen:
            source.fail("a state that is not excluded", rest.strip(), number)
        return np.array([1 / len(chosen) if state in chosen else 0.0 for state in range(len(states))])
    if not words:
        number, words = source.number, source.take("a start distribution or 'uniform'").split()
    elif len(words) == 1 and words != ["uniform"]:
        return np.eye(len(states))[_one_state(words[0], states, source, number)]
    if words == ["uniform"]:
        return np.full(len(states), 1 / len(states))
    if len(words) != len(states):
        source.fail(f"{len(states)} probabilities of the first state or 'uniform'", " ".join(words), number)
    return np.array([source.probability_of(word, number) for word in words])


def _one_state(word: str, states: Sequence[str], source: _Source, number: int) -> int:
    if word == "*":
        source.fail("a state", word, number)
    return _which(word, states, "state", source, number)[0]


class _Entry(NamedTuple):
    """One assignment to a table of four axes, of which T and O use three: `_AXES`, then one of length 1."""

    table: str
    where: tuple[list[int] | None, ...]
    """The indices along each axis; None: all."""
    values: np.ndarray
    """Broadcasts to what is assigned."""

    @staticmethod
    def read(source: _Source, names: _Names) -> "_Entry":
        number, line = source.number, source.take("an entry")
        if not _ENTRY.match(line):
            source.fail("an entry that begins with 'T:', 'O:' or 'R:'", line, number)
        table, *parts = (part.strip() for part in line.split(":"))
        if parts[-1] == "":
            parts.pop()
        axes, sizes = _AXES[table], _sizes(names)
        is_number = len(parts) == len(axes) + 1
        if "" in parts or not (is_number or len(axes) - 2 <= len(parts) < len(axes)):
            source.fail(_FORMS[table], line, number)
        where = [
            names.indices(part, axis, source, number)
            for part, axis in zip(parts, axes, strict=False)  # a number or a row or a matrix is left over
        ]
        chosen = [None if len(indices) == sizes[axis] else indices for indices, axis in zip(where, axes, strict=False)]
        if is_number:
            convert = source.number_of if table == "R" else source.probability_of
            values = np.array(convert(parts[-1], number))
        else:
            values = _read_array(source, table, [sizes[axis] for axis in axes[len(parts) :]], line)
        chosen += [None] * (4 - len(chosen))
        return _Entry(table, tuple(chosen), values if table == "R" else values[..., None])


def _read_array(source: _Source, table: str, shape: Sequence[int], header: str) -> np.ndarray:
    """The row or matrix below an entry, as float64[shape]."""
    keywords = () if table == "R" else ("uniform", "identity") if table == "T" and len(shape) == 2 else ("uniform",)
    if (keyword := source.take_keyword(*keywords)) is not None:
        return np.eye(shape[0]) if keyword == "identity" else np.full(shape, 1 / shape[-1])
    what, convert = ("rewards", source.number_of) if table == "R" else ("probabilities", source.probability_of)
    rows = []
    for row in range(math.prod(shape[:-1])):
        expected = f"{shape[-1]} {what} for {header!r}" + (f", row {row + 1} of {shape[0]}" if len(shape) == 2 else "")
        alternatives = "" if row else "".join(f" or '{word}'" for word in keywords)
        number, words = source.number, source.take(expected + alternatives).split()
        if not _NUMBER.fullmatch(words[0]):
            source.fail(expected + alternatives, " ".join(words), number)
        if len(words) != shape[-1]:
            raise TacitError(f"{source.name}, line {number}: expected {expected}, found {len(words)}")
        rows.append([convert(word, number) for word in words])
    return np.array(rows).reshape(shape)


def _sizes(names: _Names) -> dict[str, int]:
    """The lengths of the tables' axes."""
    joint_actions, joint_observations = (math.prod(map(len, each)) for each in (names.actions, names.observations))
    states = len(names.states)
    return {
        "joint action": joint_actions,
        "state": states,
        "next state": states,
        "joint observation": joint_observations,
    }


def _shapes(names: _Names, reward_axes: Sequence[str], name: str) -> dict[str, tuple[int, ...]]:
    """The shapes of T, O and R with those axes of the reward, if they fit in memory."""
    sizes = _sizes(names)
    kept = {"T": _AXES["T"], "O": _AXES["O"], "R": reward_axes}
    shapes = {
        table: tuple(sizes[axis] if axis in kept[table] else 1 for axis in axes) + (1,) * (4 - len(axes))
        for table, axes in _AXES.items()
    }
    size = 8 * sum(map(math.prod, shapes.values()))
    if size > MEMORY_LIMIT:
        raise TacitError(
            f"{name}: the tables of {sizes['joint action']} joint actions, {sizes['state']} states and "
            f"{sizes['joint observation']} joint observations take {size / 2**30:.3g} GiB, more than the "
            f"{MEMORY_LIMIT / 2**30:g} GiB that a file may take"
        )
    return shapes


def _tables(entries: Sequence[_Entry], names: _Names, name: str) -> dict[str, np.ndarray]:
    """T [JA, S, S, 1], O [JA, S, JO, 1] and R [JA, S, S or 1, JO or 1], filled in in order."""
    mentioned = [
        axis
        for number, axis in enumerate(_AXES["R"])
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


def _numbered(problem: DecPOMDP) -> _Names:
    """The names that `problem` would have, had it been declared by counts."""

    def count(size: int, prefix: str) -> tuple[str, ...]:
        return tuple(f"{prefix}{index}" for index in range(size))

    return _Names(
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
            if not _is_name(name):
                raise TacitError(f"a .dpomdp file cannot hold the {kind} {name!r}: a name is {_NAMES_ARE}")


def _declaration(names: Sequence[str], numbered: Sequence[str]) -> str:
    """A count where the names are those that a count gives, else the names."""
    return str(len(names)) if names == numbered else " ".join(names)


def _references(names: Sequence[str], numbered: Sequence[str]) -> list[str]:
    """How entries call what is declared so."""
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
