"""Structures: transforms of a tabular game into a tabular game in which agents can coordinate by construction.

Each is a function of a game and of keyword arguments, and documents what it adds to actions, observations and horizon;
what it does to symmetries is computed (`games.tabular.symmetry.automorphisms` of the new game). `phases` is the
mechanism that all of them share. The original reward of step t keeps its discount γ^t everywhere.

Structures compose: of `apply_all(game, [first, second])` the first is applied to the game and the second to the result,
so that the second sees the first one's actions, observations and steps as the game's own. Order matters. After
`claims` an `isolation` also restricts claims, and its partition has to cover them; `claims` of a game in isolation are
free. `cheap_talk` of a game with claims is talk before the claims.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from games.errors import one_of
from games.tabular.simulator import Simulator
from games.tabular.structures.cheap_talk import cheap_talk
from games.tabular.structures.claims import claims
from games.tabular.structures.commitments import commitments
from games.tabular.structures.isolation import isolation
from games.tabular.structures.leader import leader
from games.tabular.structures.shared_history import shared_history
from games.tabular.structures.verification import verification

__all__ = [
    "STRUCTURES",
    "Structure",
    "apply_all",
    "cheap_talk",
    "claims",
    "commitments",
    "isolation",
    "leader",
    "shared_history",
    "verification",
]


class Structure(NamedTuple):
    """One transform."""

    name: str
    apply: Callable[..., Simulator]  # (game, **arguments) -> game
    adds: str  # to actions, observations and horizon, in a sentence


STRUCTURES: tuple[Structure, ...] = (
    Structure(
        "cheap_talk",
        cheap_talk,
        "actions: the symbols; observations: what the others have said; horizon: one step for each round, at the start",
    ),
    Structure(
        "commitments",
        commitments,
        "actions: commitments in the place of the actions they bind to, or to sets of them; observations: the others' "
        "commitments; horizon: one step (simultaneous) or one for each agent (sequential) in the place of each, and "
        "one more with sets",
    ),
    Structure(
        "claims",
        claims,
        "actions: a claim for each item and for none; observations: the board; horizon: one step for each round, at "
        "the start",
    ),
    Structure(
        "isolation",
        isolation,
        "actions: none, and hard isolation takes some away; observations and horizon: nothing",
    ),
    Structure(
        "leader",
        leader,
        "actions: the leader's are joint actions, or it has instructions beside its own; observations: the leader sees "
        "all, the others see the instruction; horizon: the same, or with instructions twice as long",
    ),
    Structure(
        "shared_history",
        shared_history,
        "actions and horizon: nothing; observations: what the others did at the last step and saw before it",
    ),
    Structure(
        "verification",
        verification,
        "actions: waiting; observations: conflict or accepted; horizon: one step for each repair after each step",
    ),
)


def apply_all(game: Simulator, structures: Sequence[tuple[str, Mapping[str, Any]]]) -> Simulator:
    """`game` under several structures, given as (name, keyword arguments); the first one is applied first (innermost).

    Raises:
      TacitError: if a name is not that of a structure, and whatever the structures raise.
    """
    known = {structure.name: structure.apply for structure in STRUCTURES}
    for name, arguments in structures:
        game = known[one_of("structure", name, known)](game, **arguments)
    return game
