"""Every command that README.md, CONTRIBUTING.md and the pages show exists, with its options and its configuration.

`make proof` runs them, page by page, in a folder of its own. A page's commands run in their order, in this process, at
small sizes: SMALLER says what is added to which. Training and cross-play take minutes and are tested elsewhere
(tests/experiments): here the commands that end in them do all else. What would be trained is written down as a finished
run with invented scores and weights of zero, and what would be played gets invented scores. The pages in TRAINED train
and play. What cannot run here stands in NOT_RUN with the reason; any other command fails the test.
"""

import fnmatch
import glob
import hashlib
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
import yaml

import experiments.training.job
from experiments import commands, run_piece, runs, train
from experiments.configuration.config import JobConfig
from experiments.launching import compose
from experiments.runs import directory
from games.tabular import dpomdp_file
from games.tabular.library import dectiger
from marl.agent import declared_parameters
from marl.crossplay import CrossPlay, seatings
from tests.command_line import CHECKED, call, invented_cells, invented_metrics

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]
SHELL = {"sh", "bash", "console"}

TRAINED = {"docs/tutorial.md"}
"""Pages whose commands train and play, at a tiny size."""

TINY = (
    "learner.num_games=8 learner.rollout_length=4 learner.epochs=1 learner.minibatches=1 budget.steps=64 seeds=2 "
    "crossplay.games=8 execution.rows=2 execution.evaluations=0"
)
FEW_STARTS = "normal_starts=2 wide_starts=0 pure_starts=1 refine=false branch=false"

SMALLER = [  # (pattern of the command, what is added to it); all that match
    ("tacit train *", "execution.figures=false execution.progress=false"),
    ("tacit train *experiment=methods/*", "seeds=6"),
    ("tacit train *crossplay.games=500*", "seeds=4 learner.entropy_coef=0.01"),  # on the page of conventions
    ("tacit train *hydra/sweeper=greedy_xp*", "hydra.sweeper.n_trials=1"),
    ("tacit train experiment=search*", "hydra.sweeper.n_trials=1"),
    ("tacit train experiment=sweep/*", "policy=feed_forward game.players=2"),
    ("tacit phase *", f"{FEW_STARTS} execution.figures=false"),
    ("tacit phase game=*horizon=*", "alpha=30"),
    ("tacit phase *game.file=*", "alpha=30"),
    ("tacit phase *memory=*", "horizon=6"),
    ("tacit phase experiment=exact/library*", "game=lever alpha=1"),
    ("tacit zsc-table*", "starts=2 method=self-play execution.figures=false"),
    ("tacit zsc-table", "game=lever"),
    ("tacit zsc-table *penalty=-30,-5*", "penalty=-5"),
    ("tacit structure-table*", "starts=2 restarts=2 method=self-play execution.figures=false"),
    ("tacit structure-table", "game=task_claiming structure=[none,isolation]"),
    ("tacit structure-table game=hint*", "structure=none"),
    ("tacit crossplay *", "--games 2"),
    ("tacit methods *", "--games 2"),
    ("tacit conventions *", "--games 2 --symmetries 1"),
    ("tacit report *", "--games 0"),
]

NOT_RUN = [  # (pattern of the command, why)
    ("source .venv/bin/activate", "the tests run in an environment"),
    ("export *", "sets a variable of the shell"),
    ("git clone *", "needs the network"),
    ("tacit games hanabi --replay *", "needs games of people; tests/experiments/people runs it"),
    ("tacit play *", "waits for a person; tests/experiments/people plays in the terminal and in a browser"),
    ("tacit compare *--people *", "needs games of people; tests/experiments/analysis/test_with_people.py has some"),
    ("cd examples", "the examples lie in the folder in which a page's commands run"),
    (".venv/bin/python -m pytest *", "runs tests"),
    (".venv/bin/pre-commit *", "changes the hooks of this repository"),
    ("*jaxmarl:FILE.safetensors*", "needs weights of others; tests/marl/partners/test_foreign.py has such files"),
    ("python -m benchmarks*", "measures for minutes; tests/benchmarks runs them at a small size"),
    ("python -m docs.notebooks*", "tests/notebooks executes the notebooks"),
    ("python -c *", "says what devices there are"),
]


