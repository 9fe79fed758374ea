"""A game from a user's .dpomdp file."""

from pathlib import Path

from games.errors import TacitError
from games.tabular import dpomdp_file
from games.tabular.dec_pomdp import DecPOMDP
from games.tabular.simulator import Simulator


def problem(file: str, discount: float | None = None) -> DecPOMDP:
    """The tables in `file`; a discount of None is the file's.

    Raises:
      TacitError: for a file that cannot be read or is wrong, with the line, and for a discount not from 0 to 1.
    """
    if not isinstance(file, str) or not file:
        raise TacitError(f"file must be the path of a .dpomdp file, not {file!r}")
    tables = dpomdp_file.read_file(file)
    return tables if discount is None else tables.replace(discount=discount)


def make(file: str, horizon: int, discount: float | None = None) -> Simulator:
    """The game of `problem` as a simulator, called like the file without its ending."""
    return Simulator(problem(file, discount), horizon, label=Path(file).stem)
