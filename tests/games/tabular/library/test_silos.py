"""Silos: the tasks, and the values against an enumeration of all deterministic joint policies."""

import functools
import itertools
from fractions import Fraction

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular.library import silos
from games.tabular.structures import STRUCTURES
from games.tabular.symmetry import automorphisms
from marl.exact.equivariant import best_equivariant
from marl.exact.optimum import optimum

TASKS = ["sum", "majority", "maximum", "join"]
OPTIMA = {  # (agents, values, words of the one round): the optimum of each task
    (2, 2, 1): "1/2 3/4 3/4 1/2",
    (2, 3, 1): "1/3 5/9 5/9 2/3",
    (3, 2, 1): "3/8 1/2 7/8 3/4",
    (2, 2, 2): "1 1 1 1",
    (2, 3, 2): "5/9 8/9 8/9 7/9",
    (3, 2, 2): "1 1 1 1",
    (2, 3, 4): "1 1 1 1",
}


def right(task, numbers):
    if task == "sum":
        return sum(numbers)
    if task == "maximum":
        return max(numbers)
    if task == "join":
        return sum(numbers[i] == numbers[j] for i in range(len(numbers)) for j in range(i))
    return sorted(numbers, key=lambda number: (-numbers.count(number), number))[0]


def enumerated(task, agents, values, words):
    """The best of all deterministic joint policies with one round of talk; one word is no talk.

    After the words (w_1, ..., w_n) agent i knows that the others' numbers are among those for which they say these
    words. So each such product of sets of numbers can be answered by itself: all answers of all agents but the last
    are gone through, and the last takes the most frequent right answer among the deals that the others get right.
    """

    @functools.cache
    def answered(parts):
        deals = list(itertools.product(*parts))
        answers = sorted({right(task, deal) for deal in deals})
        best = 0
        for chosen in itertools.product(*(itertools.product(answers, repeat=len(part)) for part in parts[:-1])):
            answer = [dict(zip(part, own, strict=True)) for part, own in zip(parts, chosen, strict=False)]
            won = [d for d in deals if all(own[x] == right(task, d) for own, x in zip(answer, d, strict=False))]
            counts = {}
            for deal in won:
                key = deal[-1], right(task, deal)
                counts[key] = counts.get(key, 0) + 1
            best = max(best, sum(max((counts.get((x, a), 0) for a in answers), default=0) for x in parts[-1]))
        return best

    best = 0
    for said in itertools.product(itertools.product(range(words), repeat=values), repeat=agents):
        total = 0
        for heard in itertools.product(range(words), repeat=agents):
            parts = [tuple(np.flatnonzero(np.equal(own, word)).tolist()) for own, word in zip(said, heard, strict=True)]
            total += answered(tuple(parts)) if all(parts) else 0
        best = max(best, total)
    return Fraction(best, values**agents)


def test_tasks():
    def answers(*numbers):
        return [function(numbers) for function in silos.TASKS.values()]

    assert list(silos.TASKS) == TASKS
    assert answers(2, 2) == [4, 2, 2, 1]
    assert answers(0, 3) == [3, 0, 3, 0]
    assert answers(1, 2, 2) == [5, 2, 2, 1]
    assert answers(3, 1, 2) == [6, 1, 3, 0]
    assert answers(1, 1, 1) == [3, 1, 1, 3]


@pytest.mark.parametrize("number", range(4), ids=TASKS)
@pytest.mark.parametrize(("agents", "values", "words"), [key for key in OPTIMA if key != (2, 3, 4)])
def test_the_known_optimum_is_that_of_all_policies(agents, values, words, number):
    task, expected = TASKS[number], Fraction(OPTIMA[agents, values, words].split()[number])
    assert enumerated(task, agents, values, words) == expected
    game = silos.make(agents, values, bits=1, rounds=words - 1, task=task)
    assert game.known_optimum == pytest.approx(float(expected), abs=1e-15)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("agents", "values", "bits", "rounds"), [(2, 2, 1, 0), (2, 2, 1, 1), (2, 3, 1, 0), (2, 3, 1, 1), (3, 2, 1, 0)]
)
def test_the_solver_finds_the_known_optimum(agents, values, bits, rounds, task):
    game = silos.make(agents, values, bits, rounds, task)
    found = optimum(game.problem, game.horizon, restarts=64)
    assert found.value == pytest.approx(game.known_optimum, abs=1e-12)
    assert found.upper_bound >= found.value


