"""Structures against programs that play the original game with the mechanism written out, and known values."""

import itertools

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular.dec_pomdp import matrix_game
from games.tabular.library import equal_levers, lever, tiny_hanabi, two_stage_lever
from games.tabular.simulator import Simulator
from games.tabular.structures import STRUCTURES, apply_all, phases
from games.tabular.structures.cheap_talk import cheap_talk
from games.tabular.structures.claims import claims
from games.tabular.structures.commitments import commitments
from games.tabular.structures.isolation import isolation
from games.tabular.structures.leader import leader
from games.tabular.structures.shared_history import shared_history
from games.tabular.structures.verification import verification
from marl.exact import crossplay

# Two ways to a value: the exact core on the transformed game, and a program that plays the original one ---------------


def mean(program):
    """The expected result of a program that draws with `draw({outcome: probability})`, by going through all draws."""
    total, todo = 0.0, [[]]
    while todo:
        fixed, made, weight = todo.pop(), [], 1.0

        def draw(chances, fixed=fixed, made=made):
            nonlocal weight
            if len(made) < len(fixed):
                made.append(fixed[len(made)])
            else:
                first, *others = [outcome for outcome, chance in chances.items() if chance > 0]
                todo.extend([*made, other] for other in others)
                made.append(first)
            weight *= chances[made[-1]]
            return made[-1]

        total += program(draw) * weight
    return total


class Table:
    """The original game, the agents around it and what they have seen and done, all by names."""

    def __init__(self, game, ask, draw):
        self.problem, self.horizon, self.ask, self.draw = game.problem, game.horizon, ask, draw
        self.agents, self.names = range(game.problem.num_agents), game.problem.agents
        self.paths = [()] * len(self.agents)
        self.state = draw(dict(enumerate(self.problem.start)))
        self.seen = None
        if self.problem.initial_observation is not None:
            self.seen = self._joint(draw(dict(enumerate(self.problem.initial_observation[self.state]))))
        self.steps, self.total = 0, 0.0

    def _joint(self, number):
        return tuple(int(o) for o in np.unravel_index(number, self.problem.num_observations))

    def last(self, agent):
        return None if self.seen is None else self.problem.observations[agent][self.seen[agent]]

    def show(self, extra):
        """Everybody sees its last original observation and `extra(agent)`, a list of texts."""
        for agent in self.agents:
            own = [] if self.seen is None else [self.last(agent)]
            self.paths[agent] = (*self.paths[agent], "; ".join([*own, *extra(agent)]) or "start")

    def act(self):
        """The names of what everybody does."""
        joint = [self.draw(self.ask(agent, self.paths[agent])) for agent in self.agents]
        self.paths = [(*path, action) for path, action in zip(self.paths, joint, strict=True)]
        return joint

    def numbers(self, joint):
        return [self.problem.actions[agent].index(name) for agent, name in enumerate(joint)]

    def legal(self, agent):
        names = self.problem.actions[agent]
        if self.seen is None or self.problem.legal is None:
            return list(names)
        return [name for name, fine in zip(names, self.problem.legal[agent][self.seen[agent]], strict=True) if fine]

    def pays(self, joint):
        number = np.ravel_multi_index(self.numbers(joint), self.problem.num_actions)
        return self.problem.reward[number, self.state, 0, 0]

    def play(self, joint, extra=0.0):
        """Carry out a joint action of the original game; `extra` reward beside its own."""
        number = np.ravel_multi_index(self.numbers(joint), self.problem.num_actions)
        self.total += self.problem.discount**self.steps * (self.pays(joint) + extra)
        self.steps += 1
        if not self.over:
            self.state = self.draw(dict(enumerate(self.problem.transition[number, self.state])))
            self.seen = self._joint(self.draw(dict(enumerate(self.problem.observation[number, self.state]))))

    @property
    def over(self):
        return self.steps == self.horizon

    def say(self, agent, joint):
        """What an agent sees of the others' names in `joint`."""
        return [f"{self.names[k]}: {name}" for k, name in enumerate(joint) if k != agent]


