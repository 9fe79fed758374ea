"""MADP's file format: every form of every entry, exact round trips, and a sentence for everything that is wrong."""

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from games.errors import TacitError
from games.tabular import dpomdp_file
from games.tabular.dec_pomdp import DecPOMDP
from games.tabular.library import grid_small, tiny_hanabi

PUBLISHED = Path(__file__).resolve().parents[4] / "shared" / "dpomdp"
published = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="MADP's problem files are not beside the repository")

PREAMBLE = """agents: 2
discount: 0.9
values: reward
states: left right
start:
uniform
actions:
stay go
2
observations:
2
hot cold
"""
TABLES = """T: * :
identity
O: * :
uniform
"""


def reads(entries, preamble=PREAMBLE, tables=TABLES):
    """A problem with 2 states, 2 x 2 joint actions and 2 x 2 joint observations, of which `entries` say the rest."""
    return dpomdp_file.read(preamble + tables + entries)


def line_of(text, entry):
    return 1 + text.splitlines().index(entry)


def test_names_and_counts():
    problem = reads("")
    assert problem.agents == ("agent0", "agent1")
    assert problem.states == ("left", "right")
    assert problem.actions == (("stay", "go"), ("a0", "a1"))
    assert problem.observations == (("o0", "o1"), ("hot", "cold"))
    assert problem.discount == 0.9
    assert problem.initial_observation is None and problem.legal is None
    named = PREAMBLE.replace("agents: 2", "agents: Ann bob-2_x").replace("left right", "3")
    assert dpomdp_file.read(named + TABLES).agents == ("Ann", "bob-2_x")
    assert dpomdp_file.read(named + TABLES).states == ("s0", "s1", "s2")


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("start:\nuniform", [1 / 3, 1 / 3, 1 / 3]),
        ("start: uniform", [1 / 3, 1 / 3, 1 / 3]),
        ("start:\n0.5 .25 25e-2", [0.5, 0.25, 0.25]),
        ("start: 0.5 0 0.5", [0.5, 0.0, 0.5]),
        ("start: b", [0.0, 1.0, 0.0]),
        ("start: 2", [0.0, 0.0, 1.0]),
        ("start include: a 2", [0.5, 0.0, 0.5]),
        ("start include: b b", [0.0, 1.0, 0.0]),
        ("start exclude: a", [0.0, 0.5, 0.5]),
        ("start  exclude : 0 1", [0.0, 0.0, 1.0]),
    ],
)
def test_start_forms(start, expected):
    preamble = PREAMBLE.replace("left right", "a b c").replace("start:\nuniform", start)
    assert dpomdp_file.read(preamble + TABLES).start.tolist() == expected


def test_a_transition_entry_a_row_and_a_matrix():
    problem = reads(
        "T: stay a1 : left : left : 0.25\n"
        "T: stay a1 : left : right : 0.75\n"
        "T: go 0 : right :\n.5 .5\n"
        "T: 3 :\n0.1 0.9\n1. 0\n"
    )
    assert problem.transition.tolist() == [
        [[1, 0], [0, 1]],
        [[0.25, 0.75], [0, 1]],
        [[1, 0], [0.5, 0.5]],
        [[0.1, 0.9], [1, 0]],
    ]


def test_uniform_rows_and_matrices_of_transitions():
    assert reads("T: 0 : left :\nuniform\n").transition[0].tolist() == [[0.5, 0.5], [0, 1]]
    assert reads("T: 0 :\nuniform\n").transition[0].tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_an_observation_entry_a_row_and_a_matrix():
    problem = reads(
        "O: stay a0 : * : * : 0\nO: stay a0 : left : o0 cold : 1\nO: stay a0 : 1 : 3 : 1\n"
        "O: go a0 : left :\n0.1 0.2 0.3 0.4\n"
        "O: go a1 :\n1 0 0 0\n0 0 1 0\n"
    )
    quarter = [0.25] * 4
    assert problem.observation.tolist() == [
        [[0, 1, 0, 0], [0, 0, 0, 1]],
        [quarter, quarter],
        [[0.1, 0.2, 0.3, 0.4], quarter],
        [[1, 0, 0, 0], [0, 0, 1, 0]],
    ]
    assert reads("O: 0 : * :\n1 0 0 0\nO: 0 : 1 :\nuniform\n").observation[0].tolist() == [[1, 0, 0, 0], quarter]


