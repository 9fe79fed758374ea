"""Learners, and the games of a learner, spread over devices.

A job trains L learners at once, as leaves [L, ...]. The devices form a mesh with two axes:

`learners`  each device computes learners of its own, without communication: side by side, but on a CPU one after the
            other, so that what a learner works on stays in the cache.
`games`     the devices of one row share the games of their learners, leaves [L, G, ...] of the field `playing` of a
            learner's state. The compiler shards the rollout over them and adds the communication of the update.

With as many processes as hosts (`experiments.training.hosts`) every process runs the same program on all devices of all
processes, and each holds only its own part of an array.
"""

import contextlib
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, Sharding
from jax.sharding import PartitionSpec as P

from games.errors import TacitError
from marl.policies.policy import Array

LEARNERS = "learners"
GAMES = "games"


def one_per_core() -> None:
    """Make every core that this process may use a device of JAX's CPU; call this before any other use of JAX.

    Two devices with learners of their own train nearly twice as fast as one with two threads (docs/performance.md).
    Where JAX is in use already, or JAX_NUM_CPU_DEVICES or XLA_FLAGS say how many there are, nothing changes.
    """
    said = "JAX_NUM_CPU_DEVICES" in os.environ or "device_count" in os.environ.get("XLA_FLAGS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if not said and cores:
        with contextlib.suppress(RuntimeError):  # JAX has counted its devices
            jax.config.update("jax_num_cpu_devices", cores)


def for_learners(learners: int) -> Sequence[Any]:
    """The devices that share so many learners by default: all, but of one CPU as many as divide the learners.

    On a CPU the cores of a device work together; that is faster than devices that share a learner's games.
    """
    available = jax.devices()
    if not _on_cpu(available) or jax.process_count() > 1:
        return available
    return available[: max(count for count in range(1, len(available) + 1) if learners % count == 0)]


def mesh_for(devices: Sequence[Any], *, learners: int, num_games: int) -> Mesh:
    """The devices as gcd(learners, devices) rows along the learners axis, each row along the games axis.

    Args:
      devices: `jax.Device`s, in an order that keeps those of a host together, as `jax.devices()` does.
      learners: how many are trained at once.
      num_games: of each learner.

    Raises:
      TacitError: if the games of a learner cannot be shared equally by the devices of a row.
    """
    number = len(devices)
    if not _fits(number, learners, num_games):
        below = max(count for count in range(1, number) if _fits(count, learners, num_games))
        above = next(
            (count for count in range(number + 1, learners * num_games + 1) if _fits(count, learners, num_games)), None
        )
        others = f"{below}" if above is None else f"{below} or {above}"
        raise TacitError(
            f"{number} devices cannot share {learners} learners of {num_games} games each equally; "
            f"{others} devices would fit, or another learner.num_games"
        )
    rows = math.gcd(learners, number)
    return Mesh(np.array(devices).reshape(rows, -1), (LEARNERS, GAMES), axis_types=(AxisType.Auto, AxisType.Auto))


def layout(mesh: Mesh, state: Any) -> Any:
    """The shardings of the learners' states, leaves [L, ...].

    The first axis is sharded over the mesh's learners; below a field named `playing`, the second one over its games.
    """

    def of_leaf(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        in_games = any(getattr(key, "name", None) == "playing" for key in path)
        return NamedSharding(mesh, P(LEARNERS, GAMES) if in_games else P(LEARNERS))

    return jax.tree_util.tree_map_with_path(of_leaf, state)


def over_learners(function: Callable[..., Any], mesh: Mesh, state: Any, *, in_axes: Sequence[int | None]) -> Any:
    """The compiled function that applies `function` to every learner of a mesh.

    Args:
      function: (state, ...) -> (state, results) of one learner.
      mesh: from `mesh_for`.
      state: of all learners, or its shapes; laid out by `layout`, before and after.
      in_axes: for each argument, 0 where it has a learners axis, which is donated, and None where all learners get
        the same, as in `jax.vmap`.

    Returns:
      (states, ...) -> (states, results), both with a leading learners axis.
    """
    side_by_side = jax.vmap(function, in_axes=tuple(in_axes))

    def in_turn(*arguments: Any) -> Any:
        own = [None if axis is None else given for given, axis in zip(arguments, in_axes, strict=True)]

        def one(own: Sequence[Any]) -> Any:
            return function(*(shared if mine is None else mine for mine, shared in zip(own, arguments, strict=True)))

        return jax.lax.map(one, own)

    each = P(LEARNERS)
    everywhere = NamedSharding(mesh, P())
    by_row = NamedSharding(mesh, each)
    # Manual over learners: the compiler cannot add communication between them, and a loop whose length depends on
    # the learner ends where it ends. It partitions the games axis by itself.
    spread = jax.shard_map(
        in_turn if _on_cpu(mesh.devices.ravel()) else side_by_side,
        mesh=mesh,
        in_specs=tuple(P() if axis is None else each for axis in in_axes),
        out_specs=each,
        axis_names={LEARNERS},
        check_vma=False,  # it would ask learners to mark the constants that their loops begin with
    )
    own = layout(mesh, state)
    return jax.jit(
        spread,
        in_shardings=(own, *(everywhere if axis is None else by_row for axis in in_axes[1:])),
        out_shardings=(own, by_row),
        donate_argnums=tuple(number for number, axis in enumerate(in_axes) if axis is not None),
    )


def shard_rows(index: Array) -> Array:
    """`index` [N], sharded over the devices that share a learner's games; unchanged where they are not shared.

    A learner calls it on the rows that a minibatch takes: each device then computes the gradient of its part, and the
    compiler adds these up. Without it, every device computes the whole gradient.
    """
    parts = jax.sharding.get_abstract_mesh().shape.get(GAMES, 1)
    return index if parts == 1 or index.shape[0] % parts else jax.lax.with_sharding_constraint(index, P(GAMES))


def place(tree: Any, shardings: Any) -> Any:
    """Shard a tree that every process holds whole, by `shardings`: one, or a tree (or prefix) of them.

    Typed PRNG keys stay such. The result is a copy: it can be donated and leaves `tree` as it is.
    """
    return jax.tree.map(_place, tree, jax.tree.broadcast(shardings, tree))


def fetch(tree: Any) -> Any:
    """The whole of every leaf as a numpy array on every process; typed PRNG keys stay such, on one local device.

    All processes of a job must call this together.
    """
    numbers = jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, tree)
    whole = jax.device_get(jax.tree.map(_gather, numbers))

    def as_before(leaf: Any, host: Any) -> Any:
        return jax.random.wrap_key_data(host, impl=jax.random.key_impl(leaf)) if _is_key(leaf) else host

    return jax.tree.map(as_before, tree, whole)


def broadcast_from_first(said: int) -> int:
    """Broadcast process 0's int32 or flag to all processes, which must call this together; free where there is one."""
    if jax.process_count() == 1:
        return said
    return int(multihost_utils.broadcast_one_to_all(np.int32(said)))


def _on_cpu(devices: Any) -> bool:
    return devices[0].platform == "cpu"


def _fits(devices: int, learners: int, num_games: int) -> bool:
    return num_games % (devices // math.gcd(learners, devices)) == 0


def _place(leaf: Any, sharding: Sharding) -> Any:
    if sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding, may_alias=False)
    if _is_key(leaf):
        return jax.random.wrap_key_data(_place(jax.random.key_data(leaf), sharding), impl=jax.random.key_impl(leaf))
    whole = np.asarray(leaf)
    # `device_put` would first send everything to process 0 to check that all processes hold the same.
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def _gather(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return multihost_utils.process_allgather(leaf, tiled=True)
    return leaf


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
