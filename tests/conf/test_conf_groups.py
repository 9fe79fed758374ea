"""The shipped configurations: every key explained, every choice builds, every experiment runs at a tiny size."""

import dataclasses
import functools
import itertools
import re
from pathlib import Path

import jax
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

import conf
from experiments.configuration.config import JobConfig
from experiments.configuration.targets import find
from experiments.launching import compose
from experiments.runs import check_finished
from experiments.studies import phase, study
from experiments.training.job import run_job
from games.tabular import dpomdp_file
from games.tabular.library import dectiger

ROOT = Path(conf.__file__).parent
FILES = sorted(ROOT.rglob("*.yaml"))
NAMES = [file.relative_to(ROOT).with_suffix("").as_posix() for file in FILES if file.parent != ROOT]
EXACT = sorted(name.removeprefix("experiment/") for name in NAMES if name.startswith("experiment/exact/"))
"""Experiments of `tacit phase`; all others are of `tacit train`."""
CHOICES = [
    (name.split("/")[0], name.split("/", 1)[1])
    for name in NAMES
    if not name.startswith(("hydra/", "experiment/exact/"))
]
EXPERIMENTS = sorted(name for group, name in CHOICES if group == "experiment")
NO_TRAINING = ["learner.minibatches=1", "crossplay.games=1"]