def test_a_reward_entry_a_row_and_a_matrix():
    problem = reads(
        "R: stay a0 : left : right : o1 hot : -2.5\n"
        "R: stay a1 : right : left :\n1 2 3 4\n"
        "R: go a0 : left :\n1 2 3 4\n+5 -6 7e1 .8\n"
    )
    assert problem.reward.shape == (4, 2, 2, 4)
    expected = np.zeros((4, 2, 2, 4))
    expected[0, 0, 1, 2] = -2.5
    expected[1, 1, 0] = [1, 2, 3, 4]
    expected[2, 0] = [[1, 2, 3, 4], [5, -6, 70, 0.8]]
    np.testing.assert_array_equal(problem.reward, expected)


@pytest.mark.parametrize(
    ("entries", "shape"),
    [
        ("", (4, 2, 1, 1)),
        ("R: 0 : left : * : * : 3\n", (4, 2, 1, 1)),
        ("R: 0 : left : * : * * : 3\n", (4, 2, 1, 1)),
        ("R: 0 : left : 0 : * : 3\n", (4, 2, 2, 1)),
        ("R: 0 : left : 0 : * : 3\nR: 0 : left : 1 : * : 3\n", (4, 2, 1, 1)),  # said for each, and always the same
        ("R: 0 : left : * : 2 : 3\n", (4, 2, 1, 4)),
        ("R: 0 : left : * : * hot : 3\n", (4, 2, 1, 4)),
        ("R: 0 : left : * :\n1 2 3 4\n", (4, 2, 1, 4)),
        ("R: 0 : left :\n1 1 1 1\n2 2 2 2\n", (4, 2, 2, 1)),
    ],
)
def test_the_reward_has_no_axis_that_it_does_not_need(entries, shape):
    assert reads(entries).reward.shape == shape


def test_costs_are_negative_rewards():
    costs = PREAMBLE.replace("values: reward", "values: cost")
    problem = reads("R: * : left : * : * : 3\n", costs)
    assert problem.reward[:, :, 0, 0].tolist() == [[-3, 0]] * 4
    assert not np.signbit(problem.reward[:, 1]).any()  # no cost is 0, not -0


@pytest.mark.parametrize(
    ("words", "joint"),
    [
        ("*", [0, 1, 2, 3]),
        ("* *", [0, 1, 2, 3]),
        ("2", [2]),
        ("go a0", [2]),
        ("1 0", [2]),
        ("go *", [2, 3]),
        ("* 1", [1, 3]),
        ("* a1", [1, 3]),
    ],
)
def test_joint_actions_in_every_way(words, joint):
    problem = reads(f"R: {words} : * : * : * : 7\n")
    assert np.flatnonzero(problem.reward[:, 0, 0, 0] == 7).tolist() == joint


def test_the_last_agent_is_the_fastest_of_three():
    three = (
        "agents: 3\ndiscount: 1\nvalues: reward\nstates: 1\nstart: 0\nactions:\n2\n3\n2\nobservations:\n1\n1\n1\n"
        "T: * :\nuniform\nO: * :\nuniform\n"
    )
    problem = dpomdp_file.read(three + "R: 1 2 0 : * : * : * : 1\nR: * 0 1 : * : * : * : 2\nR: 4 : * : * : * : 3\n")
    assert problem.reward.ravel().tolist() == [0, 2, 0, 0, 3, 0, 0, 2, 0, 0, 1, 0]


def test_a_single_agents_actions_have_names_too():
    one = (
        "agents: 1\ndiscount: 1\nvalues: reward\nstates: x\nstart: x\nactions:\nup down\nobservations:\nnone\n"
        "T: * :\nidentity\nO: * :\nuniform\nR: down : x : * : * : 4\n"
    )
    assert dpomdp_file.read(one).reward.ravel().tolist() == [0, 4]


def test_later_lines_override_earlier_ones():
    problem = reads("R: * : * : * : * : 1\nR: go * : * : * : * : 2\nR: 3 : right : * : * : 3\nR: 0 : * : * : * : 4\n")
    assert problem.reward[:, :, 0, 0].tolist() == [[4, 4], [1, 1], [2, 2], [2, 3]]


