"""Rule-based players of Hanabi: lists of rules, the first that applies decides. "uniform" plays every game.

They know nothing but what they see, remember nothing and learn nothing. Sources and measured scores: docs/partners.md.
"""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Literal, final

import jax.numpy as jnp
import numpy as np

from games.errors import TacitError, one_of
from games.game import Game
from games.hanabi.rules import Hanabi
from marl.agent import Agent, Kind
from marl.partners import rules
from marl.partners.rules import Rule
from marl.partners.view import OBSERVER, decode
from marl.policies.policy import Array
from marl.policies.uniform import Uniform

RULES: dict[str, tuple[Rule, ...]] = {
    "cautious": (
        rules.play_identified, rules.play_certain, rules.tell_playable, rules.discard_useless, rules.discard_randomly,
        rules.tell_randomly,
    ),
    "iggi": (
        rules.play_identified, rules.play_certain, rules.tell_playable, rules.discard_useless, rules.discard_oldest,
        rules.tell_randomly,
    ),
    "piers": (
        rules.when(rules.last_round, rules.play_likeliest(0.0)), rules.play_certain,
        rules.when(rules.life_to_spare, rules.play_likeliest(0.6)), rules.tell_playable,
        rules.when(rules.short_of_tokens, rules.tell_dispensable), rules.discard_useless, rules.discard_oldest,
        rules.tell_randomly, rules.discard_randomly,
    ),
    "flawed": (
        rules.play_certain, rules.play_likeliest(0.25), rules.tell_randomly, rules.discard_useless,
        rules.discard_oldest, rules.discard_randomly,
    ),
    "internal": (
        rules.play_certain, rules.discard_useless, rules.tell_next_playable_randomly, rules.tell_randomly,
        rules.discard_randomly,
    ),
    "outer": (
        rules.play_certain, rules.discard_useless, rules.tell_next_playable, rules.tell_next_unknown,
        rules.discard_randomly,
    ),
    "van_den_bergh": (
        rules.when(rules.life_to_spare, rules.play_likeliest(0.6)), rules.play_certain, rules.discard_likeliest(1.0),
        rules.tell_playable, rules.tell_most, rules.discard_likeliest(0.0),
    ),
    "hle_simple": (rules.play_told, rules.tell_color_of_playable, rules.discard_oldest, rules.play_oldest),
    "focus": (
        rules.play_asked, rules.play_certain, rules.when(rules.last_round, rules.play_likeliest(0.0)), rules.ask,
        rules.save, rules.discard_likeliest(1.0), rules.discard_untold, rules.discard_likeliest(0.0), rules.inform,
    ),
    "uniform": (),
}  # fmt: skip
"""The rules of each player, the most urgent first. Where none applies every legal action is equally likely."""

PARTNERS = tuple(RULES)
"""The names of all partners."""

_DISTINCT = tuple(dict.fromkeys(rule for listed in RULES.values() for rule in listed))
_LONGEST = max(map(len, RULES.values()))
_TABLE = np.array(
    [[*map(_DISTINCT.index, listed), *[len(_DISTINCT)] * (_LONGEST + 1 - len(listed))] for listed in RULES.values()],
    np.int32,
)
"""For each player the numbers of its rules in `_DISTINCT`, then that of the rule that always applies."""


@final
@dataclasses.dataclass(frozen=True)
class RuleBased:
    """The players of `RULES` on a board.

    The only parameter says which player, int32[] in the order of `RULES`, so that one compiled program plays them all.
    """

    always_sampled: ClassVar[bool] = True
    """These players are stochastic by definition: always taking the most probable action would be another player."""

    game: Hanabi

    @property
    def memory_clock(self) -> Literal["own_turns"]:
        return "own_turns"

    def init(self, *, key: Array) -> Array:
        """int32[]: the first player; there is nothing to draw."""
        del key
        return jnp.int32(0)

    def initial_memory(self) -> tuple[()]:
        return ()

    def apply(self, params: Array, memory: tuple[()], observation: Array, legal: Array) -> tuple[tuple[()], Array]:
        view = decode(self.game, observation)
        weights = jnp.stack([rule(view) for rule in _DISTINCT] + [jnp.ones(legal.shape, jnp.float32)])
        weights = jnp.where(legal[None], weights, 0.0)  # [rules, actions]
        own = jnp.asarray(_TABLE)[params]
        applies = jnp.any(weights > 0, axis=1)[own]
        chosen = weights[own[jnp.argmax(applies)]]
        return memory, jnp.log(chosen) - jnp.log(jnp.sum(chosen))


def partners(game: Game, names: Sequence[str] | None = None) -> list[Agent]:
    """Partners that nobody trained, as agents labelled with their names.

    Args:
      game: Hanabi on any board, or for "uniform" alone any game.
      names: of `PARTNERS`; None for all of them.

    Raises:
      TacitError: for another game, or a name that is not there.
    """
    chosen = [one_of("a partner", name, PARTNERS) for name in (PARTNERS if names is None else names)]
    if not isinstance(game, Hanabi):
        if set(chosen) != {"uniform"}:
            raise TacitError(
                f"the rule-based partners play hanabi only, and not the game {game.name!r}; uniform plays every game"
            )
        kind = Kind(Uniform(), next(iter(game.observers)), share_parameters=True)
        return [Agent(kind, (), name) for name in chosen]
    kind = Kind(RuleBased(game), OBSERVER, share_parameters=True)
    return [Agent(kind, jnp.int32(PARTNERS.index(name)), name) for name in chosen]
