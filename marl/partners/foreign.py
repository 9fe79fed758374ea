"""Agents whose weights another program trained: JaxMARL's players of Hanabi, as policies of this package.

JaxMARL (Rutherford et al. 2024, github.com/FLAIROX/JaxMARL, read at commit c793d09) writes a network's parameters under
flax's own names, joined by commas, such as `params,Dense_0,kernel`. Three networks play its Hanabi: the feed-forward
and the recurrent one of IPPO, of which MAPPO has the actor alone, and the public-private one that carries the
published weights of Off-Belief Learning. All see its observation, which is our observer `belief`.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from games.errors import TacitError
from games.game import Game
from games.hanabi.rules import Hanabi
from marl.agent import Agent, Kind
from marl.policies.feed_forward import FeedForward
from marl.policies.policy import Policy
from marl.policies.public_private import PublicPrivate
from marl.policies.recurrent import Recurrent

OBSERVER = "belief"
"""The observer of Hanabi that JaxMARL's networks were trained on."""

_UNITS = ("ScannedRNN_0,GRUCell_1", "ScannedRNN_0,GRUCell_0")
"""The recurrent unit's names: JaxMARL makes a first one only for the shape of its memory, and flax may count it."""
_GATES = "rzn"
"""The gates of the unit in our order: reset, update, candidate."""
_UNUSED = ("fc_v", "pred_1st")
"""Heads of Off-Belief Learning's network that its actions do not depend on."""


def jaxmarl_agent(game: Game, tensors: Mapping[str, np.ndarray], *, label: str, file: str) -> Agent:
    """The agent with weights that JaxMARL trained.

    Args:
      game: Hanabi, on the board that it was trained on.
      tensors: by JaxMARL's names, kernels float32[inputs, outputs] and biases float32[outputs].
      label: of the agent.
      file: how errors call the weights.

    Raises:
      TacitError: for another game, weights of no network above, or a layer that does not fit the board.
    """
    if not isinstance(game, Hanabi):
        raise TacitError(f"{file}: JaxMARL's agents play hanabi only, not the game {game.name!r}")
    weights = _Weights(file, {name.removeprefix("params,"): tensor for name, tensor in tensors.items()})
    build = _NETWORKS.get(frozenset(name for name in weights.tensors if name.partition(",")[0] not in _UNUSED))
    if build is None:
        layers = sorted({name.rpartition(",")[0] or name for name in weights.tensors})
        raise TacitError(
            f"{file} holds none of JaxMARL's networks for Hanabi (feed-forward, recurrent, public-private): "
            f"its layers are {', '.join(layers) or 'none'}"
        )
    policy, params = build(game, weights)
    return Agent(Kind(policy, OBSERVER, share_parameters=True), params, label)


class _Weights(NamedTuple):
    """Tensors by name, of a file that errors name."""

    file: str
    tensors: Mapping[str, np.ndarray]

    def width(self, layer: str) -> int:
        """How many outputs a layer has."""
        return (np.shape(self.tensors[f"{layer},kernel"]) or (1,))[-1]

    def dense(self, layer: str, inputs: int, outputs: int) -> dict[str, np.ndarray]:
        """A layer's kernel, and its bias if it has one."""
        found = {"kernel": self._tensor(f"{layer},kernel", inputs, outputs)}
        if f"{layer},bias" in self.tensors:
            found["bias"] = self._tensor(f"{layer},bias", outputs)
        return found

    def _tensor(self, name: str, *shape: int) -> np.ndarray:
        tensor = self.tensors[name]
        if np.shape(tensor) != shape:
            raise TacitError(
                f"{self.file} does not fit this board of hanabi: {name} must have shape {shape}, not {np.shape(tensor)}"
            )
        return np.asarray(tensor, np.float32)


def _feed_forward(game: Hanabi, weights: _Weights) -> tuple[Policy, Any]:
    size, torso = game.observer(OBSERVER).size, weights.width("Dense_0")
    layers = {"torso_layers_0": weights.dense("Dense_0", size, torso)}
    widths, heads = _heads(game, weights, torso)
    return FeedForward(size, game.num_actions, torso=(torso,), **widths), layers | heads


