"""A run's name is the hash of its science and of nothing else."""

import dataclasses
import json
from pathlib import Path

import pytest

from experiments.configuration.config import ADDED_KEYS, JobConfig, RunConfig, canonical, declared_defaults
from experiments.launching import compose
from experiments.studies import adaptive, phase, structure_table, study, zsc_table
from games.tabular.simulator import Simulator
from marl.learners.ippo import IPPO
from marl.learners.magrpo import MAGRPO
from marl.learners.mappo import MAPPO
from marl.learners.off_belief import OffBelief

LITERAL = {
    "game": {"_target_": "games.tabular.library.lever.make", "payoffs": [1.0, 0.9], "mismatch": 0.0, "players": 2},
    "policy": {"_target_": "marl.policies.feed_forward.FeedForward", "observer": None, "torso": [8]},
    "learner": {
        "_target_": "marl.learners.ippo.IPPO",
        "learning_rate": 0.001,
        "entropy_coef": 0.01,
        "gamma": 1.0,
        "num_games": 8,
        "rollout_length": 4,
        "epochs": 1,
        "minibatches": 1,
    },
    "seeds": 2,
    "first_seed": 0,
    "budget": {"steps": 64},
}


def name(plain):
    (run,) = JobConfig.parse(plain).runs
    return run.name()


def test_a_literal_name():
    # Another name here means that finished runs everywhere are no longer found. It may change only together with
    # FORMAT in experiments/configuration/config.py, or with the version of tabular games ("tabular-1") or of the
    # learner ("ippo-3").
    assert name(LITERAL) == "c508a666afcc"


@pytest.mark.parametrize(
    ("command", "arguments", "names"),
    [
        (phase, ["game=equal_levers", "n=2"], ["e1579c826b3e"]),
        (zsc_table, ["game=two_stage_lever", "method=[self-play,other-play]"], ["f117618dfcef"]),
        (
            structure_table,
            ["game=task_claiming", "structure=[claims,isolation]", "penalty=0.5"],
            ["cf0688fa7098", "1d46704d9813"],
        ),
        (adaptive, ["payoffs=[[1,0],[0.8,0.9]]"], ["c411354ff2b6"]),
        (adaptive, ["game=lever"], ["e1a104912985"]),
    ],
)
def test_literal_names_of_studies(command, arguments, names):
    # As above; they may also change with the version of the search (`experiments.studies.tabular.SEARCH`).
    assert [config.name() for config in study.configs(command.STUDY, arguments)] == names


def test_the_order_of_keys_does_not_matter():
    def turned(plain):
        return {key: turned(plain[key]) for key in reversed(plain)} if isinstance(plain, dict) else plain

    assert list(turned(LITERAL)) != list(LITERAL)
    assert name(turned(LITERAL)) == name(LITERAL)


@pytest.mark.parametrize(
    "changes",
    [
        {"execution.output": "elsewhere"},
        {"execution.overwrite": True},
        {"execution.progress": True},
        {"execution.rows": 7},
        {"execution.evaluations": 0},
        {"execution.evaluation_games": 3},
        {"execution.figures": False},
        {"crossplay.games": 5},
        {"crossplay.seating": "one_against_copies"},
        {"crossplay.max_seatings": 3},
        {"crossplay.max_lanes": 16},
        {"crossplay.seed": 9},
    ],
    ids=str,
)
def test_how_a_job_is_carried_out_does_not_matter(plain, changes):
    assert name(plain(changes)) == name(plain())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"learner.gamma": 1}, {"learner.gamma": 1.0}),
        ({"budget.steps": 2e6}, {"budget.steps": 2000000}),
        ({"game.mismatch": 0}, {"game.mismatch": 0.0}),
        ({"game.payoffs": [1, 0.5]}, {"game.payoffs": [1.0, 0.5]}),
        ({"learner.num_games": 8}, {"learner.num_games": 8.0}),
        ({"policy.torso": [8]}, {"policy.torso": (8.0,)}),
        ({"learner.entropy_coef": 0.1}, {"learner.entropy_coef": [0.1]}),
    ],
    ids=str,
)
def test_equal_numbers_are_equal(plain, one, other):
    assert name(plain(one)) == name(plain(other))


