"""The parts of a .dpomdp file: lines, preamble and entries. `games.tabular.dpomdp_file` says what the format is."""

import itertools
import math
import re
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import numpy as np

from games.errors import TacitError

MOST_NAMES = 100_000
"""The greatest count that a file may declare."""

RESERVED = frozenset({"agents", "discount", "actions", "observations", "T", "O", "R"})
"""What MADP does not allow as a name."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_ENTRY = re.compile(r"[TOR]\s*:")

AXES = {
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
NAMES_ARE = "a letter, then letters, digits, - and _, and none of " + ", ".join(sorted(RESERVED))


class Source:
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
        """The current line, and go on.

        Raises:
          TacitError: at the end of the file, naming what was `expected`.
        """
        if self.line is None:
            raise TacitError(f"{self.name}, line {self.number}: expected {expected}, found the end of the file")
        line = self.line
        self.advance()
        return line

    def take_keyword(self, *keywords: str) -> str | None:
        """The current line if it is one of `keywords`, and go on; else None."""
        return self.take("a keyword") if self.line in keywords else None

    def fail(self, expected: str, found: str, number: int) -> NoReturn:
        """Say what was expected at line `number`.

        Raises:
          TacitError: always.
        """
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


class Names(NamedTuple):
    """What a file declares, and how its entries refer to it."""

    agents: tuple[str, ...]
    states: tuple[str, ...]
    actions: tuple[tuple[str, ...], ...]
    observations: tuple[tuple[str, ...], ...]

    def indices(self, words: str, axis: str, source: Source, number: int) -> list[int]:
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


def _which(word: str, names: Sequence[object], what: str, source: Source, number: int) -> list[int]:
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


class Preamble(NamedTuple):
    """The declarations before the entries."""

    discount: float
    costs: bool
    start: np.ndarray  # float64[S]
    names: Names

    @staticmethod
    def read(source: Source) -> "Preamble":
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
        return Preamble(discount, costs, start, Names(agents, states, actions, observations))


def _declared(source: Source, keyword: str) -> tuple[int, list[str]]:
    """Number and words of the line `keyword: words`."""
    number, line = source.number, source.take(f"'{keyword}:'")
    key, colon, rest = line.partition(":")
    if not colon or key.strip() != keyword:
        source.fail(f"'{keyword}:'", line, number)
    return number, rest.split()


def _names(words: Sequence[str], prefix: str, source: Source, number: int) -> tuple[str, ...]:
    """The names that a count or a list declares."""
    if len(words) == 1 and words[0].isdecimal():
        count = int(words[0])
        if not 1 <= count <= MOST_NAMES:
            source.fail(f"a count from 1 to {MOST_NAMES} or names", words[0], number)
        return tuple(f"{prefix}{index}" for index in range(count))
    if not words:
        source.fail("a count or names", "", number)
    for index, word in enumerate(words):
        if not is_name(word):
            source.fail(f"a name, which is {NAMES_ARE}", word, number)
        if word in words[:index]:
            source.fail("different names", word, number)
    return tuple(words)


def is_name(word: str) -> bool:
    """Whether the format allows it."""
    return _NAME.fullmatch(word) is not None and word not in RESERVED


def _names_of_each_agent(
    source: Source, keyword: str, prefix: str, agents: Sequence[str]
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


def _read_start(source: Source, states: Sequence[str]) -> np.ndarray:
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


def _one_state(word: str, states: Sequence[str], source: Source, number: int) -> int:
    if word == "*":
        source.fail("a state", word, number)
    return _which(word, states, "state", source, number)[0]


class Entry(NamedTuple):
    """One assignment to a table of four axes, of which T and O use three: `AXES`, then one of length 1."""

    table: str
    where: tuple[list[int] | None, ...]
    """The indices along each axis; None: all."""
    values: np.ndarray
    """Numbers that broadcast to the entries of the table at `where`."""

    @staticmethod
    def read(source: Source, names: Names) -> "Entry":
        number, line = source.number, source.take("an entry")
        if not _ENTRY.match(line):
            source.fail("an entry that begins with 'T:', 'O:' or 'R:'", line, number)
        table, *parts = (part.strip() for part in line.split(":"))
        if parts[-1] == "":
            parts.pop()
        axes, sizes = AXES[table], axis_sizes(names)
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
        return Entry(table, tuple(chosen), values if table == "R" else values[..., None])


def _read_array(source: Source, table: str, shape: Sequence[int], header: str) -> np.ndarray:
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


def axis_sizes(names: Names) -> dict[str, int]:
    """The lengths of the tables' axes."""
    joint_actions, joint_observations = (math.prod(map(len, each)) for each in (names.actions, names.observations))
    states = len(names.states)
    return {
        "joint action": joint_actions,
        "state": states,
        "next state": states,
        "joint observation": joint_observations,
    }