def playing_cheap_talk(table, rounds):
    table.show(lambda agent: ["talk"])
    for number in range(rounds):
        said, more = table.act(), ["talk"] if number + 1 < rounds else []
        table.show(lambda agent, said=said, more=more: [*more, *table.say(agent, said)])
    while not table.over:
        table.play(table.act())
        table.show(lambda agent: [])
    return table.total


def playing_commitments(table, form, subsets):
    everybody = list(table.agents)
    turns = [everybody] if form == "simultaneous" else [[agent] for agent in everybody]
    news = []  # (agent, what was said) of the newest announcements
    while not table.over:
        announced = {}
        for turn in turns:

            def heard(agent, news):
                return [f"{table.names[k]}: {text}" for k, text in news if k != agent]

            table.show(lambda agent, t=turn, n=tuple(news): ["commit" if agent in t else "wait", *heard(agent, n)])
            said = table.act()
            assert all(said[agent] == "wait" for agent in everybody if agent not in turn)
            announced |= {agent: said[agent].removeprefix("commit ") for agent in turn}
            news = [(agent, said[agent]) for agent in turn]
        if subsets:
            table.show(lambda agent, a=announced, n=tuple(news): [f"act within {a[agent]}", *heard(agent, n)])
            joint, news = table.act(), []
            assert all(name in announced[agent][1:-1].split(", ") for agent, name in enumerate(joint))
        else:
            joint = [announced[agent] for agent in everybody]
        assert all(name in table.legal(agent) for agent, name in enumerate(joint))
        table.play(joint)
    return table.total


def playing_claims(table, items, rounds, grounded=False):
    held = {}  # item -> agent
    for number in range(rounds + 1):
        board = ", ".join(f"{item}: {table.names[held[item]]}" for item in items if item in held)
        texts = ["claim"] * (number < rounds) + [board or "nothing is claimed"] * (number > 0)
        table.show(lambda agent, texts=texts: texts)
        if number == rounds:
            break
        claimed = table.act()
        free = [item for item in items if item not in held]
        for item in free:
            wanted = [k for k, name in enumerate(claimed) if name == (item if grounded else f"claim {item}")]
            assert not set(wanted) & (set(held.values()) - {held.get(item)})
            if wanted:
                held[item] = table.draw({agent: 1 / len(wanted) for agent in wanted})
    while not table.over:
        table.play(table.act())
        table.show(lambda agent: [])
    return table.total


def playing_isolation(table, partition, penalty):
    while not table.over:
        table.show(lambda agent: [])
        joint = table.act()
        outside = sum(action not in partition[k] for k, action in enumerate(table.numbers(joint)))
        assert penalty is not None or not outside
        table.play(joint, extra=-outside * (penalty or 0.0))
    return table.total


def playing_leader(table, chief, symbols):
    def told(agent):
        if agent != chief or table.seen is None:
            return []
        return [f"{table.names[k]}: {table.last(k)}" for k in table.agents if k != chief]

    while not table.over:
        if symbols is None:
            table.show(told)
            joint = table.act()[chief].split("+")
            assert all(name in table.legal(agent) for agent, name in enumerate(joint))
        else:
            table.show(lambda agent: ["instruct", *told(agent)] if agent == chief else ["wait"])
            word = f"{table.names[chief]}: {table.act()[chief]}"
            table.show(lambda agent, word=word: ["act", *told(agent)] if agent == chief else [word])
            joint = table.act()
        table.play(joint)
    return table.total


def playing_shared_history(table):
    table.show(lambda agent: [])
    while not table.over:
        before = [table.last(agent) for agent in table.agents]
        joint = table.act()
        table.play(joint)
        public = [name if seen is None else f"{seen} -> {name}" for seen, name in zip(before, joint, strict=True)]
        table.show(lambda agent, public=public: table.say(agent, public))
    return table.total


def playing_verification(table, repairs, conflict=None):
    while not table.over:
        best = max(table.pays(joint) for joint in itertools.product(*map(table.legal, table.agents)))
        for attempt in range(repairs + 1):
            table.show(lambda agent, attempt=attempt: ["conflict"] * (attempt > 0))
            joint = table.act()
            if conflict is None:
                wrong = table.pays(joint) < best - 1e-9
            else:
                wrong = conflict(table.state, tuple(table.numbers(joint)))
            if not wrong or attempt == repairs:
                break
        table.play(joint)
        if table.over:
            break
        for _ in range(repairs - attempt):
            table.show(lambda agent: ["accepted"])
            assert set(table.act()) == {"wait"}
    return table.total


