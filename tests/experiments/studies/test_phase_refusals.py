"""What `tacit phase` refuses, in one sentence and without leaving anything behind."""

import copy
import functools
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from experiments.launching import compose
from experiments.studies.phase import PhaseConfig
from games.errors import TacitError
from games.tabular import dpomdp_file
from games.tabular.library import dectiger
from tests import command_line

FEW = ("normal_starts=2", "wide_starts=0", "pure_starts=4", "refine=false", "execution.progress=false")
SMALL = ("game=equal_levers", "n=2", "alpha=[0.3,0.7]", *FEW)


def refused(folder, *arguments):
    """What `tacit phase` said that was refused, in one sentence, without leaving anything in `folder`."""
    said = command_line.refused(folder, "phase", *arguments)
    assert "hydra" not in said
    return said


ON_THE_COMMAND_LINE = [
    (["alpha=[1,-2]"], "alpha must be a number above 0, not -2"),
    (["alpha=null", "alpha_count=0"], "alpha_count must be a whole number from 1 to 10000, not 0"),
    (["game=dectiger", "horizon=3.5"], "game.horizon must be a whole number, not 3.5"),
    (["refine=1"], "refine must be true or false, not 1"),
    (["fast=1"], "fast must be true or false, not 1"),
    (["alhpa=1"], "the configuration has no key 'alhpa'; did you mean 'alpha'?"),
    (["matsch=1"], "the configuration has no key 'matsch'; did you mean 'game.match'?"),
    (["horizon=2"], "the configuration has no key 'horizon'; it has game, execution, "),
    (["learner.gamma=1"], "the configuration has no key 'learner'; it has game, execution, alpha"),
    (["+extra=1"], "the configuration has no key 'extra'; it has game, execution, alpha, "),
    (["dectiger"], "expected KEY=VALUE, not 'dectiger'"),
    (["game=levr"], "there is no game 'levr'; did you mean 'lever'?"),
    (["game=file"], "the configuration needs a value for game.file"),
    (["--wings"], "there is no option --wings; tacit phase --help says more"),
]
"""What hydra or the command line refuse, and examples of what the configuration refuses."""

