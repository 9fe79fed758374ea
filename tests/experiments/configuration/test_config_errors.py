"""Bad input: one sentence on stderr, status 2, and nothing written."""

import copy
import functools
import subprocess
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from experiments.configuration.config import JobConfig
from experiments.launching import compose
from games.errors import TacitError

# What is given, and what the sentence has to name.
ON_THE_COMMAND_LINE = [
    (["sseds=3"], ["'sseds'", "'seeds'"]),
    (["learner.entropy_coeff=0.1"], ["'learner.entropy_coeff'", "'learner.entropy_coef'"]),
    (["gamee=lever"], ["'gamee'", "'game'"]),
    (["+learner.gama=1"], ["'gama'", "'gamma'"]),
    (["game=levr"], ["there is no game 'levr'; did you mean 'lever'?"]),
    (["game=chess"], ["'chess'", "lever", "hanabi_2x3"]),
    (["game="], ["''", "lever"]),
    (["policy=recurring"], ["'recurring'", "recurrent"]),
    (["policy=recurrent", "policy.memory=0"], ["policy.memory", "at least 1", "0"]),
    (["learner=dqn"], ["'dqn'", "ippo"]),
    (["experiment=demos"], ["'demos'", "demo"]),
    (["experiment=nosuch"], ["experiment 'nosuch'", "sweep/small_hanabi", "paper/recurrent_baseline"]),
    (["experiment=exact/nosuch"], ["experiment 'exact/nosuch'", "exact/library"]),
    (["experiment=exact/library"], ["experiment=exact/library is for tacit phase"]),
    (["experiment=optuna"], ["there is no experiment 'optuna'"]),  # nor a plugin of that name
    (["experiment=sweep/small_hanabi", "game.players=2,3", "learner.gamme=1"], ["'learner.gamme'", "'learner.gamma'"]),
    (["-m", "experiment=glob(methods/*)"], ["experiment=glob(methods/*) cannot be resolved"]),
    (["game=3"], ["game must be a name, not 3"]),
    (["-m", "policy=tabular,feed_forward", "learner.gama=1"], ["did you mean 'learner.gamma'?"]),
    (["-m", "hydra.sweeper.params={learner.gamma:[0.5,0.6]}"], ["hydra.sweeper.params.learner.gamma must be text"]),
    (["--cfg", "jobs"], ["--cfg", "jobs"]),
    (["-m", "--cfg", "job"], ["--multirun", "--cfg"]),
    (["learner.gamma=1.5"], ["learner.gamma", "at most 1", "1.5"]),
    (["learner.entropy_coef=[]"], ["learner.entropy_coef", "at least one number", "empty list"]),
    (["game=file"], ["needs a value for game.file"]),
    (["game.players=3"], ["3 different agents", "there are 2", "one_against_copies"]),
    (["execution.output=a_file"], ["a_file", "cannot be written"]),
    (["~learner"], ["learner"]),
    (["seeds"], ["'seeds'"]),
    (["=3"], ["expected KEY=VALUE, not '=3'"]),
    (["--sweep"], ["--sweep"]),
    (["learner.gamma=0.9,0.8"], ["learner.gamma=0.9,0.8", "add -m", "learner.gamma=[0.9,0.8]"]),
    (["hydra/launcher=slurm"], ["hydra/launcher=slurm", "-m"]),
    (["hydra.run.dir=elsewhere"], ["hydra.run.dir=elsewhere", "execution.output"]),
    (["learner.clip=[0.1;0.2]"], ["learner.clip=[0.1;0.2]", "quoted"]),
    (["-m", "learner.gamma=0.9,1.8"], ["learner.gamma", "1.8"]),
    (["-m", "learner.gamma=0.9,0.8", "game.mismatch=0,much"], ["mismatch", "'much'"]),
]
"""What hydra or the command line refuse, and examples of what the configuration refuses."""