def explained(file):
    """The keys of a YAML file that have a comment in their line, dotted below the file's group."""
    keys, path = set(), []
    for line in file.read_text().splitlines():
        if found := re.match(r"( *)([A-Za-z_]\w*):(.*)", line):
            indent, key, rest = found.groups()
            path = [*path[: len(indent) // 2], key]
            if re.search(r"\s#\s*\S", rest):
                keys.add(".".join(path))
    return keys


def dotted(plain, prefix=""):
    for key, value in plain.items():
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key


@pytest.mark.parametrize("name", ["ippo", "mappo", "magrpo", "off_belief"])
def test_learners_have_the_same_defaults_in_python_and_in_their_file(name):
    plain = compose.compose([f"learner={name}"])["learner"]
    target = find("learner", plain)
    theirs = target.hyperparameters._field_defaults | {
        field.name: field.default for field in dataclasses.fields(target) if field.default is not dataclasses.MISSING
    }
    theirs = {key: list(value) if isinstance(value, tuple) else value for key, value in theirs.items()}
    by_game = {key for key in ("gamma", "share_parameters") if plain[key] is None}  # what null stands for
    shared = (theirs.keys() & plain.keys()) - by_game
    assert len(shared) > 10
    assert {key: plain[key] for key in shared} == {key: theirs[key] for key in shared}
    numbers = {key: theirs[key] for key in by_game - {"share_parameters"}}
    comments = (ROOT / "learner" / f"{'ippo' if name == 'mappo' else name}.yaml").read_text()
    assert all(f"null: {value}, and 1 in tabular games" in comments for value in numbers.values())


def test_the_groups_are_the_documented_ones():
    groups = {group for group, _ in CHOICES}
    assert groups == {"game", "learner", "policy", "crossplay", "execution", "experiment"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_file_begins_with_what_it_is(file):
    first = next(line for line in file.read_text().splitlines() if not line.startswith("# @package"))
    assert re.match(r"# \w", first)


@pytest.mark.slow
@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=lambda part: part)
def test_every_choice_builds_and_explains_its_keys(group, choice, tmp_path):
    (tmp_path / "my.dpomdp").write_text(dpomdp_file.write(dectiger.problem()))
    needs = {"game=file": [f"game.file={tmp_path}/my.dpomdp"], "policy=tabular": ["game=dectiger"]}
    chosen = f"{group}={choice}"
    plain = compose.compose([*NO_TRAINING, chosen, *needs.get(chosen, [])])
    job = JobConfig.parse(plain)
    assert all(run.built.game.name for run in job.runs)
    known = explained(ROOT / "config.yaml")
    for of_group, of_choice in CHOICES:
        prefix = "" if of_group == "experiment" else f"{of_group}."
        known |= {prefix + key for key in explained(ROOT / of_group / f"{of_choice}.yaml")}
    missing = {key for key in dotted(plain) if not key.endswith("_target_")} - known
    assert not missing, "keys without a comment"


def test_each_game_explains_its_own_keys():
    for file in sorted((ROOT / "game").glob("*.yaml")):
        given = set(re.findall(r"^([A-Za-z_]\w*):", file.read_text(), re.M))
        assert given - {"_target_"} == explained(file), file.name


def test_the_phase_diagram_explains_its_keys():
    composed = compose.compose([], "phase")
    own = {key for key in dotted(composed) if "." not in key}
    assert len(own) == 17
    assert own <= explained(ROOT / "phase.yaml")
    # The groups are the same as for training.
    assert set(composed) - own == {"game", "execution"}
    assert composed["execution"] == compose.compose([])["execution"]


@pytest.mark.slow
def test_every_tabular_game_has_a_phase_diagram():
    """With the defaults: 32 values of alpha from 1 % to 60 % of the span of one step's rewards."""
    spans = {"lever": 1.0, "dectiger": 121.0, "two_stage_lever": 2.0, "hint": 1.0}  # dec-tiger: from -101 to 20
    games = [choice for group, choice in CHOICES if group == "game" and choice != "file" and "hanabi_" not in choice]
    for game in sorted({*games, "tiny_hanabi"} - {"hanabi", "many_edits"}):
        (config,) = study.configs(phase.STUDY, [f"game={game}"])
        assert len(config.alpha) == 32
        if game in spans:
            assert (config.alpha[0], config.alpha[-1]) == pytest.approx((0.01 * spans[game], 0.6 * spans[game]))


@pytest.mark.slow
def test_an_experiment_has_the_last_word_but_for_the_command_line():
    chosen_alone = functools.cache(lambda group, choice: compose.compose([f"{group}={choice}"])[group])
    for name in EXPERIMENTS:
        composed, given = compose.compose([f"experiment={name}"]), OmegaConf.load(ROOT / "experiment" / f"{name}.yaml")
        for key, value in given.items():
            if key == "hydra":
                continue  # how it is launched
            if key == "defaults":
                for chosen in value:
                    if isinstance(chosen, str):  # an experiment that this one goes on from
                        assert chosen in EXPERIMENTS
                        continue
                    ((group, choice),) = dict(chosen).items()
                    if "hydra" in group:
                        continue
                    group = group.removeprefix("override /")
                    assert composed[group] == {**chosen_alone(group, choice), **given.get(group, {})}
            elif isinstance(value, DictConfig):
                assert {inner: composed[key][inner] for inner in value} == OmegaConf.to_container(value)
            else:
                assert composed[key] == value
    first, further = (compose.compose([f"experiment={name}"])["learner"] for name in ("few_steps", "ladder"))
    coefficients = {"entropy_coef": [0.003, 0.01, 0.03, 0.1, 0.3]}
    assert further == first | coefficients and first["value_coef"] == 2
    changed = compose.compose(["experiment=demo", "budget.steps=77", "seeds=3", "game=lever"])
    assert (changed["budget"]["steps"], changed["seeds"], changed["game"]["_target_"]) == (
        77,
        3,
        "games.tabular.library.lever.make",
    )


TINY_LEARNER = {
    "num_games": 2, "rollout_length": 4, "group_size": 2, "epochs": 1, "minibatches": 1, "critic_layers": [4]
}  # fmt: skip
TINY = [
    "policy.torso=[4]",
    "policy.actor=[]",
    "policy.critic=[]",
    "seeds=2",
    "crossplay.games=1",
    "execution.evaluations=0",
]


ELSEWHERE = {"search", "sweep/hanabi"}
"""Run by test_search.py; and paper/recurrent_high_entropy at several coefficients, a minute's compilation."""
RUN = sorted({*EXPERIMENTS} - {"none", *ELSEWHERE})


def first_and_last(learner):
    """Overrides that leave two values of a list, and one of each other."""
    for name, value in learner.items():
        if isinstance(value, list) and name not in TINY_LEARNER:
            yield f"learner.{name}=[{value[0]},{value[-1]}]"


def tiny(experiment, output):
    """(job, how many runs it stands for) of an experiment at a tiny size."""
    composed = compose.compose([f"experiment={experiment}"])
    lists = list(first_and_last(composed["learner"]))
    sizes = [f"learner.{name}={size}" for name, size in TINY_LEARNER.items() if name in composed["learner"]]
    sizes += ["budget.steps=100" if "group_size" in composed["learner"] else "budget.steps=16"]  # whole games
    memory = ["policy.memory=4"] if "memory" in composed["policy"] else []
    overrides = [f"experiment={experiment}", *TINY, *sizes, *lists, *memory, f"execution.output={output}"]
    return JobConfig.parse(compose.compose(overrides)), 2 ** len(lists)


@functools.cache
def traced(learner):
    """A state before and after an update; learners that differ in what runs carry alone are traced once."""
    numbers = learner.hyperparameters()
    state = jax.eval_shape(lambda: learner.init(numbers, key=jax.random.key(0)))
    return state, jax.eval_shape(learner.update, state)[0]


@pytest.mark.slow
@pytest.mark.parametrize("experiment", RUN)
def test_every_experiment_can_be_traced_at_a_tiny_size(experiment, tmp_path):
    job, members = tiny(experiment, tmp_path)
    assert len({run.name() for run in job.runs}) == len(job.runs) == members
    for run in job.runs:
        before, after = traced(run.built.learner)
        assert jax.tree.structure(before) == jax.tree.structure(after)
        shapes = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(state)] for state in (before, after)]
        assert shapes[0] == shapes[1]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "experiment", [name if name == "demo" else pytest.param(name, marks=pytest.mark.proof) for name in RUN]
)
def test_every_experiment_runs_at_a_tiny_size(experiment, tmp_path):
    job, members = tiny(experiment, tmp_path)
    paths = run_job(job)
    assert len(set(paths)) == members
    for path, run in zip(paths, job.runs, strict=True):
        assert check_finished(path)["science"]["learner"]["entropy_coef"] == run.learner["entropy_coef"]