def random_policy(game, seed):
    """(a random joint policy, the function (agent, path of names) -> {action name: probability})."""
    generator, problem, books, policy = np.random.default_rng(seed), game.problem, [], []
    for agent, own in enumerate(game.tree.agents):
        weights = generator.exponential(size=own.legal.shape) * own.legal
        probabilities = weights / weights.sum(1, keepdims=True)
        policy.append(probabilities)
        book = {}
        for history in range(own.size):
            kinds = itertools.cycle([problem.observations[agent], problem.actions[agent]])
            path = tuple(names[number] for number, names in zip(own.path(history), kinds, strict=False))
            book[path] = {
                name: chance
                for name, chance, legal in zip(
                    problem.actions[agent], probabilities[history].tolist(), own.legal[history], strict=True
                )
                if legal
            }
        books.append(book)
    return tuple(policy), lambda agent, path: books[agent][path]


def value(game, policy):
    """Σ_t γ^t Σ chance · expected reward · the agents' own weights, over the joint histories of the game's tree."""
    tree, problem, total = game.tree, game.problem, 0.0
    weights = [np.ones(own.size) for own in tree.agents]
    for own, chosen, weight in zip(tree.agents, policy, weights, strict=True):
        for history in range(int(own.offsets[1]), own.size):
            before = own.parent[history]
            weight[history] = weight[before] * chosen[before, own.action[history]]
    for t, stage in enumerate(tree.stages):
        reward = stage.chance @ problem.expected_reward.T  # [K, JA]
        for agent, own in enumerate(tree.agents):
            here = own.offsets[t] + stage.local[:, agent]
            reward = reward * (weights[agent][here, None] * policy[agent][here])[:, problem.joint_actions[:, agent]]
        total += problem.discount**t * reward.sum()
    return float(total)


def core_value(game, policy):
    """The same by the exact core."""
    with np.errstate(divide="ignore"):
        return float(crossplay.self_play(game.tree, tuple(np.log(own)[None] for own in policy))[0])


def uniform(game):
    return value(game, game.tree.uniform())


def check_both_ways(original, transformed, program):
    policy, ask = random_policy(transformed, 5)
    expected = mean(lambda draw: program(Table(original, ask, draw)))
    np.testing.assert_allclose(value(transformed, policy), expected, rtol=0, atol=1e-10)


PARTITION = ((0, 1), (0, 2))
CELLS = {
    "cheap_talk": (lambda game: cheap_talk(game), lambda t: playing_cheap_talk(t, 1)),
    "cheap_talk, 2 rounds": (lambda game: cheap_talk(game, rounds=2), lambda t: playing_cheap_talk(t, 2)),
    "commitments": (lambda game: commitments(game), lambda t: playing_commitments(t, "simultaneous", False)),
    "sequential": (
        lambda game: commitments(game, form="sequential"),
        lambda t: playing_commitments(t, "sequential", False),
    ),
    "subsets": (
        lambda game: commitments(game, subsets=True),
        lambda t: playing_commitments(t, "simultaneous", True),
    ),
    "sequential subsets": (
        lambda game: commitments(game, form="sequential", subsets=True),
        lambda t: playing_commitments(t, "sequential", True),
    ),
    "claims": (lambda game: claims(game, items=2), lambda t: playing_claims(t, ["item0", "item1"], 1)),
    "claims, 2 rounds": (
        lambda game: claims(game, items=2, rounds=2),
        lambda t: playing_claims(t, ["item0", "item1"], 2),
    ),
    "claims of actions": (
        lambda game: claims(game, items=["a2", 0]),
        lambda t: playing_claims(t, ["a2", "a0"], 1, grounded=True),
    ),
    "isolation": (
        lambda game: isolation(game, partition=PARTITION),
        lambda t: playing_isolation(t, PARTITION, None),
    ),
    "soft isolation": (
        lambda game: isolation(game, partition=PARTITION, penalty=0.7),
        lambda t: playing_isolation(t, PARTITION, 0.7),
    ),
    "leader": (lambda game: leader(game, agent=1), lambda t: playing_leader(t, 1, None)),
    "leader with symbols": (lambda game: leader(game, symbols=2), lambda t: playing_leader(t, 0, 2)),
    "shared_history": (shared_history, playing_shared_history),
    "verification": (lambda game: verification(game), lambda t: playing_verification(t, 1)),
    "verification, 2 repairs": (lambda game: verification(game, repairs=2), lambda t: playing_verification(t, 2)),
    "verification of one's own": (
        lambda game: verification(game, conflict=lambda state, joint: state == 0 and joint[0] == joint[1]),
        lambda t: playing_verification(t, 1, lambda state, joint: state == 0 and joint[0] == joint[1]),
    ),
}
LONG = ("cheap_talk", "sequential", "claims of actions", "isolation", "soft isolation", "leader", "leader with symbols",
        "shared_history", "verification")  # fmt: skip