OTHER_SCIENCE = {
    "game._target_": "a_board_of_mine.make",
    "game.payoffs": [1.0, 1.0],
    "game.mismatch": -1.0,
    "game.players": 3,
    "policy._target_": "a_board_of_mine.MyPolicy",
    "policy.observer": "last",
    "policy.torso": [9],
    "policy.actor": [3],
    "policy.critic": [3],
    "policy.activation": "tanh",
    "policy.precision": "bfloat16",
    "policy.head_gain": 2.0,
    "learner._target_": "a_board_of_mine.MyLearner",
    "learner.learning_rate": 0.02,
    "learner.entropy_coef": 0.02,
    "learner.gamma": 0.5,
    "learner.gae_lambda": 0.5,
    "learner.clip": 0.5,
    "learner.value_coef": 0.25,
    "learner.max_grad_norm": 0.25,
    "learner.entropy_coef_final": 0.001,
    "learner.target_entropy": 0.5,
    "learner.entropy_learning_rate": 0.5,
    "learner.entropy_schedule": "cosine",
    "learner.num_games": 4,
    "learner.rollout_length": 8,
    "learner.epochs": 2,
    "learner.minibatches": 2,
    "learner.microbatches": 4,
    "learner.batch": "all",
    "learner.anneal": "linear",
    "learner.normalise_advantages": False,
    "learner.reward_scale": 0.5,
    "learner.share_parameters": False,
    "seeds": 3,
    "first_seed": 1,
    "budget.steps": 96,
}


def test_every_key_of_the_science_counts(plain, tmp_path, monkeypatch):
    (tmp_path / "a_board_of_mine.py").write_text(
        "from games.tabular.library import lever\n"
        "from games.tabular.simulator import Simulator\n"
        "from marl.learners.ippo import IPPO as MyLearner\n"
        "from marl.policies.feed_forward import FeedForward as MyPolicy\n"
        "def make(payoffs: list, mismatch: float, players: int) -> Simulator:\n"
        "    return lever.make(payoffs, mismatch, players)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    ours = plain()
    science = {
        f"{group}.{key}" for group in ("game", "policy", "learner", "budget") for key in ours[group]
    } | {"seeds", "first_seed"}  # fmt: skip
    # How long a piece is does not count, and what needs another key has a test of its own.
    assert set(OTHER_SCIENCE) == science - {"budget.minutes", "learner.sequence_length", "learner.no_op_rows"}
    enough = {"seeds": 3}  # for three players
    names = [name(plain({**enough, key: value})) for key, value in OTHER_SCIENCE.items() if key != "seeds"]
    names += [name(plain(enough)), name(plain({"seeds": 4})), name(plain())]
    assert len(set(names)) == len(names)


@pytest.mark.slow
def test_the_length_of_sequences_and_counted_rows_count_and_the_length_of_pieces_does_not():
    def named(*overrides):
        (run,) = JobConfig.parse(compose.compose(["policy=recurrent", "learner.rollout_length=8", *overrides])).runs
        return run.name()

    assert len({named(), named("learner.sequence_length=4"), named("learner.sequence_length=2")}) == 3
    assert named("learner.batch=all") != named("learner.batch=all", "learner.no_op_rows=counted")
    assert named("budget.minutes=1", "execution.checkpoint_minutes=1", "execution.devices=1") == named()


def test_the_games_version_counts(plain, monkeypatch):
    before = name(plain())
    monkeypatch.setattr(Simulator, "version_of_rules", "tabular-2")
    assert name(plain()) != before


def test_the_learners_version_counts(plain, monkeypatch):
    before = name(plain())
    monkeypatch.setattr(IPPO, "version", "ippo-of-tomorrow")
    assert name(plain()) != before
    monkeypatch.delattr(IPPO, "version")  # a learner of one's own may have none
    assert name(plain()) != before


def test_a_key_that_a_later_tacit_adds_renames_no_run(plain):
    """A run of before lacks it, and has the name that the run has now; chosen, it counts."""
    (run,) = JobConfig.parse(plain()).runs
    assert run.learner["no_op_rows"] == "left_out"
    assert run.by_default()["learner.no_op_rows"] == "left_out"
    before = dataclasses.replace(run, learner={k: v for k, v in run.learner.items() if k != "no_op_rows"})
    assert before.name() == run.name()
    assert name(plain({"learner.batch": "all"})) != name(
        plain({"learner.batch": "all", "learner.no_op_rows": "counted"})
    )


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["game=hanabi_2x3"], "8a3949366eb1"),
        (["game=hanabi", "game.colors=2", "game.hand_size=2"], "06ddd363e5a6"),
        (["game=games.hanabi.make"], "8f2b234b7ea4"),
        (["game=games.hanabi.Hanabi"], "fd8aa6830eb6"),
    ],
)
def test_runs_of_hanabi_keep_the_names_that_they_had_before_boards_had_copies(overrides, expected):
    assert name(compose.compose(overrides)) == expected


