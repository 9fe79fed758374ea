"""`tacit zoo RUN …`: store a finished run as one small file that can be shared and played with.

The file is a policies.safetensors with all seeds and, in its metadata, the configuration, the game's version and the
scores. Weights are stored in half precision if that does not change the mean scores noticeably (`keep`), otherwise as
they were trained. Reading the file gives the original dtype either way.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import runs
from experiments.configuration.config import CrossPlayConfig, parse_dataclass
from experiments.training.job import cross_play_both
from games.errors import TacitError
from marl.crossplay import CrossPlay


class Kept(NamedTuple):
    """A file of the zoo, and the effect of rounding its weights on the scores."""

    file: Path
    dtype: str
    changes: dict[str, tuple[float, float, float]]
    """(mean score before rounding, after rounding, its error over games) by name, such as "greedy XP"."""

    def __str__(self) -> str:
        moved = ", ".join(
            f"{name} {one:.3f} → {other:.3f} ± {error:.3f}" for name, (one, other, error) in self.changes.items()
        )
        return f"{self.file}: {self.dtype}, {self.file.stat().st_size / 2**20:.2f} MiB (in half precision: {moved})"


def keep(path: Path, folder: Path) -> Kept:
    """Write a finished run to `folder`/NAME.safetensors.

    Weights are rounded to float16 if no mean score (self-play and cross-play, sampled and greedy) moves by more than
    its error. The error is the mean of the cells' standard errors over games, which is an upper bound of the standard
    error of their mean even if cells share decks.

    Raises:
      TacitError: if the run cannot be read or is of another version of its learner, or the folder cannot be written.
    """
    run = runs.read_run(path)
    before = runs.read_crossplay(path)
    sciences = runs.read_json(path / "run.json")["science"], run.config.science()
    made, here = (science["learner"].get("version", "none") for science in sciences)
    if made != here:
        raise TacitError(
            f"run {path} was made by learner version {made}, and in the zoo it would pass for one of {here}"
        )
    settings = parse_dataclass(CrossPlayConfig, "crossplay", runs.read_json(path / "crossplay.json")["settings"])
    halves = [agent._replace(params=jax.tree.map(_rounded, agent.params)) for agent in run.agents]
    after = cross_play_both(run.game, halves, settings)
    changes = {
        f"{name} {kind}": (_mean(before[name], own), _mean(after[name], own), _error(before[name], own))
        for name in before
        for kind, own in (("SP", True), ("XP", False))
        if _of(before[name], own).any()
    }
    same = all(abs(one - other) <= error for one, other, error in changes.values())
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *(agent.params for agent in run.agents))
    params = jax.tree.map(lambda leaf: leaf.astype(np.float16), stacked) if same else stacked
    file = folder / f"{run.config.name()}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        runs.write_policies(file, run.config, params, scores={name: one for name, (one, _, _) in changes.items()})
    except OSError as error:
        raise TacitError(f"the zoo {folder} cannot be written: {error.strerror}") from error
    return Kept(file, "float16" if same else "float32", changes)


def _rounded(leaf: Any) -> np.ndarray:
    return np.asarray(leaf).astype(np.float16).astype(np.float32)


def _of(played: CrossPlay, own: bool) -> np.ndarray:
    """bool[C]: the cells of self-play if `own`, else the others."""
    return (played.seatings == played.seatings[:, :1]).all(axis=1) == own


def _mean(played: CrossPlay, own: bool) -> float:
    return float(played.mean[_of(played, own)].mean())


def _error(played: CrossPlay, own: bool) -> float:
    return float(np.nan_to_num(played.standard_error[_of(played, own)]).mean())
