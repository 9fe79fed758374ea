"""Symmetries of a Dec-POMDP: the relabellings of agents, actions, observations and states that leave the game as it is.

The game is written as a coloured graph whose automorphisms are exactly its symmetries; igraph's BLISS finds their
number and generators. What acts on policies is the group's *image* on agents, actions and observations: two symmetries
that differ only in states do the same to every policy.

A relabelling is a symmetry if it maps the tables onto themselves, states one to one, wherever legal play can get. So a
reward counts only by its mean given joint action and state; and states that cannot be reached, joint actions that
cannot legally be played in a state, and observations that cannot be received do not count at all. Possible means: with
probability above 0 under some legal play of any length. States are not merged: a relabelling under which two states
together behave as one did before is no symmetry here, although no policy could tell the difference.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import NamedTuple, final

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from games.errors import TacitError, whole_number
from games.tabular.dec_pomdp import DecPOMDP
from games.tabular.histories import Tree

ROUNDING = 1e-12
"""Numbers of one table are the same value if they are this close, in units of its largest magnitude."""

RANDOM_PRODUCTS = 200
"""How many random elements are tried of a group that is too large to enumerate."""


class Automorphism(NamedTuple):
    """One symmetry as permutations, source index -> image index.

    Actions, observations and states that cannot occur keep their order.
    """

    agents: np.ndarray  # int64[n], agent i becomes agent agents[i]
    actions: tuple[np.ndarray, ...]  # int64[A_i], action a of agent i becomes action actions[i][a] of agent agents[i]
    observations: tuple[np.ndarray, ...]  # int64[O_i], likewise
    states: np.ndarray  # int64[S]

    def compose(self, first: "Automorphism") -> "Automorphism":
        """`first`, then this one."""
        agents = first.agents.tolist()
        return Automorphism(
            self.agents[first.agents],
            tuple(self.actions[i][own] for i, own in zip(agents, first.actions, strict=True)),
            tuple(self.observations[i][own] for i, own in zip(agents, first.observations, strict=True)),
            self.states[first.states],
        )

    def inverse(self) -> "Automorphism":
        """The one that undoes this one."""
        sources = np.argsort(self.agents)
        return Automorphism(
            sources,
            tuple(np.argsort(self.actions[i]) for i in sources.tolist()),
            tuple(np.argsort(self.observations[i]) for i in sources.tolist()),
            np.argsort(self.states),
        )

    def same_image(self, other: "Automorphism") -> bool:
        """Whether both do the same to agents, actions and observations, and so to every policy."""
        return self._image() == other._image()

    def _image(self) -> bytes:
        return np.concatenate([self.agents, *self.actions, *self.observations]).tobytes()


@final
@dataclasses.dataclass(frozen=True, eq=False)
class SymmetryGroup:
    """All symmetries of one game.

    Attributes:
      order: how many there are, permutations of reachable states included.
      policy_order: how many of them differ on agents, actions or observations.
      generators: symmetries whose products are all of them; none for the trivial group.
      identity: the symmetry that changes nothing.
    """

    order: int
    policy_order: int
    generators: tuple[Automorphism, ...]
    identity: Automorphism

    @property
    def trivial(self) -> "SymmetryGroup":
        """The group of the identity alone."""
        return SymmetryGroup(1, 1, (), self.identity)

    @property
    def acting(self) -> list[Automorphism]:
        """The generators that change more than states; their products are the image that acts on policies."""
        return [g for g in self.generators if not g.same_image(self.identity)]

    def elements(self, limit: int) -> list[Automorphism]:
        """One symmetry for each of the `policy_order` ways in which the group acts on policies; the identity first.

        Raises:
          TacitError: if there are more than `limit`.
        """
        if self.policy_order > limit:
            raise TacitError(f"the group acts on policies in {self.policy_order} ways, more than the limit {limit}")
        found = {self.identity._image(): self.identity}
        newest = [self.identity]
        while newest:
            products = [g.compose(h) for h in newest for g in self.acting]
            newest = []
            for product in products:
                if (image := product._image()) not in found:
                    found[image] = product
                    newest.append(product)
        return list(found.values())


def automorphisms(problem: DecPOMDP, *, swap_agents: bool) -> SymmetryGroup:
    """The symmetry group of a Dec-POMDP of any horizon.

    A symmetry maps agents to agents with as many actions and observations (to themselves unless `swap_agents`), the
    actions and observations of each one to one onto those of its image, and states to states, such that the start
    distribution, transitions, observations, initial observations, legal actions and *expected* rewards (the mean of
    `reward` given joint action and state) are those of the game itself, wherever they can matter (see the module).

    The graph has a vertex for each agent, each action and each observation of an agent, each state and each state as a
    next state; one for each table entry that does not have its table's most frequent value, coloured by its value and
    joined to what it mentions; and an edge for each illegal action after an observation. Every further vertex is
    determined by what it mentions, so the graph has exactly as many automorphisms as the game.

    Raises:
      TacitError: if igraph is not installed.
    """
    igraph = _igraph()
    graph, labels = _encode(problem, swap_agents)
    drawn = igraph.Graph(n=graph.size, edges=np.concatenate(graph.edges))
    colors = np.concatenate(graph.colors)
    order = drawn.count_automorphisms(color=colors.tolist())
    fixed = colors.copy()
    fixed[: labels.size] = colors.max() + 1 + np.arange(labels.size)
    only_states = drawn.count_automorphisms(color=fixed.tolist())
    generators = drawn.automorphism_group(color=colors.tolist())
    return SymmetryGroup(
        order=order,
        policy_order=order // only_states,
        generators=tuple(labels.read(np.array(generator)) for generator in generators),
        identity=labels.read(np.arange(graph.size)),
    )


def on_histories(automorphism: Automorphism, tree: Tree) -> tuple[np.ndarray, ...]:
    """Where a symmetry takes histories: for each agent i int64[H_i], among the histories of agent `agents[i]`.

    Raises:
      TacitError: if a history has no image, so that the symmetry is not one of the tree's game.
    """
    images = []
    for agent, own in enumerate(tree.agents):
        other = tree.agents[automorphism.agents[agent]]
        actions, observations = automorphism.actions[agent], automorphism.observations[agent]
        image = np.empty(own.size, np.int64)
        first = own.observation[own.stage(0)]
        image[own.stage(0)] = other.root[np.where(first < 0, 0, observations[first])]
        for t in range(1, tree.horizon):
            now = own.stage(t)
            parents = image[own.parent[now]]
            image[now] = other.child[parents, actions[own.action[now]], observations[own.observation[now]]]
        if other.size != own.size or (image < 0).any():
            raise TacitError(
                f"a history of agent {tree.problem.agents[agent]} has no image: not a symmetry of its game"
            )
        images.append(image)
    return tuple(images)


def on_policy(automorphism: Automorphism, tree: Tree, policy: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The image of a joint policy: (g π)_{g(i)}(g a | g h) = π_i(a | h).

    Args:
      policy: for each agent [..., H_i, A_i], any dtype.

    Returns:
      The same shapes and dtypes.
    """
    images: list[np.ndarray] = [np.empty(0)] * len(policy)
    for agent, (own, image) in enumerate(zip(policy, on_histories(automorphism, tree), strict=True)):
        moved = np.empty_like(own)
        moved[..., image[:, None], automorphism.actions[agent][None]] = own
        images[automorphism.agents[agent]] = moved
    return tuple(images)