def small_game(random_dec_pomdp, seed, horizon, **options):
    """A random game whose agents call their actions alike: a0, a1, a2."""
    problem = random_dec_pomdp(seed, num_states=2, discount=0.8, **options)
    actions = [[f"a{number}" for number in range(size)] for size in problem.num_actions]
    return Simulator(problem.replace(actions=actions), horizon, "random")


@pytest.mark.parametrize("cell", CELLS)
def test_values_of_one_step_with_private_observations_and_masks(random_dec_pomdp, cell):
    game = small_game(random_dec_pomdp, 1, 1, num_actions=(3, 3), initial=True, restricted=True)
    transform, program = CELLS[cell]
    check_both_ways(game, transform(game), program)


@pytest.mark.parametrize("cell", LONG)
@pytest.mark.parametrize("initial", [True, False])
def test_values_of_two_steps(random_dec_pomdp, cell, initial):
    sizes = {"num_actions": (3, 3), "num_observations": (2, 1)}
    game = small_game(random_dec_pomdp, 2, 2, initial=initial, restricted=True, **sizes)
    transform, program = CELLS[cell]
    check_both_ways(game, transform(game), program)


@pytest.mark.parametrize("cell", ["cheap_talk", "claims", "leader with symbols", "verification"])
def test_the_exact_core_says_the_same(random_dec_pomdp, cell):
    game = small_game(random_dec_pomdp, 1, 1, num_actions=(3, 3), initial=True, restricted=True)
    transform, program = CELLS[cell]
    policy, ask = random_policy(transform(game), 7)
    expected = mean(lambda draw: program(Table(game, ask, draw)))
    np.testing.assert_allclose(core_value(transform(game), policy), expected, rtol=0, atol=1e-10)


PARTITION_OF_THREE = ((0,), (1,), (0, 1))
THREE = {
    "cheap_talk": CELLS["cheap_talk"],
    "sequential": CELLS["sequential"],
    "claims, 2 rounds": (
        lambda game: claims(game, items=1, rounds=2),
        lambda t: playing_claims(t, ["item0"], 2),
    ),
    "soft isolation": (
        lambda game: isolation(game, partition=PARTITION_OF_THREE, penalty=0.7),
        lambda t: playing_isolation(t, PARTITION_OF_THREE, 0.7),
    ),
    "leader": CELLS["leader"],
    "leader with symbols": CELLS["leader with symbols"],
    "verification": CELLS["verification"],
}


@pytest.mark.parametrize("cell", THREE)
def test_values_of_three_agents(random_dec_pomdp, cell):
    sizes = {"num_agents": 3, "num_actions": (2,), "num_observations": (2, 1, 1)}
    game = small_game(random_dec_pomdp, 3, 1, initial=True, **sizes)
    transform, program = THREE[cell]
    check_both_ways(game, transform(game), program)


def test_values_of_three_agents_sharing_their_history(random_dec_pomdp):
    sizes = {"num_agents": 3, "num_actions": (2,), "num_observations": (2, 1, 1)}
    game = small_game(random_dec_pomdp, 4, 2, initial=True, **sizes)
    check_both_ways(game, shared_history(game), playing_shared_history)


# Composition ----------------------------------------------------------------------------------------------------------