def test_spaces_comments_and_line_ends_do_not_matter():
    text = PREAMBLE + TABLES + "R: go a0 : left : * : * : 1\n"
    ugly = "# a file\r\n\r\n" + text.replace(" : ", ":").replace("\n", "  # remark: 1\r\n\t\r\n")
    assert dpomdp_file.read(ugly).same_tables(dpomdp_file.read(text))


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "game.dpomdp"
    path.write_bytes(b"\xef\xbb\xbf" + (PREAMBLE + TABLES).encode())
    assert dpomdp_file.read_file(path).same_tables(reads(""))


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("agents: 2", "agent: 2", 1, "expected 'agents:', found 'agent: 2'"),
        ("agents: 2", "agents:", 1, "expected a count or names, found nothing"),
        ("agents: 2", "agents: 0", 1, "expected a count from 1 to 100000 or names, found '0'"),
        ("agents: 2", "agents: a a", 1, "expected different names, found 'a'"),
        ("agents: 2", "agents: a 2b", 1, "expected a name, which is a letter, then letters, digits, - and _"),
        ("discount: 0.9", "discount: 1.5", 2, "expected a discount from 0 to 1, found '1.5'"),
        ("discount: 0.9", "discount: nan", 2, "expected a discount from 0 to 1, found 'nan'"),
        ("discount: 0.9", "discount:", 2, "expected a discount from 0 to 1, found nothing"),
        ("values: reward", "values: rewards", 3, "expected 'reward' or 'cost', found 'rewards'"),
        ("values: reward\n", "", 3, "expected 'values:', found 'states: left right'"),
        ("left right", "left T", 4, "none of O, R, T, actions, agents, discount, observations, found 'T'"),
        ("left right", "999999999", 4, "expected a count from 1 to 100000 or names, found '999999999'"),
        ("start:\nuniform", "start: middle", 5, "expected a state (one of 2 names, its index or *), found 'middle'"),
        ("start:\nuniform", "start: 2", 5, "expected a state from 0 to 1, found '2'"),
        ("start:\nuniform", "start include:", 5, "expected states, found nothing"),
        ("start:\nuniform", "start include: *", 5, "expected a state, found '*'"),
        ("start:\nuniform", "start exclude: 0 1", 5, "expected a state that is not excluded, found '0 1'"),
        ("start:\nuniform", "start only: 0", 5, "expected 'start:', 'start include:' or 'start exclude:'"),
        ("uniform\nac", "0.5\nac", 6, "expected 2 probabilities of the first state or 'uniform', found '0.5'"),
        ("uniform\nac", "0.5 -0.5\nac", 6, "expected a probability from 0 to 1, found '-0.5'"),
        ("actions:\nstay go\n2\n", "actions: 2 2\n", 7, "expected nothing behind 'actions:' (a line for each agent"),
        ("actions:\nstay go\n2\n", "actions:\nstay go\n", 9, "expected the actions of agent1, as there are 2 agents"),
        ("stay go\n2\n", "stay go\n2\n3\n", 10, "expected 'observations:', found '3'"),
    ],
)
def test_a_wrong_preamble(old, new, line, said):
    assert old in PREAMBLE
    with pytest.raises(TacitError) as raised:
        dpomdp_file.read(PREAMBLE.replace(old, new, 1) + TABLES)
    assert str(raised.value).startswith(f".dpomdp, line {line}: ")
    assert said in str(raised.value)