def test_without_a_word_the_best_guess_by_hand():
    """Of two agents, for k values: the sum asks to guess the other's number, the join to say "different"."""
    for values in (2, 3):
        assert silos.make(2, values, rounds=0).known_optimum == 1 / values
        assert silos.make(2, values, rounds=0, task="join").known_optimum == pytest.approx(1 - 1 / values)
    # Each says the greatest number: right unless all have a lesser one.
    assert silos.make(2, 2, rounds=0, task="maximum").known_optimum == 1 - 1 / 4
    assert silos.make(3, 2, rounds=0, task="maximum").known_optimum == 1 - 1 / 8
    assert silos.make(2, 2, bits=2, rounds=0).known_optimum == 1 / 2  # bits without a round are none
    assert silos.make(2, 4, bits=1, rounds=1).known_optimum is None


def says_its_number(game, values, bits, task, order=(False, False)):
    """A policy: digits of the number to the base of 2^bits, first the lowest; agent i flips its words if order[i].

    Everybody takes the others' words for what they would mean from themselves.
    """
    words, names = 2**bits, game.problem.observations[0]
    answers = [name for name in game.problem.actions[0] if name.startswith("answer")]

    def policy(agent, path):
        flip = order[agent % len(order)]
        rounds_played = len(path) // 2
        if rounds_played < game.horizon - 1:
            digit = path[0] // words**rounds_played % words
            return {words - 1 - digit if flip else digit: 1.0}
        others = [0] * (game.num_players - 1)
        for t in range(rounds_played):
            heard = [int(word.removeprefix("word")) for word in names[path[2 * t + 2]].split("hears-")[1].split("-")]
            others = [
                number + words**t * (words - 1 - word if flip else word)
                for number, word in zip(others, heard, strict=True)
            ]
        answer = right(task, [path[0], *others])
        return {words + answers.index(f"answer{answer}"): 1.0}

    return policy


@pytest.mark.parametrize(
    ("agents", "values", "bits", "rounds", "task"),
    [(2, 4, 1, 2, "sum"), (2, 4, 1, 2, "join"), (2, 4, 2, 1, "maximum"), (3, 2, 1, 1, "sum"), (3, 2, 1, 1, "majority")],
)
def test_enough_words_suffice(expected_return, agents, values, bits, rounds, task):
    game = silos.make(agents, values, bits, rounds, task)
    assert (game.horizon, game.known_optimum) == (rounds + 1, 1.0)
    value = expected_return(game.problem, game.horizon, says_its_number(game, values, bits, task))
    assert value == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("task", "mixed"), [("sum", 0.0), ("majority", 0.25), ("maximum", 0.25), ("join", 0.0)])