def test_the_first_structure_of_a_list_is_the_innermost():
    game = equal_levers.make(2)
    both = apply_all(game, [("claims", {"items": 1}), ("cheap_talk", {})])
    assert both.label == "equal_levers + claims(items=1, rounds=1) + cheap_talk(symbols=2, rounds=1)"
    assert both.problem.same_tables(cheap_talk(claims(game, items=1)).problem)
    assert apply_all(game, []) is game


def test_isolation_after_claims_also_restricts_claims():
    game = equal_levers.make(2)
    free, wide = {"partition": [[0, 1], [0, 1]]}, ["lever0", "lever1", "claim nothing"]
    after = apply_all(game, [("isolation", free), ("claims", {"items": 1})])
    restricted = {"partition": [[*wide, "claim item0"], wide]}
    before = apply_all(game, [("claims", {"items": 1}), ("isolation", restricted)])
    assert [len(own.legal[0].nonzero()[0]) for own in after.tree.agents] == [2, 2]
    assert [len(own.legal[0].nonzero()[0]) for own in before.tree.agents] == [2, 1]
    boards = [
        {name.removeprefix("start; ") for name in made.problem.observations[0] if "item0" in name}
        for made in (before, after)
    ]
    assert boards == [{"item0: player0"}, {"item0: player0", "item0: player1"}]
    with pytest.raises(TacitError, match="must cover all actions, and 'claim item0' is in nobody's part"):
        apply_all(game, [("claims", {"items": 1}), ("isolation", free)])


def test_a_check_sees_penalties_only_if_they_come_first(random_dec_pomdp):
    game = small_game(random_dec_pomdp, 6, 1, num_actions=(2, 2), num_observations=(2, 1), initial=True)
    parts = ((0,), (1,))
    inner = apply_all(game, [("isolation", {"partition": parts, "penalty": 3.0}), ("verification", {})])

    def outside(table, joint):
        return sum(action not in parts[k] for k, action in enumerate(table.numbers(joint)))

    def playing(table, penalties_first):
        paid = {
            joint: table.pays(joint) - penalties_first * 3.0 * outside(table, joint)
            for joint in itertools.product(*map(table.legal, table.agents))
        }
        table.show(lambda agent: [])
        first = tuple(table.act())
        if paid[first] >= max(paid.values()) - 1e-9:
            table.play(first, extra=-3.0 * outside(table, first))
            return table.total
        table.show(lambda agent: ["conflict"])
        second = tuple(table.act())
        table.play(second, extra=-3.0 * outside(table, second))
        # An isolation around the check also charges for what the check has stopped.
        return table.total - (0.0 if penalties_first else 3.0 * outside(table, first))

    check_both_ways(game, inner, lambda table: playing(table, True))
    plain = Simulator(game.problem.replace(discount=1.0), 1, "random")
    waits = [["a0", "wait"], ["a1", "wait"]]
    outer = apply_all(plain, [("verification", {}), ("isolation", {"partition": waits, "penalty": 3.0})])
    check_both_ways(plain, outer, lambda table: playing(table, False))


# Claims ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("players", "items", "rounds"), [(2, 2, 1), (2, 2, 2), (3, 2, 1), (3, 1, 3)])
def test_no_item_ever_has_two_holders_and_everybody_sees_the_same_board(players, items, rounds):
    game = claims(equal_levers.make(2, players=players), items=items, rounds=rounds)
    problem, boards = game.problem, set()
    for number, stage in enumerate(game.tree.stages[1:], start=1):
        for local in stage.local.tolist():
            views = [
                problem.observations[k][own.observation[own.offsets[number] + h]]
                for k, (own, h) in enumerate(zip(game.tree.agents, local, strict=True))
            ]
            assert len(set(views)) == 1
            held = [text.split(": ") for text in views[0].removeprefix("claim; ").split(", ") if ": " in text]
            assert len({item for item, _ in held}) == len({holder for _, holder in held}) == len(held)
            boards.add(views[0].removeprefix("claim; "))
    ways = {(2, 2): 7, (3, 2): 13, (3, 1): 4}  # injections of some items into agents
    assert len(boards) == ways[players, items]