def test_a_file_that_ends_too_early():
    lines = PREAMBLE.splitlines()
    for kept in range(len(lines)):
        with pytest.raises(TacitError, match=rf"line {kept + 1}: expected .*, found the end of the file"):
            dpomdp_file.read("\n".join(lines[:kept]))
    with pytest.raises(TacitError, match=r"T\[stay,a0\], state left: probabilities sum to 0, not 1"):
        dpomdp_file.read(PREAMBLE)  # complete, but without a single transition


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("X: 0 : 0 : 0 : 1", "expected an entry that begins with 'T:', 'O:' or 'R:', found 'X: 0 : 0 : 0 : 1'"),
        ("0.5 0.5", "expected an entry that begins with"),
        ("T:", "expected 'T: joint action : state : next state : probability', "),
        ("T: * : 0 : 0", "expected 'T: joint action : state : next state : probability', "),
        ("T: * : : 0 : 1", "expected 'T: joint action : state : next state : probability', "),
        ("R: 0", "expected 'R: joint action : state : next state : joint observation : reward', "),
        ("T: 4 : 0 : 0 : 1", "expected a joint action from 0 to 3, found '4'"),
        ("T: go 2 : 0 : 0 : 1", "expected an action of agent1 from 0 to 1, found '2'"),
        ("T: run 1 : 0 : 0 : 1", "expected an action of agent0 (one of 2 names, its index or *), found 'run'"),
        ("T: go : 0 : 0 : 1", "expected a joint action: an entry for each of 2 agents or one number or *, found 'go'"),
        ("T: * * * : 0 : 0 : 1", "expected a joint action: an entry for each of 2 agents or one number or *"),
        ("T: * : 2 : 0 : 1", "expected a state from 0 to 1, found '2'"),
        ("T: * : 0 : down : 1", "expected a next state (one of 2 names, its index or *), found 'down'"),
        ("O: * : 0 : 4 : 1", "expected a joint observation from 0 to 3, found '4'"),
        ("O: * : 0 : hot hot : 1", "expected an observation of agent0 (one of 2 names, its index or *), found 'hot'"),
        ("T: * : 0 : 0 : 1.5", "expected a probability from 0 to 1, found '1.5'"),
        ("T: * : 0 : 0 : -1e-9", "expected a probability from 0 to 1, found '-1e-9'"),
        ("T: * : 0 : 0 : half", "expected a probability, found 'half'"),
        ("T: * : 0 : 0 : 0.5 0.5", "expected a probability, found '0.5 0.5'"),
        ("T: * : 0 : 0 : 1,0", "expected a probability, found '1,0'"),
        ("R: * : 0 : 0 : 0 : nan", "expected a number, found 'nan'"),
        ("R: * : 0 : 0 : 0 : 1e999", "expected a number, found '1e999'"),
    ],
)
def test_a_wrong_entry(entry, said):
    text = PREAMBLE + TABLES + entry + "\n"
    with pytest.raises(TacitError) as raised:
        dpomdp_file.read(text, name="game.dpomdp")
    assert str(raised.value).startswith(f"game.dpomdp, line {line_of(text, entry)}: expected ")
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("header", "rows", "wrong", "said"),
    [
        ("T: * : 0 :", ["0.5 0.25 0.25"], 0, "expected 2 probabilities for 'T: * : 0 :', found 3"),
        ("T: * : 0 :", ["identity"], 0, "expected 2 probabilities for 'T: * : 0 :' or 'uniform', found 'identity'"),
        ("T: * :", ["1 0", "1"], 1, "expected 2 probabilities for 'T: * :', row 2 of 2, found 1"),
        ("T: * :", ["1 0", "T: *:"], 1, "'T: * :', row 2 of 2, found 'T: *:'"),
        ("T: * :", ["1 0", "0 x"], 1, "expected a probability, found 'x'"),
        ("T: * :", ["1 0", "0 1.25"], 1, "expected a probability from 0 to 1, found '1.25'"),
        ("O: * :", ["identity"], 0, "expected 4 probabilities for 'O: * :', row 1 of 2 or 'uniform', found 'identity'"),
        ("R: * : 0 : * :", ["uniform"], 0, "expected 4 rewards for 'R: * : 0 : * :', found 'uniform'"),
        ("R: * : 0 :", ["1 2 3 4", "1 2 3 4", "5"], 2, "expected an entry that begins with 'T:', 'O:' or 'R:'"),
    ],
)
def test_a_wrong_row(header, rows, wrong, said):
    text = PREAMBLE + TABLES + "\n".join([header, *rows]) + "\n"
    with pytest.raises(TacitError) as raised:
        dpomdp_file.read(text)
    line = len((PREAMBLE + TABLES).splitlines()) + 2 + wrong
    assert str(raised.value).startswith(f".dpomdp, line {line}: ")
    assert said in str(raised.value)


def test_rows_that_are_no_distributions():
    with pytest.raises(TacitError, match=r"^mine: T\[go,a1\], state right: probabilities sum to 0.9, not 1$"):
        dpomdp_file.read(PREAMBLE + TABLES + "T: 3 : 1 : right : 0.9\n", name="mine")
    with pytest.raises(TacitError, match=r"O\[stay,a0\], next state left: probabilities sum to 1.5, not 1"):
        reads("O: 0 : 0 : 0 : 0.75\n")


def test_tables_that_do_not_fit_are_refused_before_they_are_built():
    huge = PREAMBLE.replace("left right", "20000")
    with pytest.raises(
        TacitError, match=r"4 joint actions, 20000 states and 4 joint .* take 11.9 GiB, more than the 4 GiB"
    ):
        dpomdp_file.read(huge + TABLES)
    wide = PREAMBLE.replace("left right", "4000").replace("hot cold", "100")
    with pytest.raises(TacitError, match=r"take .* GiB, more than the 4 GiB"):  # T and O fit, this reward does not
        dpomdp_file.read(wide + "R: 0 : 0 : 0 : 0 : 1\n")


def test_files_that_are_no_text(tmp_path):
    with pytest.raises(TacitError, match=r"nowhere.dpomdp cannot be read: No such file or directory$"):
        dpomdp_file.read_file(tmp_path / "nowhere.dpomdp")
    with pytest.raises(TacitError, match=r"cannot be read: Is a directory$"):
        dpomdp_file.read_file(tmp_path)
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    with pytest.raises(TacitError, match=r"binary is not a text file, so it is no \.dpomdp file$"):
        dpomdp_file.read_file(tmp_path / "binary")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(TacitError, match=r"empty, line 1: expected 'agents:', found the end of the file$"):
        dpomdp_file.read_file(tmp_path / "empty")
    with pytest.raises(TacitError, match="is not a text file"):
        dpomdp_file.read_file("a\0b")