class Shown(NamedTuple):
    """A command as a page shows it."""

    page: str
    line: int
    text: str

    def __str__(self):
        return f"{self.page}:{self.line}: {self.text}"


def fences(page):
    """(language, line number, lines) of every fenced block."""
    language, start, lines = None, 0, []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = re.match(r"\s*(?:```|~~~)(\S*)", line)
        if fence and language is None:
            language, start, lines = fence[1] or "text", number, []
        elif fence:
            yield language, start, lines
            language = None
        else:
            lines.append(line)


def shown(page):
    """The commands of a page's shell blocks, without prompts, comments and what surrounds them."""
    name = page.relative_to(ROOT).as_posix()
    for language, start, lines in fences(page):
        if language not in SHELL:
            continue
        if language == "console":
            lines = [line.removeprefix("$ ") if line.startswith("$ ") else "" for line in lines]
        text, first = "", start
        for number, line in enumerate(lines, start + 1):
            first = first if text else number
            text += line.rstrip()
            if text.endswith("\\"):
                text = text[:-1].rstrip() + " "
                continue
            text = re.sub(r"(?:^|\s+)#\s.*", "", text).strip()
            if loop := re.fullmatch(r"until (.*); do \[ \$\? = 75 \] \|\| break; done", text):
                text = loop[1]
            if text:
                yield Shown(name, first, text.removeprefix(".venv/bin/") if ".venv/bin/tacit" in text else text)
            text = ""


def made_with_the_site(page):
    """The commands that are run when the site is built."""
    for language, start, lines in fences(page):
        if language == "{tacit}":
            for text in re.split(r"(?<!\\)\n", "\n".join(lines)):
                yield Shown(page.relative_to(ROOT).as_posix(), start, text.replace("\\\n", " "))


COMMANDS = {page.relative_to(ROOT).as_posix(): list(shown(page)) for page in PAGES}


@pytest.fixture
def pretend():
    """pretend(job) -> the directories of its runs, finished without training."""
    small = 1 << 17

    def one(root, run):
        built, path = run.built, Path(root) / run.name()
        if path.exists():
            return path
        path.mkdir(parents=True)
        players, generator = built.game.num_players, np.random.default_rng(int(run.name(), 16))
        runs.write_json(
            path / "run.json",
            {"format": 1, **directory.description(run), "versions": {"jax": jax.__version__}},
        )
        runs.write_metrics(path, invented_metrics(run.seeds, players, run.steps, 1.0, generator))
        declared = declared_parameters(built.kind, players)
        seeds = run.seeds if sum(leaf.size for leaf in jax.tree.leaves(declared)) < small else 0
        runs.write_policies(
            path / "policies.safetensors",
            run,
            jax.tree.map(lambda leaf: np.zeros((seeds, *leaf.shape), leaf.dtype), declared),
        )
        cells = {play: invented_cells(run.seeds, players, 1.0, generator) for play in ("sampled", "greedy")}
        runs.write_crossplay(path, cells, {"games": 100, "seating": "all", "seed": 0})
        digests = {file: hashlib.sha256((path / file).read_bytes()).hexdigest() for file in CHECKED}
        runs.write_json(path / "checksums.json", {"format": 1, "files": digests})
        runs.write_status(path, "finished", steps=run.steps)
        return path

    return lambda job: [one(job.execution.output, run) for run in job.runs]