def orbits(group: SymmetryGroup, tree: Tree) -> tuple[np.ndarray, ...]:
    """The orbit of each legal (history, action): for each agent int64[H_i, A_i], -1 where illegal.

    Orbits are numbered from 0 over all agents together: one that the group takes to another agent's is the same.
    """
    shapes = [own.legal.shape for own in tree.agents]
    ends = np.cumsum([rows * columns for rows, columns in shapes])
    numbers = tuple(
        np.arange(end - rows * columns, end).reshape(rows, columns)
        for end, (rows, columns) in zip(ends.tolist(), shapes, strict=True)
    )
    source = np.concatenate([own.ravel() for own in numbers])
    pairs = [source, *(_flat(on_policy(g, tree, numbers)) for g in group.acting)]
    # An image holds at each place the number of the place it came from.
    links = np.concatenate([np.stack([source, image]) for image in pairs], axis=1)
    joined = sparse.coo_matrix((np.ones(links.shape[1], np.bool_), (links[0], links[1])), (len(source),) * 2)
    _, component = connected_components(joined, directed=False)
    legal = np.concatenate([own.legal.ravel() for own in tree.agents])
    orbit = np.full(len(source), -1, np.int64)
    orbit[legal] = np.unique(component[legal], return_inverse=True)[1]
    return tuple(orbit[own] for own in numbers)


