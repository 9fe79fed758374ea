"""Learners that begin with the weights of stored policies instead of fresh ones: `initial_policies`.

The optimiser is fresh, and so is a critic of its own. Policies of a smaller board get the larger one's inputs and
outputs: those that both boards have keep their weights, the others are initialised as a fresh learner's.
"""

from pathlib import Path
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments import runs
from experiments.configuration.config import RunConfig, canonical, digest
from experiments.configuration.targets import completed
from games.errors import TacitError
from games.game import Game
from marl.agent import Kind, declared_parameters, named


def check(file: Path, config: RunConfig) -> None:
    """Refuse policies with which a run cannot begin, before anything compiles.

    Raises:
      TacitError: as `begun_with`.
    """
    _read(file, config)


def begun_with(file: Path, state: Any, config: RunConfig) -> Any:
    """Initial states whose policies play with the stored weights.

    Args:
      file: a run's policies.safetensors or a file of the zoo.
      state: the fresh initial states, leaves [runs * seeds, ...].
      config: of any of the runs, which have the same game and policy.

    Raises:
      TacitError: if the file has changed since the job was named, is of a run that is not finished, its policies are
        neither one nor one for each seed, are of another policy, or of a game that does not fit into this one, or if
        the learner cannot begin so.
    """
    learner: Any = config.built.learner
    stored = _read(file, config)
    fresh, structure = jax.tree.flatten(learner.agent_params(state))
    weights = [np.array(leaf) for leaf in fresh]  # on the host: the indices take more than the weights
    for leaf, (place, own) in zip(weights, stored, strict=True):
        index: Any = [np.arange(len(leaf)), *place]
        leaf[np.ix_(*index)] = own[np.arange(len(leaf)) % len(own)]
    return learner.with_agent_params(state, jax.tree.unflatten(structure, list(map(jnp.asarray, weights))))


def _read(file: Path, config: RunConfig) -> list[tuple[list[NDArray[np.intp]], NDArray[Any]]]:
    """For each leaf of a policy's weights: where the stored ones belong along its axes, and these, [policies, ...]."""

    def refuse(why: str) -> NoReturn:
        raise TacitError(f"initial_policies: {file} {why}")

    if digest(file) != config.initial_policies:
        refuse("has changed since the job began")
    built = config.built
    if not hasattr(built.learner, "with_agent_params"):
        refuse(f"needs a learner that has with_agent_params, and {type(built.learner).__name__} has not")
    stored = runs.read_run(file.parent if (file.parent / "run.json").exists() else file)
    if len(stored.agents) not in (1, config.seeds):
        refuse(f"has {len(stored.agents)} policies, and should have 1 or {config.seeds}")
    if type(stored.game) is not type(built.game):
        refuse(f"plays {stored.game.name}, and this job {built.game.name}")
    for key, own in _of_policy(config, built.kind).items():
        if (theirs := _of_policy(stored.config, stored.agents[0].kind).get(key)) != own:
            refuse(f"has {key}={theirs}, and this job {own}")
    try:
        places = _places(stored.game, built.game, built.kind.observer)
    except TacitError as error:
        refuse(f"does not fit: {error}")
    found = []
    declared = named(declared_parameters(built.kind, built.game.num_players))
    params = [named(agent.params) for agent in stored.agents]
    for name, leaf in declared.items():
        weights = np.stack([one[name] for one in params])
        axes = list(zip(weights.shape[1:], leaf.shape, strict=True))
        if any(few != many and (few, many) not in places for few, many in axes):
            refuse(f"has {name} of shape {weights.shape[1:]}, and this job {leaf.shape}")
        found.append(([places.get(sizes, np.arange(sizes[0])) for sizes in axes], weights))
    return found


def _of_policy(config: RunConfig, kind: Kind) -> dict[str, Any]:
    """What has to be equal: the policy's keys, and those of the learner that it depends on."""
    policy = {f"policy.{key}": value for key, value in canonical(completed("policy", config.policy)).items()}
    return policy | {"policy.observer": kind.observer, "learner.share_parameters": kind.share_parameters}


def _places(smaller: Game, larger: Game, observer: str) -> dict[tuple[int, int], NDArray[np.intp]]:
    """Where the smaller game's observations and actions stand among the larger one's, by the sizes of both."""
    if smaller == larger:
        return {}
    sizes = [(one.observer(observer).size, one.num_actions) for one in (smaller, larger)]
    return dict(zip(zip(*sizes, strict=True), larger.places_of(smaller, observer), strict=True))