IN_A_CONFIGURATION = [
    (["+policy.wings=2"], ["'wings'", "torso"]),
    (["+game.board=2"], ["'board'", "payoffs"]),
    (["+crossplay.games_=2"], ["'games_'", "'games'"]),
    (["+execution.minutes=3"], ["'minutes'", "rows"]),
    (["+budget.hours=3"], ["'hours'", "steps"]),
    (["budget.minutes=0"], ["budget.minutes", "above 0", "0"]),
    (["execution.checkpoint_minutes=soon"], ["execution.checkpoint_minutes", "number", "'soon'"]),
    (["execution.devices=0"], ["execution.devices", "at least 1", "0"]),
    (["policy=recurrent", "policy.memory_clock=never"], ["'never'", "every_step", "own_turns"]),
    (["policy.precision=float16"], ["'float16'", "float32", "bfloat16"]),
    (["learner.sequence_length=2"], ["learner.sequence_length", "memory", "FeedForward"]),
    (["policy=recurrent", "learner.sequence_length=3"], ["learner.sequence_length", "rollout_length, 4", "3"]),
    (["learner.microbatches=5"], ["learner.microbatches", "32", "5"]),
    (["policy.head_gain=0"], ["policy.head_gain", "above 0"]),
    (["policy=recurrent", "learner.minibatches=16"], ["learner.minibatches", "8 sequences of 4 steps", "16"]),
    (["game=hanabi", "game.preset=Hanabi-Huge"], ["'Hanabi-Huge'", "Hanabi-Small"]),
    (["game=hanabi", "game.players=7"], ["players", "2 to 5", "7"]),
    (["game=hanabi", "game.colors=6"], ["colors", "1 to 5", "6"]),
    (["game.payoffs=[]"], ["payoffs", "at least one"]),
    (["game._target_=games.game.Gamble"], ["'games.game.Gamble'", "cannot be imported"]),
    (["game._target_=nowhere.Game"], ["'nowhere.Game'", "cannot be imported"]),
    (["game._target_=os.system"], ["'os.system'", "a class of games"]),
    (["game._target_=math.pi"], ["'math.pi'", "a class of games"]),
    (["policy._target_=games.game.Game"], ["'games.game.Game'", "initial_memory"]),
    (["learner._target_=marl.policies.uniform.Uniform"], ["'marl.policies.uniform.Uniform'", "update"]),
    (["learner._target_=5"], ["learner._target_", "5"]),
    (["policy.observer=eyes"], ["'eyes'", "last"]),
    (["policy.activation=gelu"], ["'gelu'", "relu", "tanh"]),
    (["policy.torso=8"], ["policy.torso", "list", "8"]),
    (["policy.torso=[0]"], ["policy.torso", "at least 1", "0"]),
    (["learner.batch=some"], ["'some'", "acting", "all"]),
    (["learner.anneal=slowly"], ["'slowly'", "linear"]),
    (["learner.share_parameters=maybe"], ["learner.share_parameters", "'maybe'"]),
    (["learner.gamma=much"], ["learner.gamma", "number", "'much'"]),
    (["learner.gamma=true"], ["learner.gamma", "number", "True"]),
    (["learner.gamma=nan"], ["learner.gamma", "number", "nan"]),
    (["learner.clip=null"], ["learner.clip", "number", "None"]),
    (["learner.clip=0"], ["learner.clip", "above 0"]),
    (["learner.entropy_coef=[0.1,-1]"], ["learner.entropy_coef", "at least 0", "-1"]),
    (["learner.entropy_coef=[1,0.1,1.0]"], ["learner.entropy_coef", "1.0", "twice"]),
    (["learner.entropy_coef=[[0.1]]"], ["learner.entropy_coef", "number", "[0.1]"]),
    (["learner.num_games=[8,16]"], ["learner.num_games", "whole number", "[8, 16]"]),
    (["learner.num_games=8.5"], ["learner.num_games", "whole number", "8.5"]),
    (["learner.minibatches=5"], ["learner.minibatches", "32", "5"]),
    (["seeds=0"], ["seeds", "at least 1|from 1", "0"]),
    (["seeds=2.5"], ["seeds", "whole number", "2.5"]),
    (["seeds=1e9"], ["seeds", "1000000000"]),
    (["first_seed=-1"], ["first_seed", "-1"]),
    (["budget.steps=31"], ["budget.steps", "32", "31"]),
    (["budget.steps=1e99"], ["budget.steps", "1e+99"]),
    (["budget.steps=many"], ["budget.steps", "whole number", "'many'"]),
    (["budget=64"], ["'budget'", "64"]),
    (["crossplay.games=0"], ["crossplay.games", "1", "0"]),
    (["crossplay.seating=round"], ["'round'", "one_against_copies"]),
    (["crossplay.seed=-1"], ["crossplay.seed", "-1"]),
    (["execution.rows=0"], ["execution.rows", "at least 1", "0"]),
    (["execution.output="], ["execution.output", "folder"]),
    (["execution.overwrite=perhaps"], ["execution.overwrite", "'perhaps'"]),
]
"""What is refused where the command line ends, in `JobConfig.parse`."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "named"), ON_THE_COMMAND_LINE, ids=lambda part: " ".join(part) if isinstance(part, list) else ""
)
def test_bad_input_is_one_sentence_and_writes_nothing(tacit, tiny_overrides, tmp_path, monkeypatch, given, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").write_text("of the user")
    said = tacit("train", *tiny_overrides, *given)
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("tacit: ")
    assert said.err.count("\n") == 1
    assert said.err.endswith("\n")
    for names in named:
        assert any(name in said.err for name in names.split("|")), said.err
    assert [path.name for path in tmp_path.rglob("*")] == ["a_file"]


@pytest.fixture(scope="module")
def chosen():
    """chosen("policy=recurrent") -> that group, composed once."""
    return functools.cache(lambda override: compose.compose([override])[override.partition("=")[0]])


@pytest.mark.parametrize(
    ("given", "named"), IN_A_CONFIGURATION, ids=lambda part: " ".join(part) if isinstance(part, list) else ""
)
def test_a_bad_configuration_is_one_sentence(plain, chosen, given, named):
    """Of what the command line passes on to the configuration."""
    changes = {}
    for override in OverridesParser.create().parse_overrides(list(given)):
        key = override.key_or_group
        value = override.value()
        changes[key] = copy.deepcopy(chosen(f"{key}={value}")) if key in ("game", "policy") else value
    with pytest.raises(TacitError) as refused:
        JobConfig.parse(plain(changes))
    said = str(refused.value)
    assert "\n" not in said
    for names in named:
        assert any(name in said for name in names.split("|")), said


# The command as it is installed; and no tracker is imported before it is asked for.
INSTALLED = """
import sys
from experiments.cli import main
try:
    main()