# --- sweeps ---


def swept(experiment):
    """The overrides of each parameter of an experiment's sweep; the two ends of an interval."""
    given = OmegaConf.load(ROOT / "experiment" / f"{experiment}.yaml")
    params = OmegaConf.select(given, "hydra.sweeper.params", default={})
    found = []
    for override in OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in params.items()]):
        if override.is_discrete_sweep():
            choices = list(override.sweep_string_iterator())
        else:
            choices = [override.value().start, override.value().end]
        found.append([f"{override.get_key_element()}={choice}" for choice in choices])
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "members"),
    [
        ("search", 4),
        pytest.param("sweep/hanabi", 32, marks=pytest.mark.proof),
        ("sweep/small_hanabi", 12),
        ("exact/library", 8),
        ("exact/tiny_hanabi", 6),
    ],
)
def test_every_member_of_a_sweep_is_a_configuration(experiment, members):
    root, parse = ("phase", phase.PhaseConfig.parse) if experiment in EXACT else ("config", JobConfig.parse)
    jobs = [
        parse(compose.compose([f"experiment={experiment}", *chosen], root))
        for chosen in itertools.product(*swept(experiment))
    ]
    names = {run.name() for job in jobs for run in (job.runs if root == "config" else job)}
    assert len(jobs) == members
    assert len(names) == members * (4 if experiment.startswith("sweep/") else 1)


@pytest.mark.slow
def test_every_choice_of_the_large_sweep_is_a_configuration():
    """Each beside the first choices of the others."""
    choices = swept("sweep/hanabi")
    assert [len(one) for one in choices] == [2, 4, 4]
    first = [one[0] for one in choices]
    chosen = {tuple([*first[:place], one, *first[place + 1 :]]) for place, own in enumerate(choices) for one in own}
    jobs = [JobConfig.parse(compose.compose(["experiment=sweep/hanabi", *one])) for one in sorted(chosen)]
    assert len({run.name() for job in jobs for run in job.runs}) == 4 * len(chosen)


def test_no_sweep_is_left_out_above():
    sweeps = {name for name in (*EXPERIMENTS, *EXACT) if swept(name)}
    assert sweeps == {"search", "sweep/hanabi", "sweep/small_hanabi", "exact/library", "exact/tiny_hanabi"}


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXACT)
def test_an_exact_experiment_runs_at_a_tiny_size(experiment, tmp_path):
    second = [choices[1] for choices in swept(experiment)]
    tiny = ["alpha=0.7", "normal_starts=2", "wide_starts=0", "pure_starts=0", "refine=false", "branch=false"]
    arguments = [f"experiment={experiment}", *second, *tiny, f"execution.output={tmp_path}"]
    (config,) = phase.STUDY.parse(compose.compose(arguments, phase.STUDY.root))
    (row,) = study.read(phase.STUDY, study.make(phase.STUDY, config))["rows"]
    assert (row["alpha"], row["solutions"]) == (0.7, 1)


def test_a_sweep_is_one_without_saying_so():
    """`tacit train experiment=sweep/hanabi`, without -m."""
    for name in (*EXPERIMENTS, *EXACT):
        mode = OmegaConf.select(OmegaConf.load(ROOT / "experiment" / f"{name}.yaml"), "hydra.mode")
        assert mode == ("MULTIRUN" if swept(name) else None)
