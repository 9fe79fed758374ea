"""Where a smaller board's observations and actions stand among a larger board's.

A network that learned the smaller one so becomes a network of the larger one (`initial_policies` of a job): its
colors, ranks, slots (the oldest cards) and tokens are the first of the larger board's.
"""

import numpy as np
from numpy.typing import NDArray

from games.errors import TacitError
from games.game import Layout
from games.hanabi.board import Board

_SIZES = ("colors", "ranks", "hand_size", "max_information_tokens", "max_life_tokens")


def places(larger: Board, smaller: Board, layouts: tuple[Layout, Layout]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The index of each observation entry and of each action of the smaller board on the larger one.

    Args:
      larger, smaller: boards of as many players.
      layouts: of one observer, on the larger and on the smaller board.

    Returns:
      int[smaller observation size], int[smaller actions].

    Raises:
      TacitError: if the smaller board does not fit into the larger one, naming what is in the way.
    """
    if larger.players != smaller.players:
        raise TacitError(f"a board of {smaller.players} players does not fit into one of {larger.players}")
    for size in _SIZES:
        if getattr(smaller, size) > getattr(larger, size):
            raise TacitError(
                f"a board with {size}={getattr(smaller, size)} does not fit into one with {getattr(larger, size)}"
            )
    if any(few > many for few, many in zip(smaller.copies, larger.copies, strict=False)):
        raise TacitError(f"a board with copies {smaller.copies} does not fit into one with {larger.copies}")
    few, many = (one.deck_size - one.players * one.hand_size for one in (smaller, larger))
    if few > many:
        raise TacitError(f"a board with {few} cards to draw does not fit into one with {many}")
    return _of_observation(larger, smaller, *layouts), _of_actions(larger, smaller)


def _of_observation(larger: Board, smaller: Board, into: Layout, of: Layout) -> NDArray[np.intp]:
    shapes = {section.name: (section.start, section.shape) for section in into.sections}
    found = []
    for section in of.sections:
        start, shape = shapes[section.name]
        indices = list(np.indices(section.shape).reshape(len(section.shape), -1))
        for axis, (name, _) in enumerate(section.axes):
            if name == "copy":  # rank by rank
                indices[axis] = _of_copies(larger, smaller)[indices[axis]]
        found.append(start + np.ravel_multi_index(indices, shape))
    return np.concatenate(found)


def _of_copies(larger: Board, smaller: Board) -> NDArray[np.intp]:
    first = np.cumsum((0, *larger.copies))
    return np.concatenate([first[rank] + np.arange(copies) for rank, copies in enumerate(smaller.copies)])


def _of_actions(larger: Board, smaller: Board) -> NDArray[np.intp]:
    """HLE's ids: discards, plays, color hints, rank hints, and the no-op, which is the last."""
    parts = [
        (2, smaller.hand_size, larger.hand_size),
        (smaller.players - 1, smaller.colors, larger.colors),
        (smaller.players - 1, smaller.ranks, larger.ranks),
    ]
    found, start = [], 0
    for rows, few, many in parts:
        found.append((start + many * np.arange(rows)[:, None] + np.arange(few)).reshape(-1))
        start += rows * many
    return np.concatenate([*found, [larger.num_actions - 1]])