def _recurrent(game: Hanabi, weights: _Weights, unit: str) -> tuple[Policy, Any]:
    size, torso, memory = game.observer(OBSERVER).size, weights.width("Dense_0"), weights.width(f"{unit},hr")
    layers: dict[str, Any] = {"torso_layers_0": weights.dense("Dense_0", size, torso)}
    inward = [weights.dense(f"{unit},i{gate}", torso, memory) for gate in _GATES]
    within = [weights.dense(f"{unit},h{gate}", memory, memory) for gate in _GATES]
    layers |= {
        "input_layer": {name: np.concatenate([gate[name] for gate in inward], axis=-1) for name in ("kernel", "bias")},
        "memory_layer": {"kernel": np.concatenate([gate["kernel"] for gate in within], axis=-1)},
        "candidate_bias": within[_GATES.index("n")]["bias"],
    }
    widths, heads = _heads(game, weights, memory)
    return Recurrent(size, game.num_actions, torso=(torso,), memory=memory, **widths), layers | heads


def _heads(game: Hanabi, weights: _Weights, features: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The widths and the parameters of the actor, and of the critic, whose value is 0 if the file has none."""
    actor = weights.width("Dense_1")
    heads: dict[str, Any] = {
        "actor_layers_0": weights.dense("Dense_1", features, actor),
        "logits_layer": weights.dense("Dense_2", actor, game.num_actions),
    }
    if "Dense_3,kernel" not in weights.tensors:
        nothing = {"kernel": np.zeros((features, 1), np.float32), "bias": np.zeros(1, np.float32)}
        return {"actor": (actor,), "critic": ()}, heads | {"value_layer": nothing}
    critic = weights.width("Dense_3")
    heads["critic_layers_0"] = weights.dense("Dense_3", features, critic)
    heads["value_layer"] = weights.dense("Dense_4", critic, 1)
    return {"actor": (actor,), "critic": (critic,)}, heads


def _public_private(game: Hanabi, weights: _Weights) -> tuple[Policy, Any]:
    observer = game.observer(OBSERVER)
    size, width, private = observer.size, weights.width("priv_net_dense_0"), observer.layout["hands"].stop
    layers: dict[str, Any] = {
        f"private_layers_{i}": weights.dense(f"priv_net_dense_{i}", width if i else size, width) for i in range(3)
    }
    layers["public_layer"] = weights.dense("publ_net_dense_0", size - private, width)
    for i in range(2):
        layers[f"memory_layers_{i}"] = {
            gate: weights.dense(f"lstm,l{i},{gate}", width, width) for gate in _lstm_gates("ih")
        }
    layers["values_layer"] = weights.dense("fc_a", width, game.num_actions)
    return PublicPrivate(size, game.num_actions, private, width), layers


def _lstm_gates(sides: str) -> list[str]:
    """The names of the input, forget, candidate and output gates' layers: i of the inputs, h of the memory."""
    return [f"{side}{gate}" for side in sides for gate in "ifgo"]


def _names(layers: list[str], without_bias: list[str] | None = None) -> frozenset[str]:
    kernels = [f"{layer},kernel" for layer in [*layers, *(without_bias or [])]]
    return frozenset([*kernels, *(f"{layer},bias" for layer in layers)])


_ACTOR = _names(["Dense_0", "Dense_1", "Dense_2"])
_CRITIC = _names(["Dense_3", "Dense_4"])
_OBL = _names(
    [*(f"priv_net_dense_{i}" for i in range(3)), "publ_net_dense_0", "fc_a"]
    + [f"lstm,l{i},{gate}" for i in range(2) for gate in _lstm_gates("h")],
    [f"lstm,l{i},{gate}" for i in range(2) for gate in _lstm_gates("i")],
)


def _gru(unit: str) -> frozenset[str]:
    return _names([f"{unit},{gate}" for gate in ("ir", "iz", "in", "hn")], [f"{unit},hr", f"{unit},hz"])


_NETWORKS = {_OBL: _public_private}
"""For each network, given by the set of its tensors' names, the function that builds the policy and its parameters."""
for _own in (_ACTOR, _ACTOR | _CRITIC):
    _NETWORKS[_own] = _feed_forward
    _NETWORKS |= {_own | _gru(unit): functools.partial(_recurrent, unit=unit) for unit in _UNITS}