def test_a_contested_item_goes_to_each_claimant_with_the_same_chance():
    problem = claims(equal_levers.make(2, players=3), items=1).problem
    claim = [own.index("claim item0") for own in problem.actions]
    joint = np.ravel_multi_index(claim, problem.num_actions)
    moved = problem.start @ problem.transition[joint]
    chances = {}
    for state in np.flatnonzero(moved):
        seen = int(np.flatnonzero(problem.observation[joint, state])[0])
        chances[problem.joint_observation_name(seen).split(",")[0]] = moved[state]
    assert chances == pytest.approx({f"item0: player{k}": 1 / 3 for k in range(3)})


def test_who_holds_an_item_keeps_it_and_the_other_may_claim_what_is_free():
    game = claims(equal_levers.make(2), items=2, rounds=2)
    own, names = game.tree.agents[0], game.problem.actions[0]
    views = {game.problem.observations[0][o]: mask for o, mask in zip(own.observation, own.legal, strict=True)}
    options = {view: [name for name, fine in zip(names, mask, strict=True) if fine] for view, mask in views.items()}
    assert options["claim"] == options["claim; nothing is claimed"] == ["claim item0", "claim item1", "claim nothing"]
    assert options["claim; item0: player0"] == ["claim nothing"]
    assert options["claim; item0: player1"] == ["claim item1", "claim nothing"]
    assert options["item0: player1, item1: player0"] == ["lever0", "lever1"]


# Known values ---------------------------------------------------------------------------------------------------------

# What the uniform joint policy scores with two equal levers, by hand.
UNIFORM = {
    "cheap_talk": ({}, 1 / 2),
    "commitments": ({"form": "sequential"}, 1 / 2),
    "claims": ({"items": 2}, 1 / 2),
    "isolation": ({"partition": [[0], [0, 1]]}, 1 / 2),
    "leader": ({}, 1 / 2),  # two of the four joint actions match
    "shared_history": ({}, 1 / 2),
    "verification": ({"repairs": 1}, 3 / 4),  # half of the mismatches are repaired
}


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda structure: structure.name)
def test_uniform_play_with_two_levers(structure):
    arguments, expected = UNIFORM[structure.name]
    assert uniform(structure.apply(equal_levers.make(2), **arguments)) == pytest.approx(expected, abs=1e-12)


def test_more_uniform_play_by_hand():
    levers = equal_levers.make(2)
    assert uniform(verification(levers, repairs=3)) == pytest.approx(15 / 16)
    assert uniform(isolation(levers, partition=[[0], [1]])) == 0
    assert uniform(isolation(levers, partition=[[0], [1]], penalty=0.25)) == pytest.approx(1 / 2 - 2 * 0.25 / 2)
    # Sets {0}, {1}, {0, 1} from both: 1 and 0 for the two equal and the two different single ones, else one half.
    assert uniform(commitments(levers, subsets=True)) == pytest.approx((2 + 5 / 2) / 9)
    # Two stages, +1 or -1 each, two attempts at each: 3/4 - 1/4 for each.
    assert uniform(verification(two_stage_lever.make())) == pytest.approx(1.0)


def test_rewards_keep_their_discount_whatever_steps_are_added():
    for gamma in (0.5, 0.9):
        game = two_stage_lever.make(3, discount=gamma)
        game = Simulator(game.problem.replace(reward=np.ones_like(game.problem.reward)), 3, "paid")
        for name, arguments in {
            **UNIFORM,
            "commitments": ({"subsets": True}, 0),
            "leader": ({"symbols": 2}, 0),
        }.items():
            made = apply_all(game, [(name, arguments[0])])
            assert uniform(made) == pytest.approx(1 + gamma + gamma**2, abs=1e-12), name


def test_one_agent_can_be_transformed_too():
    game = Simulator(matrix_game(np.array([1.0, 3.0]), ["solo"], [["a", "b"]]), 1, "solo")
    for name, arguments in {
        "cheap_talk": {}, "commitments": {"form": "sequential"}, "claims": {"items": 1},
        "isolation": {"partition": [[0, 1]]}, "leader": {}, "shared_history": {}, "verification": {},
    }.items():  # fmt: skip
        made = apply_all(game, [(name, arguments)])
        assert uniform(made) == pytest.approx(2.5 if name == "verification" else 2.0)


def test_transformed_games_are_played_by_sampled_learners_too():
    import jax

    game = verification(equal_levers.make(2))
    assert game.max_acting == 2 and game.score_range == (0.0, 1.0)
    state = game.init(key=jax.random.key(0))
    assert [int(count) for count in np.asarray(game._legal_now(state)).sum(1)] == [2, 2]