@pytest.fixture
def invent():
    """What `crossplay` returns, but that nobody plays."""

    def crossplay(game, agents, *, seating="all", max_seatings=200, **_):
        if isinstance(seating, str):
            seating = seatings(len(agents), game.num_players, seating, max_seatings=max_seatings)
        scores = np.random.default_rng(0).normal(size=len(seating))
        return CrossPlay(
            labels=tuple(agent.label for agent in agents),
            seatings=seating,
            mean=scores,
            standard_error=np.full(len(seating), 0.01),
            games=np.full(len(seating), 100),
            bombed=np.zeros(len(seating), np.int64),
            length=np.full(len(seating), 2.0),
        )

    return crossplay


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder of its own, with the examples and the file of a game."""
    for example in (ROOT / "examples").glob("*.py"):
        shutil.copy(example, tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "MINE.dpomdp").write_text(dpomdp_file.write(dectiger.problem()))
    return tmp_path


def job(*overrides):
    return JobConfig.parse(compose.compose(overrides))


def placed(text, pretend):
    """The arguments of a command: placeholders are replaced by what there is, patterns by the files they match."""
    text = text.replace("/shared/", "")
    if "NAME" in text or ("train" not in text and re.search(r"\bruns\b(?!/full|/small)", text)):
        prepared = job("game=hanabi_2x3", "seeds=6", "learner.entropy_coef=[0.01,0.05]", "execution.output=runs")
        first, second = (path.name for path in pretend(prepared))
        text = text.replace("NAME", first).replace("OTHER", second)
    text = re.sub(r"\b(?:PATH|MINE\.dpomdp)(?!\w)", "MINE.dpomdp", text)
    arguments = []
    for argument in shlex.split(text):
        arguments += sorted(glob.glob(argument)) if "*" in argument else [argument]
    return arguments


def on_this_machine(arguments):
    """Without the cluster: the launcher's keys are looked up, the jobs run one after the other."""
    kept = []
    for argument in arguments:
        if argument in ("hydra/launcher=slurm", "hydra/launcher=local"):
            file = ROOT / "conf" / "hydra" / "launcher" / f"{argument.partition('=')[2]}.yaml"
            known = yaml.safe_load(file.read_text()).keys()
            keys = [other.partition("=")[0] for other in arguments if other.startswith("hydra.launcher.")]
            assert {key.removeprefix("hydra.launcher.") for key in keys} <= known
        elif not argument.startswith("hydra.launcher."):
            kept.append(argument)
    return kept


def run_tacit(command, pretend):
    text, _, target = command.text.partition(" > ")
    arguments = placed(text, pretend)[1:]
    extra = [word for pattern, words in SMALLER if fnmatch.fnmatchcase(text, pattern) for word in words.split()]
    if command.page in TRAINED and arguments[0] == "train":
        extra += TINY.split()
    if "--help" in arguments:
        extra = []
    said = call(*on_this_machine([*arguments, *extra]))
    assert said.status == 0, f"{command}\n{said.err[-2000:]}"
    if target:
        Path(target.strip()).write_text(said.out)


def run_make(command):
    target = command.text.split()[1] if " " in command.text else "help"
    rules = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert target in rules, f"{command}: the Makefile has no such target"


def run_pip(command):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extras in re.findall(r"tacit\[([\w,]+)\]", command.text):
        assert set(extras.split(",")) <= project["optional-dependencies"].keys(), f"{command}: no such extra"


def run_the_piece(command, monkeypatch):
    """`run_piece` with a configuration that a command of the page has written."""
    config, path = command.text.split()[3:5]
    made = []
    monkeypatch.setattr(run_piece, "run_one", lambda job, path, **_: made.append((job.runs[0].built, path)))
    assert run_piece.main([config, path]) == 0, str(command)
    assert made[0][1] == Path(path)


OLDER, NEWEST = "9-ffffffff.safetensors", "10-00000000.safetensors"


