"""What several tests of the exact core need; no oracle here shares code with it."""

import functools

import numpy as np
import pytest

from marl.exact import objective


@pytest.fixture(autouse=True)
def one_width(request, monkeypatch):
    """Batches have one width instead of two, which halves what is compiled; `proof` runs at both."""
    if request.node.get_closest_marker("proof") is None:
        monkeypatch.setattr(objective, "_WIDE", objective._NARROW)


@pytest.fixture(scope="session")
def enumeration():
    """The class below."""
    return Enumeration


@pytest.fixture(scope="session")
def random_policy():
    """The function below."""
    return make_random_policy


@pytest.fixture(scope="session")
def relabel():
    """The class below."""
    return Relabelling


def make_random_policy(tree, seed, zeros=False):
    """For each agent float64[H, A] probabilities, 0 where illegal; with `zeros` also some legal ones.

    Some histories are nearly flat and some sharp.
    """
    generator = np.random.default_rng(seed)
    policies = []
    for own in tree.agents:
        weights = generator.exponential(size=own.legal.shape) ** generator.uniform(0.3, 3, (own.size, 1)) * own.legal
        if zeros:
            weights[(generator.random(weights.shape) < 0.4) & (weights < weights.max(1, keepdims=True))] = 0
        policies.append(weights / weights.sum(1, keepdims=True))
    return tuple(policies)


class Enumeration:
    """J_α and soft action values of one joint policy by a recursion over states and joint histories in plain Python.

    Args:
      tree: only says which history a row of `policies` belongs to.
      policies: for each agent float64[H, A] probabilities.
    """

    def __init__(self, tree, policies, alpha):
        self.problem, self.horizon, self.alpha = tree.problem, tree.horizon, alpha
        self.sizes = [own.size for own in tree.agents]
        self.number = [{own.path(h): h for h in range(own.size)} for own in tree.agents]
        self.policies = policies
        self.value = functools.lru_cache(maxsize=None)(self._value)
        self.after = functools.lru_cache(maxsize=None)(self._after)

    @property
    def agents(self):
        return range(self.problem.num_agents)

    def first(self):
        """(probability, state, joint path) of all beginnings."""
        problem = self.problem
        for state, chance in enumerate(problem.start.tolist()):
            if problem.initial_observation is None:
                yield chance, state, ((None,),) * problem.num_agents
                continue
            for joint, also in enumerate(problem.initial_observation[state].tolist()):
                if chance * also > 0:
                    yield chance * also, state, tuple((seen,) for seen in self._seen(joint))

    def _seen(self, joint):
        return [int(one) for one in np.unravel_index(joint, self.problem.num_observations)]

    def row(self, agent, paths):
        """The agent's action probabilities."""
        return self.policies[agent][self.number[agent][paths[agent]]]

    def _after(self, state, paths, actions):
        """(reward, [(probability, next state, joint path)])."""
        problem = self.problem
        joint = int(np.ravel_multi_index(actions, problem.num_actions))
        following = []
        for later, moved in enumerate(problem.transition[joint, state].tolist()):
            if moved == 0:
                continue
            for number, also in enumerate(problem.observation[joint, later].tolist()):
                if also > 0:
                    added = zip(paths, actions, self._seen(number), strict=True)
                    following.append((moved * also, later, tuple((*path, int(a), o) for path, a, o in added)))
        return float(problem.expected_reward[joint, state]), following

    def _choice(self, state, paths, actions):
        """Reward and the future of one joint action, counted from now."""
        reward, following = self.after(state, paths, actions)
        if self._is_last(paths):
            return reward
        return reward + self.problem.discount * sum(chance * self.value(s, p) for chance, s, p in following)

    def _value(self, state, paths):
        """The soft value from here on, the entropies of this stage included."""
        rows = [self.row(agent, paths) for agent in self.agents]
        total = self.alpha * sum(-sum(p * np.log(p) for p in row if p > 0) for row in rows)
        for actions in np.ndindex(*self.problem.num_actions):
            weight = np.prod([row[action] for row, action in zip(rows, actions, strict=True)])
            if weight > 0:
                total += weight * self._choice(state, paths, actions)
        return float(total)

    def objective(self):
        return sum(chance * self.value(state, paths) for chance, state, paths in self.first())

    def action_values(self, agent):
        """(Q, others, reach): float64[H, A] E(rewards from now on and all later entropies | history, action);
        float64[H] the share of chance and others in the reach probability, and that probability."""
        sums = np.zeros(self.policies[agent].shape)
        others, reach = np.zeros(self.sizes[agent]), np.zeros(self.sizes[agent])
        stage = {}  # (state, joint path): (share of chance and others, own share)
        for chance, state, paths in self.first():
            stage[state, paths] = (chance, 1.0)
        while stage:
            following = {}
            for (state, paths), (weight, own) in stage.items():
                h = self.number[agent][paths[agent]]
                others[h] += weight
                reach[h] += weight * own
                for actions in np.ndindex(*self.problem.num_actions):
                    rest = weight * np.prod([self.row(i, paths)[actions[i]] for i in self.agents if i != agent])
                    if rest == 0 or not self._legal(agent, paths[agent], actions[agent]):
                        continue
                    sums[h, actions[agent]] += rest * self._choice(state, paths, actions)
                    if self._is_last(paths):
                        continue
                    ahead = own * self.row(agent, paths)[actions[agent]]
                    for chance, *later in self.after(state, paths, actions)[1]:
                        before = following.get(tuple(later), (0.0, ahead))[0]
                        following[tuple(later)] = (before + rest * chance, ahead)
            stage = following
        safe = np.where(others > 0, others, 1.0)
        return sums / safe[:, None], others, reach

    def _is_last(self, paths):
        return len(paths[0]) == 2 * self.horizon - 1

    def _legal(self, agent, path, action):
        return self.problem.legal is None or path[-1] is None or bool(self.problem.legal[agent][path[-1], action])