# Bad input ------------------------------------------------------------------------------------------------------------

LEVERS = equal_levers.make(2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cheap_talk(LEVERS, symbols=0), "cheap_talk symbols must be a whole number of at least 1, not 0"),
        (lambda: cheap_talk(LEVERS, rounds=1.5), "cheap_talk rounds must be a whole number"),
        (lambda: commitments(LEVERS, form="secret"), "commitments form must be one of simultaneous, sequential"),
        (lambda: commitments(LEVERS, subsets="yes"), "commitments subsets must be one of False, True"),
        (lambda: claims(LEVERS, items=0), "claims items must be a whole number of at least 1, not 0"),
        (lambda: claims(LEVERS, items=[]), "a board with no items"),
        (lambda: claims(LEVERS, items=["lever7"]), "must be actions of some agent, and nobody has 'lever7'"),
        (lambda: claims(LEVERS, items=["lever0", 0]), "must be different, and 'lever0' stands twice"),
        (lambda: claims(LEVERS, items="lever0"), "claims items must be a whole number"),
        (lambda: claims(LEVERS, items=[5]), "must name actions of player0, by name or by a number from 0 to 1, not 5"),
        (lambda: isolation(LEVERS, partition=[[0], [0]]), "must cover all actions, and 'lever1' is in nobody's part"),
        (lambda: isolation(LEVERS, partition=[[0, 1], []]), "leaves player1 no action at all"),
        (lambda: isolation(LEVERS, partition=[[0, 1]]), "must be a list of actions for each of 2 agents"),
        (lambda: isolation(LEVERS, partition=["lever0", [1]]), "of player0 must be a list of actions, not 'lever0'"),
        (lambda: isolation(LEVERS, partition=[["lever9"], [0, 1]]), "player0 has no action 'lever9'"),
        (lambda: isolation(LEVERS, partition=[[2], [0, 1]]), "must name actions of player0"),
        (
            lambda: isolation(LEVERS, partition=[[0], [1]], penalty=-1),
            "isolation penalty must be a number of at least 0",
        ),
        (
            lambda: isolation(tiny_hanabi.make(), partition=[[0, 1], [0, 1, 2]]),
            "leaves player0 no action after observation 'nothing'",
        ),
        (lambda: leader(LEVERS, agent=2), "leader agent must be a whole number from 0 to 1, not 2"),
        (lambda: leader(LEVERS, symbols=0), "leader symbols must be a whole number of at least 1, not 0"),
        (lambda: verification(LEVERS, repairs=0), "verification repairs must be a whole number of at least 1, not 0"),
        (lambda: verification(LEVERS, conflict=3), "verification conflict must be a function"),
        (lambda: apply_all(LEVERS, [("telepathy", {})]), "structure must be one of cheap_talk, commitments"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(TacitError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: cheap_talk(LEVERS, symbols=10**6),
        lambda: commitments(lever.make(), subsets=True),
        lambda: commitments(equal_levers.make(40), subsets=True, form="sequential"),
        lambda: claims(LEVERS, items=10**9),
        lambda: claims(LEVERS, items=500),
        lambda: leader(LEVERS, symbols=10**9),
        lambda: verification(lever.make(), repairs=20_000),
    ],
)
def test_a_game_that_would_not_fit_is_refused_before_it_is_built(make, monkeypatch):
    monkeypatch.setattr(phases.np, "zeros", None)  # nothing is allocated
    monkeypatch.setattr(phases, "MEMORY_LIMIT", 1 << 24)
    with pytest.raises(TacitError, match=r"is too large: .* the limit .*GiB") as caught:
        make()
    assert "\n" not in str(caught.value)


def test_discount_zero_is_refused_where_steps_are_added():
    game = two_stage_lever.make(discount=0.0)
    for name in ("cheap_talk", "verification"):
        with pytest.raises(TacitError, match="adds steps, and with discount 0"):
            apply_all(game, [(name, {})])
    paid = Simulator(game.problem.replace(reward=np.ones_like(game.problem.reward)), 2, "paid")
    assert uniform(shared_history(paid)) == 1.0