@pytest.mark.parametrize(
    ("arguments", "reward_axes"),
    [
        ({}, (1, 1)),
        ({"num_agents": 3, "num_actions": (2,), "discount": 0.5}, (1, 1)),
        ({"num_agents": 1, "num_actions": (3,)}, (1, 4)),
        ({"num_states": 1}, (1, 4)),
        ({"num_observations": (1, 1)}, (3, 1)),
        ({}, (3, 4)),
    ],
)
def test_a_written_game_comes_back_bit_for_bit(random_dec_pomdp, arguments, reward_axes):
    for seed in range(3):
        problem = random_dec_pomdp(seed, **arguments)
        states, joint = problem.num_states, int(np.prod(problem.num_observations))
        shape = (len(problem.joint_actions), states, min(reward_axes[0], states), min(reward_axes[1], joint))
        problem = problem.replace(reward=np.random.default_rng(seed).normal(size=shape) * 10.0**-seed)
        again = dpomdp_file.read(dpomdp_file.write(problem))
        assert again.same_tables(problem)
        for field in ("start", "transition", "observation", "reward"):
            assert getattr(again, field).tobytes() == getattr(problem, field).tobytes()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=4))
def test_any_reward_comes_back_bit_for_bit(rewards):
    problem = reads("").replace(reward=np.array(rewards).reshape(4, 1, 1, 1).repeat(2, axis=1))
    again = dpomdp_file.read(dpomdp_file.write(problem))
    assert again.reward.tobytes() == problem.reward.tobytes()


def test_names_by_count_come_back_as_a_count():
    text = dpomdp_file.write(reads("R: go a1 : left : * : * : 1.5\n"))
    assert text.splitlines()[:10] == [
        "agents: 2",
        "discount: 0.9",
        "values: reward",
        "states: left right",
        "start:",
        "0.5 0.5",
        "actions:",
        "stay go",
        "2",
        "observations:",
    ]
    assert "T: go 1 : left : left : 1.0" in text.splitlines()
    assert text.splitlines()[-1] == "R: go 1 : left : * : * : 1.5"


def test_a_reward_with_an_axis_to_spare_comes_back_without_it():
    problem = grid_small.problem()
    spare = problem.replace(reward=np.broadcast_to(problem.reward, (25, 16, 16, 4)))
    assert dpomdp_file.read(dpomdp_file.write(spare)).same_tables(problem)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"initial_observation": np.full((2, 4), 0.25)}, "what agents see before they act (initial_observation)"),
        ({"legal": (np.ones((2, 2)), np.eye(2))}, "which actions are legal (legal)"),
        ({"agents": ("Ann", "the other")}, "the agent 'the other': a name is a letter, then letters"),
        ({"states": ("left", "")}, "the state ''"),
        ({"actions": (("stay", "T"), ("a0", "a1"))}, "the action of agent0 'T'"),
        ({"observations": (("o0", "o1"), ("hot", "1"))}, "the observation of agent1 '1'"),
    ],
)
def test_what_the_format_cannot_say_is_refused(fields, said):
    with pytest.raises(TacitError) as raised:
        dpomdp_file.write(reads("").replace(**fields))
    assert str(raised.value).startswith("a .dpomdp file cannot ")
    assert said in str(raised.value)


def test_games_with_private_cards_are_refused():
    with pytest.raises(TacitError, match="initial_observation"):
        dpomdp_file.write(tiny_hanabi.problem("A"))


@published
@pytest.mark.parametrize("name", ["dectiger", "broadcastChannel", "recycling", "GridSmall"])
def test_published_files_come_back(name):
    before = time.perf_counter()
    problem = dpomdp_file.read_file(PUBLISHED / f"{name}.dpomdp")
    assert time.perf_counter() - before < 2  # GridSmall has 2,700 lines; far above what it takes
    assert isinstance(problem, DecPOMDP)
    assert dpomdp_file.read(dpomdp_file.write(problem)).same_tables(problem)


@published
def test_madps_example_is_out_of_range_by_its_own_declarations():
    path = PUBLISHED / "example.dpomdp"
    line = line_of(path.read_text(), "T: 1 2 :")
    with pytest.raises(TacitError, match=rf"line {line}: expected an action of agent1 from 0 to 1, found '2'$"):
        dpomdp_file.read_file(path)
