"""Independent proximal policy optimisation with a shared reward, and Other-Play.

Every player maximises the team's return from its own observations; nothing is centralised. The algorithm is
`marl.learners.ppo`. A user's variant extends the class here: it overrides `surrogate` or `penalty`, names
`hyperparameters` of its own, or adds fields.
"""

import dataclasses
from typing import ClassVar

from games.errors import one_of
from games.relabelled import relabelled
from marl.learners.ppo import PPO, Actions, Hyperparameters

__all__ = ["IPPO", "Actions", "Hyperparameters"]


@dataclasses.dataclass(frozen=True)
class IPPO(PPO):
    """The algorithm for one seed; the caller vmaps over seeds and hyperparameters.

    Attributes:
      other_play: every player sees and acts through a random symmetry of its own, drawn for every game (Other-Play, Hu
        et al. 2020): the game is then the relabelled one, see `games.relabelled`.
      game, policy, observer, ...: as in `PPO`.

    Raises:
      TacitError: as PPO; with `other_play`, for a game without symmetries.
    """

    version: ClassVar[str] = "ippo-3"
    """It changes whenever learning or a default does: a run's name contains it in place of the defaults."""

    _: dataclasses.KW_ONLY
    other_play: bool = False

    def __post_init__(self) -> None:
        if one_of("learner.other_play", self.other_play, (True, False)):
            object.__setattr__(self, "game", relabelled(self.game))
        super().__post_init__()