@pytest.mark.parametrize("path", ADDED_KEYS)
def test_a_key_that_a_game_gets_later_is_left_out_of_the_name_until_it_is_chosen(path):
    (run,) = JobConfig.parse(compose.compose([f"game={path}", "game.players=3"])).runs
    for key, value in ADDED_KEYS[path].items():
        assert run.game[key] == value
        assert run.by_default()[f"game.{key}"] == value
        before = dataclasses.replace(run, game={k: v for k, v in run.game.items() if k != key})
        assert (before.name(), before.built.game) == (run.name(), run.built.game)
        assert f"game.{key}" not in before.by_default()
    chosen = dataclasses.replace(run, game={**run.game, "copies": [3, 3, 2, 2, 1]})
    assert chosen.name() != run.name()
    assert "game.copies" not in chosen.by_default()


def test_a_learner_without_a_version_of_its_own_has_all_its_keys_in_the_name(plain, monkeypatch):
    (run,) = JobConfig.parse(plain()).runs
    assert len(run.by_default()) > 5
    monkeypatch.delattr(IPPO, "version")
    assert run.by_default() == {}

    class Mine(IPPO):
        """It extends a learner that has one."""

    class Versioned(IPPO):
        """Its version says nothing of the defaults that it inherits."""

        version = "mine-1"

    monkeypatch.undo()
    assert declared_defaults(Mine) == declared_defaults(Versioned) == {}
    assert declared_defaults(IPPO)["clip"] == 0.2


@pytest.mark.parametrize("learner", [IPPO, MAPPO, MAGRPO, OffBelief], ids=lambda learner: learner.__name__)
def test_defaults_change_only_with_a_version(learner):
    """Who changes a default writes a new version, in the class and in the file; a new key joins the old version."""
    known = json.loads(Path(__file__).with_name("learner_defaults.json").read_text())
    assert canonical(declared_defaults(learner)) == known[learner.version]


def test_a_shared_network_is_the_games_to_choose():
    """Without a word about it, seats of tabular games have parameters of their own, and those of Hanabi share them."""
    for game, shared in [("lever", False), ("hanabi_2x3", True)]:
        composed = [compose.compose([f"game={game}", f"learner.share_parameters={said}"]) for said in ("null", "false")]
        (run,) = JobConfig.parse(composed[0]).runs
        assert run.learner["share_parameters"] is shared
        assert (name(composed[0]) == name(composed[1])) is not shared


@pytest.mark.parametrize(
    ("game", "learner", "gamma"),
    [
        ("recycling", "ippo", 1.0),
        ("lever", "magrpo", 1.0),
        ("hanabi_2x3", "ippo", 0.99),
        ("hanabi_2x3", "mappo", 0.99),
        ("hanabi_2x3", "magrpo", 0.95),
        ("hanabi_2x3", "off_belief", 0.99),
        ("recycling", "ippo_jaxmarl", 0.99),  # which says it
    ],
)
def test_rewards_that_are_discounted_already_are_not_discounted_again(game, learner, gamma):
    (run,) = JobConfig.parse(compose.compose([f"game={game}", f"learner={learner}"])).runs
    assert run.learner["gamma"] == gamma
    said = JobConfig.parse(compose.compose([f"game={game}", f"learner={learner}", f"learner.gamma={gamma}"])).runs
    assert [one.name() for one in said] == [run.name()]
    without = compose.compose([f"game={game}", f"learner={learner}", "learner.gamma=null"])
    del without["learner"]["gamma"]  # as somebody may who writes it in Python
    if learner != "ippo_jaxmarl":
        assert [one.name() for one in JobConfig.parse(without).runs] == [run.name()]


def test_science_can_be_read_back(plain):
    (run,) = JobConfig.parse(plain({"game.payoffs": [1, 0.5], "learner.gamma": 1})).runs
    back = RunConfig.from_science(json.loads(json.dumps(run.science())))
    assert back.name() == run.name()
    assert back.built.game == run.built.game
    assert back.built.learner == run.built.learner
    assert back.built.hyperparameters == run.built.hyperparameters


def test_lists_stand_for_all_combinations_in_order(make_job, tmp_path):
    job = make_job(tmp_path, {"learner.entropy_coef": [0.1, 0.2], "learner.gamma": [0.9, 1.0]})
    made = [(run.learner["entropy_coef"], run.learner["gamma"]) for run in job.runs]
    assert sorted(made) == [(0.1, 0.9), (0.1, 1.0), (0.2, 0.9), (0.2, 1.0)]
    assert len({run.name() for run in job.runs}) == 4