class Relabelling:
    """The same game under other names: agent k of the new game is agent `agents[k]` of the old one, and likewise its
    actions, its observations and the states. What is drawn is random.

    Args:
      swap: whether agents change places too.
    """

    def __init__(self, problem, seed, swap=True):
        generator = np.random.default_rng(seed)
        n = problem.num_agents
        self.agents = generator.permutation(n) if swap else np.arange(n)
        self.actions = [generator.permutation(problem.num_actions[i]) for i in self.agents]
        self.observations = [generator.permutation(problem.num_observations[i]) for i in self.agents]
        self.states = generator.permutation(problem.num_states)
        self.joint_actions = self._joint(problem.num_actions, self.actions)
        self.joint_observations = self._joint(problem.num_observations, self.observations)
        states, joint = self.states, self.joint_actions
        initial, legal = problem.initial_observation, problem.legal
        self.problem = problem.replace(
            agents=[problem.agents[i] for i in self.agents],
            actions=[problem.actions[i] for i in self.agents],
            observations=[problem.observations[i] for i in self.agents],
            start=problem.start[states],
            transition=problem.transition[joint][:, states][:, :, states],
            observation=problem.observation[joint][:, states][:, :, self.joint_observations],
            reward=problem.expected_reward[joint][:, states][:, :, None, None],
            initial_observation=None if initial is None else initial[states][:, self.joint_observations],
            legal=None
            if legal is None
            else tuple(
                legal[i][seen][:, acted]
                for i, seen, acted in zip(self.agents, self.observations, self.actions, strict=True)
            ),
        )

    def _joint(self, sizes, permutations):
        """The old number of each new joint label."""
        places = np.argsort(self.agents)
        new = np.indices([sizes[i] for i in self.agents]).reshape(len(sizes), -1)
        old = [permutations[places[i]][new[places[i]]] for i in range(len(sizes))]
        return np.ravel_multi_index(old, sizes)

    def policy(self, old_tree, new_tree, policies):
        """A joint policy of the old game, float64[..., H, A] for each agent, in the new game."""
        moved = []
        for place, i in enumerate(self.agents):
            number = {old_tree.agents[i].path(h): h for h in range(old_tree.agents[i].size)}
            own = new_tree.agents[place]
            rows = [number[self._old_path(place, own.path(h))] for h in range(own.size)]
            moved.append(policies[i][..., rows, :][..., self.actions[place]])
        return tuple(moved)

    def _old_path(self, place, path):
        names = [self.observations[place], self.actions[place]]
        return tuple(None if entry is None else int(names[k % 2][entry]) for k, entry in enumerate(path))
