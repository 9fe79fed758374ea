"""Learners that begin with the weights of stored policies instead of fresh ones: `initial_policies`.

The optimiser is fresh, and so is a critic of its own. Policies of a smaller board get the larger one's inputs and
outputs: those that both boards have keep their weights, the others are initialised as a fresh learner's.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments import runs
from experiments.configuration.config import RunConfig, digest
from games.errors import TacitError
from games.game import Game
from marl.agent import named


def check(file: Path, config: RunConfig) -> None:
    """Refuse policies with which a run cannot begin, before anything compiles.

    Raises:
      TacitError: as `begun_with`.
    """
    built = config.built
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), config.seeds))
    _stored(
        file, jax.eval_shape(jax.vmap(lambda key: built.learner.init(built.hyperparameters, key=key)), keys), config
    )


def begun_with(file: Path, state: Any, config: RunConfig) -> Any:
    """Initial states whose policies play with the stored weights.

    Args:
      file: a run's policies.safetensors or a file of the zoo.
      state: the fresh initial states, leaves [runs * seeds, ...].
      config: of any of the runs, which have the same game and policy.

    Raises:
      TacitError: if the file has changed since the job was named, its policies are neither one nor one for each seed,
        are of another architecture, or of a game that does not fit into this one, or if the learner cannot begin so.
    """
    learner: Any = config.built.learner
    stored = _stored(file, state, config)
    fresh, structure = jax.tree.flatten(learner.agent_params(state))
    weights = [jnp.asarray(leaf).at[place].set(own) for leaf, (place, own) in zip(fresh, stored, strict=True)]
    return learner.with_agent_params(state, jax.tree.unflatten(structure, weights))


def _stored(file: Path, state: Any, config: RunConfig) -> list[tuple[Any, NDArray[Any]]]:
    """For each leaf of the learners' weights: where the stored ones belong, and these, [learners, ...]."""
    if digest(file) != config.initial_policies:
        raise TacitError(f"initial_policies: {file} has changed since the job began")
    learner: Any = config.built.learner
    if not hasattr(learner, "with_agent_params"):
        raise TacitError(f"initial_policies: {type(learner).__name__} has no with_agent_params, which sets the weights")
    _, game, agents = runs.read_policies(file, "initial")
    if len(agents) not in (1, config.seeds):
        raise TacitError(f"initial_policies: {file} has {len(agents)} policies, and should have 1 or {config.seeds}")
    kind, theirs, fresh = config.built.kind, agents[0].kind, learner.agent_params(state)
    if type(game) is not type(config.built.game):
        raise TacitError(f"initial_policies: {file} plays {game.name}, and this job {config.built.game.name}")
    if (kind.observer, kind.share_parameters) != (theirs.observer, theirs.share_parameters):
        raise TacitError(f"initial_policies: {file} has another observer, or shares parameters otherwise")
    if jax.tree.structure(fresh) != jax.tree.structure(agents[0].params):
        raise TacitError(f"initial_policies: {file} has {theirs.policy}, and this job {kind.policy}")
    try:
        places = _places(game, config.built.game, kind.observer)
    except TacitError as error:
        raise TacitError(f"initial_policies: {file}: {error}") from error
    found = []
    for (name, leaf), *own in zip(named(fresh).items(), *(named(one.params).values() for one in agents), strict=True):
        learners, *shape = leaf.shape
        weights = np.stack(own)[np.arange(learners) % len(agents)]
        index = [np.arange(learners)]
        for few, many in zip(weights.shape[1:], shape, strict=True):
            if few != many and (few, many) not in places:
                raise TacitError(
                    f"initial_policies: {file} has {name} of shape {weights.shape[1:]}, and this job {tuple(shape)}"
                )
            index.append(places.get((few, many), np.arange(few)))
        found.append((np.ix_(*index), weights))
    return found


def _places(smaller: Game, larger: Game, observer: str) -> dict[tuple[int, int], Any]:
    """Where the smaller game's observations and actions stand among the larger one's, by the sizes of both."""
    if smaller == larger:
        return {}
    sizes = [(one.observer(observer).size, one.num_actions) for one in (smaller, larger)]
    return dict(zip(zip(*sizes, strict=True), larger.places_of(smaller, observer), strict=True))