finally:
    import experiments.analysis.export, experiments.train
    assert not {"mlflow", "tensorboard"} & set(sys.modules)
"""


@pytest.mark.slow
def test_the_installed_command_refuses_in_the_same_way(tmp_path):
    command = [sys.executable, "-c", INSTALLED, "train", "game=levr"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert made.returncode == 2
    assert made.stdout == ""
    assert made.stderr.startswith("tacit: there is no game 'levr'; did you mean 'lever'?")
    assert made.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_experiment_of_training_is_not_for_phase(tacit):
    said = tacit("phase", "experiment=demo")
    assert (said.status, said.out) == (2, "")
    assert said.err == "tacit: experiment=demo is for tacit train, not for tacit phase\n"


@pytest.mark.parametrize("plain", [[], 3, "game", None, {}, {"game": 3}, {"games": {}}])
def test_what_is_no_configuration_is_refused(plain):
    with pytest.raises(TacitError, match="configuration"):
        JobConfig.parse(plain)


@pytest.mark.parametrize("group", ["game", "policy", "learner", "crossplay", "execution", "budget"])
def test_a_group_must_be_a_mapping(plain, group):
    with pytest.raises(TacitError, match=f"needs a group '{group}'"):
        JobConfig.parse(plain({group: 3}))


def test_whole_floats_are_whole_numbers(make_job, tmp_path):
    changes = {
        "learner.num_games": 8.0,
        "seeds": 2.0,
        "budget.steps": 6.4e1,
        "game.players": 2.0,
        "policy.torso": [8.0],
        "crossplay.games": 1e1,
        "execution.rows": 2.0,
    }
    job = make_job(tmp_path, changes)
    built = job.runs[0].built
    made = [
        built.learner.num_games, job.seeds, job.steps, built.game.num_players, *built.kind.policy.torso,
        job.crossplay.games, job.execution.rows,
    ]  # fmt: skip
    assert made == [8, 2, 64, 2, 8, 10, 2]
    assert {type(number) for number in made} == {int}
