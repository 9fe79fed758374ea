"""Where gradient flows start: logits for many starts at once, for each agent float64[B, H, A]."""

import math

import numpy as np

from games.errors import TacitError
from games.tabular.histories import Tree


def normal_starts(tree: Tree, count: int, scale: float, *, seed: int) -> tuple[np.ndarray, ...]:
    """Logits drawn from N(0, scale²): for each agent float64[count, H, A]."""
    rng = np.random.default_rng(seed)
    return tuple(scale * rng.normal(size=(count, *own.legal.shape)) for own in tree.agents)


def pure_starts(tree: Tree, count: int, *, seed: int) -> tuple[np.ndarray, ...]:
    """Near-pure joint policies, 0.99 on one action of every history: all if at most `count`, else a random sample.

    Noise N(0, 0.1²) is added to the logits: without it a start can lie exactly between two conventions and stay there.

    Returns:
      For each agent float64[count or fewer, H, A] logits.
    """
    rng = np.random.default_rng(seed)
    choices = [np.flatnonzero(row) for own in tree.agents for row in own.legal]
    if math.prod(map(len, choices)) <= count:
        grid = np.indices([len(choice) for choice in choices]).reshape(len(choices), -1)
        picked = np.stack([choice[index] for choice, index in zip(choices, grid, strict=True)], axis=1)
    else:
        picked = np.stack([rng.choice(choice, count) for choice in choices], axis=1)
    starts, column = [], 0
    for own in tree.agents:
        best = picked[:, column : column + own.size]
        column += own.size
        others = np.maximum(own.legal.sum(1) - 1, 1)
        ahead = np.log(0.99 / (0.01 / others))  # [H]
        pure = (np.arange(own.legal.shape[1]) == best[..., None]) * ahead[:, None]
        starts.append(pure + 0.1 * rng.normal(size=pure.shape))
    return tuple(starts)


def concatenate(*starts: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Several sets of starts, for each agent float64[B, H, A], concatenated along B.

    Raises:
      TacitError: if there is none.
    """
    if not starts:
        raise TacitError("there must be at least one start")
    return tuple(np.concatenate(own) for own in zip(*starts, strict=True))
