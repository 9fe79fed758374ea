"""An agent: everything that is needed to let a policy play."""

from typing import Any, NamedTuple

from marl.policies.policy import Policy


class Kind(NamedTuple):
    """What agents have in common when one compiled program can play them: hashable."""

    policy: Policy
    observer: str
    share_parameters: bool


class Agent(NamedTuple):
    """A policy with its parameters, and how it sees the game.

    Attributes:
      kind: the policy (with its memory clock), the observer's name, and whether all seats use the same parameters.
      params: of `kind.policy`; with a leading axis [num_players] unless `kind.share_parameters`.
      label: how results call it.
    """

    kind: Kind
    params: Any
    label: str