def run_shell(command):
    """Packing and unpacking the files of a run that is not finished."""
    made = Path("runs") / "NAME"
    if not made.exists():
        (made / "checkpoints").mkdir(parents=True)
        for name in OLDER, NEWEST:
            (made / "checkpoints" / name).write_bytes(name.encode())
        for file in "run.json", "metrics.npz":
            (made / file).write_text("{}")
    here = Path.cwd()
    text = command.text.replace("/tmp/piece.", f"{here}/piece.")
    if command.text.startswith("mkdir"):
        (made / "checkpoints" / NEWEST).unlink()
    subprocess.run(["bash", "-ec", text], check=True, timeout=60)
    assert (made / "checkpoints" / NEWEST).read_bytes() == NEWEST.encode()


@pytest.mark.slow
def test_every_command_exists_and_composes(workplace, monkeypatch):
    """All of a command up to its work: its options are parsed, its configuration composed and checked."""
    parse = commands._Parser.all_of

    def parse_only(self, arguments):
        parse(self, arguments)
        raise SystemExit(0)

    with monkeypatch.context() as patch:
        patch.setattr(commands._Parser, "all_of", parse_only)
        patch.setattr(compose, "_launch", lambda command, swept, warning: None)
        texts = {}
        for page in PAGES:
            for command in [*COMMANDS[page.relative_to(ROOT).as_posix()], *made_with_the_site(page)]:
                texts.setdefault(command.text.partition(" > ")[0], command)
        wrong = []
        for text, command in texts.items():
            # Placeholders of files are one that there is; those of runs are not looked at.
            arguments = [word.replace("PATH", "MINE.dpomdp") for word in shlex.split(text)]
            if arguments[0] != "tacit" or any(fnmatch.fnmatchcase(text, pattern) for pattern, _ in NOT_RUN):
                continue
            said = call(*on_this_machine(arguments[1:]))
            if said.status != 0:
                wrong.append(f"{command}\n{said.err}")
    assert not wrong, "\n".join(wrong)
    assert len(texts) > 100


@pytest.mark.filterwarnings("ignore:.*declarative_base:DeprecationWarning")  # Optuna's
@pytest.mark.proof
@pytest.mark.parametrize("page", [name for name, commands in COMMANDS.items() if commands])
def test_the_commands_of_the_page_run(page, workplace, pretend, invent, monkeypatch):
    monkeypatch.setattr(runs.index, "cache_folder", lambda: workplace / "cache")
    if page not in TRAINED:
        monkeypatch.setattr(train, "run_job", lambda config, **_: pretend(config))
        monkeypatch.setattr(experiments.training.job, "crossplay", invent)
    done = set()
    for command in COMMANDS[page]:
        if command.text in done or any(fnmatch.fnmatchcase(command.text, pattern) for pattern, _ in NOT_RUN):
            continue
        done.add(command.text)
        words = command.text.split()
        if words[0] == "tacit":
            run_tacit(command, pretend)
        elif words[0] == "make":
            run_make(command)
        elif "pip install" in command.text:
            run_pip(command)
        elif command.text.startswith("python -m experiments.run_piece"):
            run_the_piece(command, monkeypatch)
        elif "tar " in command.text:
            run_shell(command)
        else:
            pytest.fail(f"{command}: neither run nor in NOT_RUN")


def test_commands_stand_in_blocks_of_the_shell():
    """What looks like a command in another block would never be run."""
    stray = [
        f"{page.relative_to(ROOT)}:{start}: {line}"
        for page in PAGES
        for language, start, lines in fences(page)
        if language not in SHELL and not language.startswith("{")  # directives: the site's test runs them
        for line in lines
        if re.match(r"(?:\$ )?(?:tacit |make |\.venv/bin/|python -m )", line) and "──" not in line
    ]
    assert not stray, "\n".join(stray)


def test_what_is_not_run_is_shown_somewhere():
    """An exception that no page needs any more hides the next mistake."""
    texts = [command.text for commands in COMMANDS.values() for command in commands]
    unused = [pattern for pattern, _ in NOT_RUN if not fnmatch.filter(texts, pattern)]
    unused += [pattern for pattern, _ in SMALLER if not fnmatch.filter(texts, pattern)]
    assert not unused, unused
