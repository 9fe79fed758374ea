"""About how long a run of the exact lab takes: said before its long part, and again once its speed has been measured.

A study lists the parts of a run (`Part`), each with the sweeps that it needs (`marl.exact.cost`). Times a measured
speed they give the first sentence. The first two chunks of a part that reports often give the speed once more, without
compilation; after that what is done of a part says how long the rest of it takes.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from experiments.presentation import terminal
from experiments.studies.study import Report, StudyConfig
from games.tabular.histories import Tree
from games.tabular.symmetry import SymmetryGroup, orbits
from marl.exact import cost, equivariant
from marl.exact.branch_equations import space_of
from marl.exact.methods import METHODS

LONG = 60.0
"""Seconds from which on a run says how long it takes."""
_ALPHAS, _BRANCHES, _MOST_STEPS = 10, 16, 10_000
"""About how many α the methods with high entropy solve, and branches of solutions they follow; steps of a start."""
_FASTER = {
    "high-entropy": ("starts=2", "method=[…] without high-entropy"),
    "annealed": ("method=[…] without annealed-greedy",),
    "other-play": ("starts=2",),
    "k-level-4-synchronous": ("method=[…] without k-level-4-synchronous",),
    "cognitive-hierarchy-4-synchronous": ("method=[…] without cognitive-hierarchy-4-synchronous",),
}
"""Beginning of a method's key -> settings with which it takes less time or none; the methods that take many sweeps."""
FAST = ("fast=true",)
"""Settings with which a whole run takes about a minute."""
_TOGETHER = 20_000
"""Sweeps in whose time levels are trained at the same time: as of dec-tiger at horizon 5."""
_LARGE_SHARE = 0.1
"""The least share of the time of a part that the sentence names, and whose settings it names."""


class Part(NamedTuple):
    """A part of a run."""

    stage: str
    """As it is reported."""
    sweeps: float
    faster: tuple[str, ...] = ()
    """Settings with which it takes less time or none."""
    chunk: float = 0.0
    """Sweeps between two reports of it; 0 where that varies."""


class Forecast:
    """A `Report` that adds the seconds left, and says what a long run costs.

    Args:
      parts: in the order in which they are computed.
      seconds: that one sweep takes.
      report: passed on to.
      say: takes a sentence, at most two in all.
      fast: settings with which the whole run takes about a minute; none if it has them.
      clock: seconds from any beginning.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        seconds: float,
        report: Report,
        say: Callable[[str], None],
        fast: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parts, self._seconds, self._report, self._say, self._clock = list(parts), seconds, report, say, clock
        self._fast = fast
        self._now = -1  # the number of the current part; -1: none yet
        self._reports = 0  # of the current part
        self._began = self._last = clock()  # the current part, or its first report that said how much is done
        self._done = 0  # of the current part, when it began
        self._tell(self._left_after(-1), "before it begins")

    def __call__(self, stage: str, done: int, total: int, left: float | None = None) -> None:
        del left  # said by this object
        now = self._clock()
        number = next((n for n, part in enumerate(self._parts) if part.stage == stage), None)
        if number is None:
            self._report(stage, done, total)
            return
        if number != self._now:
            self._now, self._reports, self._began, self._done = number, 0, now, done
        self._reports += 1
        part = self._parts[number]
        if self._reports == 2 and part.chunk and now > self._last:
            self._seconds = (now - self._last) / part.chunk
            self._tell(self._left(done, total, now), "measured by its first steps")
        self._last = now
        self._report(stage, done, total, self._left(done, total, now))

    def _left(self, done: int, total: int, now: float) -> float | None:
        """Seconds that the current part and those after it take; None where it has taken longer than expected."""
        passed = now - self._began
        if done > self._done:
            rest = passed * (total - done) / (done - self._done)
        else:
            rest = self._parts[self._now].sweeps * self._seconds - passed
        return None if rest < 0 else rest + self._left_after(self._now)

    def _left_after(self, number: int) -> float:
        return sum(part.sweeps for part in self._parts[number + 1 :]) * self._seconds

    def _tell(self, left: float | None, when: str) -> None:
        if left is None or left < LONG:
            return
        rest = [part for part in self._parts[max(self._now, 0) :] if part.sweeps * self._seconds >= _LARGE_SHARE * left]
        rest.sort(key=lambda part: -part.sweeps)
        most = f", {terminal.duration(rest[0].sweeps * self._seconds)} of it {rest[0].stage}" if rest else ""
        faster = dict.fromkeys([*(setting for part in rest for setting in part.faster), *self._fast])
        instead = f"; faster: {', '.join(faster)}" if faster else ""
        self._say(f"about {terminal.duration(left)} ({when}; perhaps half or twice as long){most}{instead}")


def forecast(
    config: StudyConfig, parts: Sequence[Part], tree: Tree, count: int, report: Report, fast: Sequence[str] = ()
) -> Report:
    """A report that says how long the parts of a run take if that is long, measuring the speed first.

    Args:
      config: of the run; with `execution.progress=false` nothing is said.
      parts: in the order in which they are computed.
      tree: of the game that is computed.
      count: policies that are computed at a time.
      report: passed on to.
      fast: as in `Forecast`.
    """
    if not config.execution.progress or cost.at_most(tree, sum(part.sweeps for part in parts)) < LONG:
        return report

    def say(sentence: str) -> None:
        terminal.say(f"{config.label()}: {sentence}")

    return Forecast(parts, cost.sweep_seconds(tree, count), report, say, fast)


def method_sweeps(tree: Tree, group: SymmetryGroup, starts: int) -> dict[str, float]:
    """Beginning of the key of a method that takes many sweeps -> how many, if it is carried out alone.

    Of other methods nothing is counted: alternating best responses are no sweeps, and off-belief learning and levels
    that are computed one after the other take few.
    """
    branch = cost.of_branch(tree, len(space_of(orbits(group, tree)).entry))
    flow = cost.of_starts(_ALPHAS * starts, "flow", _MOST_STEPS) + cost.of_search(
        tree, starts, "flow", _MOST_STEPS, _BRANCHES
    )
    other_play = cost.of_best(starts, equivariant.STEPS) / 2
    together = dict.fromkeys((key for key in _FASTER if key.endswith("synchronous")), float(_TOGETHER))
    return {"high-entropy": branch + flow, "annealed": branch, "other-play": other_play, **together}


def of_methods(keys: Sequence[str], tree: Tree, group: SymmetryGroup, starts: int) -> list[Part]:
    """The parts of carrying out methods (`marl.exact.methods`) on a game whose symmetries are `group`.

    What two methods share is counted for the first; see `method_sweeps`.
    """
    left = method_sweeps(tree, group, starts)
    parts: list[Part] = []
    for method in (method for method in METHODS if method.key in keys):
        name = next((name for name in left if method.key.startswith(name)), "")
        parts.append(Part(method.name, left.pop(name, 0.0), _FASTER.get(name, ())))
        if name == "high-entropy":
            left.pop("annealed", None)
    return parts