def test_two_conventions_say_everything_and_answer_wrongly(expected_return, task, mixed):
    """Each takes the other's number for its opposite. By hand: the maximum is still 1 for both if both have 1."""
    game = silos.make(task=task)
    for order, value in (((False, False), 1.0), ((True, True), 1.0), ((False, True), mixed)):
        policy = says_its_number(game, 2, 1, task, order)
        assert len({tuple(policy(0, (number,)).items()) for number in range(2)}) == 2  # one bit of information
        assert expected_return(game.problem, 2, policy) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("task", "with_swaps", "without", "equivariant"),
    [("sum", 16, 8, 1 / 2), ("majority", 8, 4, 3 / 4), ("maximum", 8, 4, 3 / 4), ("join", 32, 16, 1 / 4)],
)
def test_symmetries_make_words_worthless(task, with_swaps, without, equivariant):
    for rounds, words in ((0, 1), (1, 4)):  # a round adds the exchange of each agent's two words
        game = silos.make(task=task, rounds=rounds)
        swaps, alone = (automorphisms(game.problem, swap_agents=swap) for swap in (True, False))
        assert (swaps.policy_order, alone.policy_order) == (with_swaps * words // 4, without * words // 4)
        best = best_equivariant(game.tree, alone, upper_bound=1.0)
        assert best.exact
        assert best.value == pytest.approx(equivariant, abs=1e-12)


def test_the_solo_optimum():
    game = silos.solo(3, 2, task="majority")
    assert (game.name, game.num_players, game.horizon, game.known_optimum) == ("silos solo", 1, 1, 1.0)
    assert game.problem.observations[0][:3] == ("0-0-0", "0-0-1", "0-1-0")
    found = optimum(game.problem, 1)
    assert found.exact
    assert found.value == pytest.approx(1.0, abs=1e-12)
    assert silos.solo(3, 2, 2, 5, "majority") == game


def test_roles():
    game = silos.make(values=3, rounds=2, task="join")
    problem, found = game.problem, silos.roles(game)
    assert problem.actions[1] == ("word0", "word1", "answer0", "answer1")
    assert problem.observations[1] == (
        "number0", "number1", "number2", "early-hears-word0", "early-hears-word1", "hears-word0", "hears-word1", "done",
    )  # fmt: skip
    for agent in range(2):
        assert found.inputs[agent].tolist() == [True] * 3 + [False] * 5
        assert found.messages[agent].tolist() == [True, True, False, False]
        assert found.answers[agent].tolist() == [False, False, True, True]
        allowed = problem.legal[agent]
        assert (allowed[:5] == found.messages[agent]).all()  # words in the rounds
        assert (allowed[5:] == found.answers[agent]).all()
    assert (found.message_steps, found.answer_step) == ((0, 1), 2)
    assert silos.roles(silos.make(rounds=0)).message_steps == ()


def test_only_the_last_step_pays_and_only_if_all_are_right():
    problem = silos.problem()
    assert problem.actions[0] == ("word0", "word1", "answer0", "answer1", "answer2")

    def paid(joint, state):
        number = int(np.ravel_multi_index(joint, problem.num_actions))
        return float(problem.expected_reward[number, problem.states.index(state)])

    assert [paid((a, a), "0-1-round1") for a in (2, 3, 4)] == [0, 1, 0]
    assert [paid((3, 2), "0-1-round1"), paid((3, 3), "0-1-round0"), paid((3, 3), "end")] == [0, 0, 0]


def test_every_structure_has_its_arguments_or_a_reason():
    given = silos.arguments()
    assert list(given) == [structure.name for structure in STRUCTURES]
    assert [name for name, value in given.items() if isinstance(value, str)] == ["claims", "isolation"]
    assert isinstance(silos.arguments(rounds=0)["shared_history"], str)
    for structure in STRUCTURES:
        if not isinstance(given[structure.name], str):
            changed = structure.apply(silos.make(), **given[structure.name])
            assert max(own.size for own in changed.tree.agents) <= 100
            assert changed.name.startswith(f"silos + {structure.name}(")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"agents": 1}, "silos agents must be a whole number of at least 2, not 1"),
        ({"values": 1}, "silos values must be a whole number of at least 2, not 1"),
        ({"bits": 0}, "silos bits must be a whole number of at least 1, not 0"),
        ({"rounds": -1}, "silos rounds must be a whole number of at least 0, not -1"),
        ({"task": "median"}, "silos task must be one of sum, majority, maximum, join, not 'median'"),
        ({"agents": 40}, "silos of 40 agents have 2^40 deals, more than 10,000,000"),
        (
            {"bits": 6},
            "silos of 2 agents, 2 values and 1 rounds of 64 words have a table of 181,360,089 entries, more than "
            "10,000,000",
        ),
    ],
)
def test_bad_arguments(arguments, said):
    with pytest.raises(TacitError) as raised:
        silos.make(**arguments)
    assert str(raised.value) == said