def project(orbits: Sequence[np.ndarray], policy: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The equivariant policy that is the mean of all images of `policy` under the group.

    Every probability becomes the mean over its orbit. This is also the equivariant policy with the least sum of squared
    differences from `policy`. It is 0 where an action is illegal.

    Args:
      orbits: what `orbits` returned.
      policy: for each agent float64[..., H_i, A_i].

    Returns:
      The same shapes.
    """
    flat_orbits = np.concatenate([own.ravel() for own in orbits])
    legal = np.flatnonzero(flat_orbits >= 0)
    orbit = flat_orbits[legal]
    shares = 1 / np.bincount(orbit)
    mean = sparse.csr_matrix((shares[orbit], (orbit, np.arange(len(orbit)))))  # [orbits, legal entries]
    batch = policy[0].shape[:-2]
    values = _flat(policy)[..., legal].reshape(-1, len(legal))
    result = np.zeros((len(values), len(flat_orbits)))
    result[:, legal] = (mean @ values.T)[orbit].T
    ends = np.cumsum([own.size for own in orbits])[:-1]
    parts = np.split(result, ends, axis=1)
    return tuple(part.reshape(*batch, *own.shape) for part, own in zip(parts, orbits, strict=True))


class EquivarianceDefect(NamedTuple):
    """How far policies are from their images, as total-variation distances, float64[...] (the batch axes)."""

    unweighted: np.ndarray
    weighted: np.ndarray | None  # None where no reach was given
    exact: bool  # False: not all group elements were tried, and both are lower bounds


def equivariance_defect(
    group: SymmetryGroup,
    tree: Tree,
    policy: Sequence[np.ndarray],
    reach: Sequence[np.ndarray] | None = None,
    *,
    limit: int = 2_000,
) -> EquivarianceDefect:
    """The largest distance of a history's action distribution from that of an image of the policy.

    Unweighted: the maximum over group elements g, agents and histories h of TV(π(·|h), (g π)(·|h)). Weighted: of that
    times the probability that h is reached. As the inverse of g compares the same two histories the other way round,
    a difference counts as much as the likelier of the two occurs.

    Args:
      group: of the tree's game.
      policy: for each agent float64[..., H_i, A_i].
      reach: for each agent float64[..., H_i], the probability that a game goes through the history.
      limit: if the group acts on policies in more ways than this, only its generators, their inverses and
        `RANDOM_PRODUCTS` random products (always the same) are tried.
    """
    exact = group.policy_order <= whole_number("limit", limit, 1)
    batch = policy[0].shape[:-2]
    largest = np.zeros(batch)
    weighted = np.zeros(batch)
    for element in group.elements(limit)[1:] if exact else _sample(group):
        image = on_policy(element, tree, policy)
        distances = [np.abs(own - other).sum(-1) / 2 for own, other in zip(policy, image, strict=True)]
        largest = np.maximum(largest, np.max([own.max(-1) for own in distances], axis=0))
        if reach is not None:
            products = [own * weight for own, weight in zip(distances, reach, strict=True)]
            weighted = np.maximum(weighted, np.max([own.max(-1) for own in products], axis=0))
    return EquivarianceDefect(largest, None if reach is None else weighted, exact)


def _sample(group: SymmetryGroup) -> Iterator[Automorphism]:
    """Generators, their inverses, and a random walk of products of these."""
    steps = [*group.acting, *(g.inverse() for g in group.acting)]
    yield from steps
    element = group.identity
    for number in np.random.default_rng(0).integers(len(steps), size=RANDOM_PRODUCTS).tolist():
        element = steps[number].compose(element)
        yield element


def _flat(policy: Sequence[np.ndarray]) -> np.ndarray:
    """[..., sum of H_i A_i]: all agents' entries, concatenated."""
    return np.concatenate([own.reshape(*own.shape[:-2], -1) for own in policy], axis=-1)


def _igraph() -> ModuleType:
    try:
        import igraph
    except ImportError as error:
        raise TacitError("symmetry groups need igraph, which is not here: pip install 'tacit[symmetry]'") from error
    return igraph


# What is possible


class _Possible(NamedTuple):
    """What some legal play leads to."""

    played: np.ndarray  # bool[JA, S], the joint action can be legal in the state
    entered: np.ndarray  # bool[JA, S'], the joint action can lead to the state
    states: np.ndarray  # bool[S]
    received: tuple[np.ndarray, ...]  # for each agent bool[O_i]
    used: tuple[np.ndarray, ...]  # for each agent bool[A_i]


def _possible(problem: DecPOMDP) -> _Possible:
    """Follow (state, last joint observation) from the start until nothing new appears."""
    moves = (problem.transition > 0).astype(np.float32)  # not bool: numpy's matrix products of bool are slow
    sights = problem.observation > 0
    allowed = np.ones((len(problem.joint_observations), len(problem.joint_actions)), np.float32)
    for mask, observations, actions in zip(
        problem.legal or (), problem.joint_observations.T, problem.joint_actions.T, strict=False
    ):
        allowed *= mask[observations[:, None], actions[None]]
    begins = problem.start > 0
    if problem.initial_observation is None:
        seen = np.zeros((problem.num_states, len(problem.joint_observations)), np.bool_)
        at_start = np.broadcast_to(begins, (len(problem.joint_actions), problem.num_states))  # everything is legal
    else:
        seen = begins[:, None] & (problem.initial_observation > 0)
        at_start = np.zeros((len(problem.joint_actions), problem.num_states), np.bool_)
    while True:
        played = at_start | (seen.astype(np.float32) @ allowed > 0).T
        entered = np.matmul(played[:, None].astype(np.float32), moves)[:, 0] > 0
        larger = seen | (entered[:, :, None] & sights).any(0)
        if np.array_equal(larger, seen):
            break
        seen = larger
    return _Possible(
        played=played,
        entered=entered,
        states=begins | entered.any(0),
        received=_each_agent(np.any(seen, 0), problem.joint_observations, problem.num_observations),
        used=_each_agent(np.any(played, 1), problem.joint_actions, problem.num_actions),
    )


def _each_agent(possible: np.ndarray, joint: np.ndarray, sizes: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """For each agent bool[size]: which of its own occur in a possible joint one."""
    return tuple(np.isin(np.arange(size), own[possible]) for size, own in zip(sizes, joint.T, strict=True))


# The graph


class _Graph:
    """A coloured graph that grows by whole arrays of vertices and edges."""

    def __init__(self) -> None:
        self.size = 0
        self.colors: list[np.ndarray] = []
        self.edges: list[np.ndarray] = [np.zeros((0, 2), np.int64)]
        self._next_color = 0

    def add(self, classes: np.ndarray) -> np.ndarray:
        """New vertices, coloured by class, in colours that no earlier call used: int64[len(classes)]."""
        vertices = np.arange(self.size, self.size + len(classes))
        self.size += len(classes)
        self.colors.append(classes + self._next_color)
        self._next_color += int(classes.max(initial=0)) + 1
        return vertices

    def join(self, ones: np.ndarray, others: np.ndarray) -> None:
        """An edge from each vertex of `ones`, int64[k], to each of its row of `others`, int64[k, m]."""
        self.edges.append(np.stack([np.repeat(ones, others.shape[1]), others.ravel()], axis=1))

    def add_table(self, classes: np.ndarray, axes: Sequence[np.ndarray]) -> None:
        """A vertex for each entry of `classes` that is not of the most frequent class.

        Args:
          classes: the value class of each entry.
          axes: for each axis of `classes` int64[its length, m], the vertices that an index along it mentions.
        """
        index = np.nonzero(classes != np.bincount(classes.ravel()).argmax())
        entries = self.add(classes[index])
        for numbers, mentioned in zip(index, axes, strict=True):
            self.join(entries, mentioned[numbers])


class _Labels(NamedTuple):
    """The vertices of actions, observations and states, -1 for what cannot occur; agent i is vertex i."""

    actions: tuple[np.ndarray, ...]  # for each agent int64[A_i]
    observations: tuple[np.ndarray, ...]  # for each agent int64[O_i]
    states: np.ndarray  # int64[S]
    size: int  # how many agents, actions and observations there are: vertices 0 ... size - 1

    def read(self, image: np.ndarray) -> Automorphism:
        """The symmetry that takes vertex v to image[v]."""
        agents = image[: len(self.actions)]
        return Automorphism(
            agents,
            tuple(_read(own, self.actions[i], image) for own, i in zip(self.actions, agents, strict=True)),
            tuple(_read(own, self.observations[i], image) for own, i in zip(self.observations, agents, strict=True)),
            _read(self.states, self.states, image),
        )


def _read(source: np.ndarray, target: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Where in `target` the images of the vertices `source` stand; what has no vertex (-1) keeps its order."""
    result = np.empty(len(source), np.int64)
    place = np.argsort(target, kind="stable")  # those without a vertex come first
    missing = int((source < 0).sum())
    result[source < 0] = place[:missing]
    present = place[missing:]
    result[source >= 0] = present[np.searchsorted(target[present], image[source[source >= 0]])]
    return result


def _encode(problem: DecPOMDP, swap_agents: bool) -> tuple[_Graph, _Labels]:
    """The graph of the game, without what cannot occur."""
    possible = _possible(problem)
    graph = _Graph()
    labels = _add_labels(graph, problem, possible, swap_agents)
    s = np.flatnonzero(possible.states)
    ja, actions = _mentioned(problem.joint_actions, labels.actions)
    jo, observations = _mentioned(problem.joint_observations, labels.observations)
    played, entered = possible.played[np.ix_(ja, s)], possible.entered[np.ix_(ja, s)]
    states = labels.states[s][:, None]
    afterwards = graph.add(np.zeros(len(s), np.int64))[:, None]
    graph.join(afterwards[:, 0], states)

    moves = problem.transition[np.ix_(ja, s, s)]
    graph.add_table(_classes(moves, (moves > 0) & played[:, :, None]), (actions, states, afterwards))
    sights = problem.observation[np.ix_(ja, s, jo)]
    graph.add_table(_classes(sights, (sights > 0) & entered[:, :, None]), (actions, afterwards, observations))
    graph.add_table(_classes(problem.expected_reward[np.ix_(ja, s)], played), (actions, states))
    if problem.initial_observation is not None:
        first = problem.initial_observation[np.ix_(s, jo)]
        begins = problem.start[s] > 0
        graph.add_table(_classes(first, (first > 0) & begins[:, None]), (states, observations))
    return graph, labels


def _add_labels(graph: _Graph, problem: DecPOMDP, possible: _Possible, swap_agents: bool) -> _Labels:
    """Vertices of agents, their actions and observations, and states; edges between what is an agent's own."""
    sizes = np.array([problem.num_actions, problem.num_observations]).T
    kinds = np.unique(sizes, axis=0, return_inverse=True)[1] if swap_agents else np.arange(len(sizes))
    agents = graph.add(kinds.reshape(-1))
    actions = _add_own(graph, agents, possible.used)
    observations = _add_own(graph, agents, possible.received)
    for agent, mask in enumerate(problem.legal or ()):
        after, action = np.nonzero(~mask & possible.received[agent][:, None] & possible.used[agent])
        graph.join(observations[agent][after], actions[agent][action][:, None])
    count = graph.size
    states = np.full(problem.num_states, -1, np.int64)
    states[possible.states] = graph.add(_classes(problem.start, problem.start > 0)[possible.states])
    return _Labels(actions, observations, states, count)


def _add_own(graph: _Graph, agents: np.ndarray, occurs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """A vertex for each agent's action (or observation) that occurs, all of one colour, joined to the agent."""
    flat = np.concatenate(occurs)
    vertices = np.full(len(flat), -1, np.int64)
    vertices[flat] = graph.add(np.zeros(flat.sum(), np.int64))
    owner = np.repeat(agents, [len(own) for own in occurs])
    graph.join(vertices[flat], owner[flat][:, None])
    return tuple(np.split(vertices, np.cumsum([len(own) for own in occurs])[:-1]))


def _mentioned(joint: np.ndarray, vertices: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The joint actions (or observations) of which every part occurs, int64[k], and their vertices, int64[k, n]."""
    parts = np.stack([own[column] for own, column in zip(vertices, joint.T, strict=True)], axis=1)
    whole = np.flatnonzero((parts >= 0).all(1))
    return whole, parts[whole]


def _classes(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Numbers from 1 for the different values among those `counted`, and 0 elsewhere: int64 of the shape of `values`.

    Values are the same if a chain of steps of at most `ROUNDING` times the largest magnitude leads from one to the
    other.
    """
    distinct, number = np.unique(values[counted], return_inverse=True)
    is_new = np.diff(distinct) > ROUNDING * np.abs(distinct).max(initial=0)
    result = np.zeros(values.shape, np.int64)
    result[counted] = 1 + np.concatenate([[0], np.cumsum(is_new)])[number]
    return result