IN_A_CONFIGURATION = [
    (["alpha=0"], "alpha must be a number above 0, not 0"),
    (["alpha=-1"], "alpha must be a number above 0, not -1"),
    (["alpha=nan"], "alpha must be a number above 0, not nan"),
    (["alpha=inf"], "alpha must be a number above 0, not inf"),
    (["alpha=high"], "alpha must be a number above 0, not 'high'"),
    (["alpha=[]"], "alpha must be a number above 0 or a list of such numbers, not an empty list"),
    (["alpha=1e-300"], "alpha must be at least 1e-12 of the span of one step's rewards, which is 1, not 1e-300"),
    (["alpha=null", "alpha_min=1e-13"], "alpha_min must be at least 1e-12 of the span of one step's rewards"),
    (["alpha=null", "alpha_min=0"], "alpha_min must be a number above 0, not 0"),
    (["alpha=null", "alpha_min=3", "alpha_max=1"], "alpha_min must not be above alpha_max, and 3 is above 1"),
    (["game=dectiger", "horizon=0"], "horizon must be a whole number of at least 1, not 0"),
    (["game=dectiger", "discount=2"], "discount must be a number from 0 to 1, not 2"),
    (["normal_starts=0", "pure_starts=0"], "normal_starts, wide_starts and pure_starts must be at least 2 together"),
    (["normal_starts=-1"], "normal_starts must be a whole number from 0 to 100000, not -1"),
    (["method=foo"], "method must be one of flow, flow_explicit, natural_gradient, gradient_ascent, adam, not 'foo'"),
    (["branch=maybe"], "branch must be true or false, not 'maybe'"),
    (["seed=-1"], "seed must be a whole number from 0 to 2147483647, not -1"),
    (["step_tolerance=0"], "step_tolerance must be a number above 0 and at most 1, not 0"),
    (["boxes=-1"], "boxes must be a whole number of at least 0, not -1"),
    (["memory=-1"], "memory must be a whole number of at least 0, not -1"),
    (["max_steps=0"], "max_steps must be a whole number of at least 1, not 0"),
]
"""What is refused where the command line ends, in `PhaseConfig.parse`."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"), ON_THE_COMMAND_LINE, ids=lambda part: " ".join(part) if isinstance(part, list) else ""
)
def test_bad_arguments_are_one_sentence(tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    changed = {argument.partition("=")[0] for argument in arguments}
    small = () if "game" in changed else SMALL
    assert refused(tmp_path, *small, *arguments).startswith(f"tacit: {says}")


@pytest.fixture(scope="module")
def composed():
    """composed(*overrides) -> the configuration as plain data; Tests only read it."""
    return functools.cache(lambda *overrides: compose.compose(overrides, "phase"))


@pytest.mark.parametrize(
    ("arguments", "says"), IN_A_CONFIGURATION, ids=lambda part: " ".join(part) if isinstance(part, list) else ""
)
def test_a_bad_configuration_is_one_sentence(composed, arguments, says):
    """Of what the command line passes on to the configuration."""
    own = ("game=dectiger", "alpha=1", *FEW) if arguments[0] == "game=dectiger" else SMALL
    plain = copy.deepcopy(composed(*own))
    for override in OverridesParser.create().parse_overrides(list(arguments)):
        place = plain if override.key_or_group in plain else plain["game"]
        if override.key_or_group != "game":
            place[override.key_or_group] = override.value()
    with pytest.raises(TacitError) as said:
        PhaseConfig.parse(plain)
    assert str(said.value).startswith(says)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("game", ["hanabi", "hanabi_2x3"])
def test_exact_commands_need_a_tabular_game(tmp_path, monkeypatch, game):
    monkeypatch.chdir(tmp_path)
    assert refused(tmp_path, f"game={game}", "alpha=1") == (
        "tacit: exact commands need a tabular game, such as game=dectiger or game.file=PATH, and hanabi is none\n"
    )


@pytest.mark.slow
def test_a_bad_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused(tmp_path, "game.file=nowhere.dpomdp") == (
        "tacit: nowhere.dpomdp cannot be read: No such file or directory\n"
    )
    text = dpomdp_file.write(dectiger.problem())
    (tmp_path / "leak.dpomdp").write_text(f"{text}\nT: listen listen : tiger-left : tiger-left : 0.95\n")
    assert refused(tmp_path, "game.file=leak.dpomdp") == (
        "tacit: leak.dpomdp: T[listen,listen], state tiger-left: probabilities sum to 0.95, not 1\n"
    )
    (tmp_path / "torn.dpomdp").write_text(text[: text.index("actions:")])
    assert "torn.dpomdp, line " in refused(tmp_path, "game.file=torn.dpomdp")
    (tmp_path / "noise.dpomdp").write_bytes(bytes(range(256)))
    assert "is not a text file" in refused(tmp_path, "game.file=noise.dpomdp")


@pytest.mark.slow
def test_a_game_too_large_for_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    says = refused(tmp_path, "game=dectiger", "horizon=9")
    # 36 joint histories follow one, and stage 6 is the first that does not fit.
    assert says.startswith(
        f"tacit: the game is too large: stage 6 of it has {36**5:,} joint histories, which take 4.05"
    )


@pytest.mark.slow
def test_too_many_starts_for_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    many = ["alpha=null", "alpha_count=10000", "normal_starts=100000"]
    others = [override for override in SMALL if not override.startswith(("alpha", "normal_starts"))]
    says = refused(tmp_path, *others, *many)
    # Four copies of two agents' two float64: 128 bytes a start.
    assert says.startswith("tacit: 1,000,040,000 starts (at 10,000 values of alpha) of this game would take 119 GiB")
    assert round(128 * 1_000_040_000 / 2**30) == 119


def test_without_igraph_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "igraph", None)
    assert refused(tmp_path, *SMALL) == (
        "tacit: symmetry groups need igraph, which is not here: pip install 'tacit[symmetry]'\n"
    )
