"""`tacit compare` where classes differ, rows look alike, or no run is left: columns, figures, names, words."""

import csv
import hashlib
import io
import itertools
import math
import shutil

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from experiments.analysis import compare, compare_figures, compare_tables
from experiments.presentation import tables
from experiments.runs import load
from games.errors import TacitError
from marl.crossplay.estimators import Estimate, Summary
from tests.command_line import printed_rows

FEED_FORWARD, RECURRENT, TABULAR = (
    f"marl.policies.{name}" for name in ("feed_forward.FeedForward", "recurrent.Recurrent", "tabular.Tabular")
)
POLICIES = {
    FEED_FORWARD: {"torso": [8], "activation": "relu"},
    RECURRENT: {"torso": [4], "memory": 4},
    TABULAR: {},
}


@pytest.fixture(scope="module")
def folder(synthetic_run, tmp_path_factory):
    """Three policies with arguments of their own, at two coefficients."""
    root = tmp_path_factory.mktemp("classes")
    for (path, keys), coefficient in itertools.product(POLICIES.items(), (0.3, 0.01)):
        policy = {"_target_": path, **keys}
        synthetic_run(root, seeds=6, score=0.4 + coefficient, policy=policy, **{"learner.entropy_coef": coefficient})
    return root


def shown(comparison):
    """The columns of keys, and their texts in each row."""
    columns, texts = tables.texts(compare_tables.table(comparison))
    names = [column.name for column in columns]
    number = names.index("seeds")
    return names[:number], [row[:number] for row in texts]


# ------------------------------------------------------------------------------------------------------------- columns


def test_arguments_of_a_class_are_no_columns(folder):
    (found,), said = compare.read([folder])
    assert said == []
    assert shown(found) == (
        ["entropy_coef", "policy"],
        [[coefficient, name] for coefficient in ("0.01", "0.3") for name in ("FeedForward", "Recurrent", "Tabular")],
    )
    assert found.determined_keys == {"policy._target_": ["policy.activation", "policy.memory", "policy.torso"]}
    assert "not shown, since it changes with policy: activation, memory, torso" in compare_tables.sentences(found)
    columns = next(csv.reader(io.StringIO(tables.as_csv([compare_tables.table(found)]))))
    assert columns[:4] == ["learner.entropy_coef", "policy._target_", "run", "seeds"]


def test_asked_for_the_class_its_arguments_are_no_hidden_difference(folder):
    (found,), said = compare.read([folder], by=["policy", "entropy_coef"])
    assert (shown(found)[0], said) == (["policy", "entropy_coef"], [])
    (found,), said = compare.read([folder], by=["policy"])
    assert (shown(found)[0], said) == (["policy", "entropy_coef"], [])
    (found,), said = compare.read([folder], by=["entropy_coef"])
    assert (shown(found)[0], said) == (["entropy_coef", "policy"], [])


def test_a_class_stays_where_a_finer_key_decides_it(synthetic_run, tmp_path):
    for torso in ([4], [8]):
        synthetic_run(tmp_path, seeds=2, policy={"_target_": FEED_FORWARD, "torso": torso, "activation": "relu"})
    synthetic_run(tmp_path, seeds=2, policy={"_target_": TABULAR})
    (found,), _ = compare.read([tmp_path])
    assert shown(found) == (
        ["policy", "torso"], [["FeedForward", "[4]"], ["FeedForward", "[8]"], ["Tabular", "–"]],
    )  # fmt: skip
    assert found.determined_keys == {"policy._target_": ["policy.activation"]}


def test_keys_that_change_together_are_one_column(synthetic_run, tmp_path):
    for gamma, coefficient in ((0.9, 0.1), (0.5, 0.3)):
        synthetic_run(tmp_path, seeds=2, **{"learner.gamma": gamma, "learner.entropy_coef": coefficient})
    (found,), said = compare.read([tmp_path])
    assert (shown(found), said) == ((["entropy_coef"], [["0.1"], ["0.3"]]), [])
    assert "not shown, since it changes with entropy_coef: gamma" in compare_tables.sentences(found)
    assert "% not shown, since it changes with entropy_coef: gamma" in tables.as_latex([compare_tables.table(found)])


def test_the_version_of_a_game_decides_nothing(synthetic_run, tmp_path):
    paths = [synthetic_run(tmp_path, seeds=2, **{"learner.gamma": gamma}) for gamma in (0.5, 0.9)]
    file = paths[0] / "run.json"
    text = file.read_text()
    version = text[text.index('"version": "') :].split('"')[3]
    file.write_text(text.replace(version, "tabular-0"))
    (found,), said = compare.read(paths)
    assert shown(found)[0] == ["version", "gamma"]
    assert len(said) == 1 and "rows are of different versions of the game: tabular-0, " in said[0]


# ------------------------------------------------------------------------------------------------ rows that are alike


@pytest.fixture
def copies(folder, tmp_path):
    """Runs that are there twice, so that no key tells the copies apart."""
    for path in sorted(path for path in folder.iterdir() if path.name != "compare")[:2]:
        for place in ("one", "two"):
            shutil.copytree(path, tmp_path / "runs" / f"{path.name[:7]}{place}")
    return tmp_path / "runs"


def test_copies_of_a_run_have_the_names_of_their_folders(copies, tacit, tmp_path):
    (found,), said = compare.read([copies])
    keys, texts = shown(found)
    assert keys[-1] == "run"
    assert sorted(row[-1] for row in texts) == sorted(path.name[:8] for path in copies.iterdir())  # …o and …t
    assert any("a run is there more than once" in sentence for sentence in said)
    assert str(found).splitlines()[0].count("| run |") == 1
    assert not found.tests.contrasts  # they would not say which of the copies
    labels = [label.get_text() for label in drawn(compare_figures.figure(found)).axes[0].get_yticklabels()]
    assert [label.rpartition(", ")[2] for label in labels] == [row.short_name for row in found.rows]
    said = tacit("compare", copies, "--output", tmp_path / "out")
    assert {row.short_name for row in found.rows} <= {cell for row in printed_rows(said.out) for cell in row}


def test_names_are_as_long_as_tells_them_apart(synthetic_run, tmp_path):
    for name in ("abcdef123000", "abcdef124000"):
        synthetic_run(tmp_path, seeds=2, name=name)
    (found,), _ = compare.read([tmp_path])
    assert [row.short_name for row in found.rows] == ["abcdef123", "abcdef124"]


# ----------------------------------------------------------------------------------------------------- names of folders


def test_other_settings_are_another_folder(folder, tmp_path):
    asked = [[], ["policy"], ["learner.entropy_coef"], ["learner.entropy_coef", "policy"], ["policy", "entropy_coef"]]
    made = [compare.write(compare.read([folder], by=by)[0][0], tmp_path, draw=False) for by in asked]
    assert len(set(made)) == 5
    assert len(list((tmp_path / "compare").iterdir())) == 5
    names = "".join(sorted(path.name for path in folder.iterdir() if path.name != "compare"))
    assert made[0].name == hashlib.sha256(names.encode()).hexdigest()[:12]  # what it was before there were settings
    same = compare.write(compare.read([folder], by=["policy._target_"])[0][0], tmp_path, draw=False)
    assert same == made[1]
    one = compare.write(compare.read([folder], where=["policy=Tabular"])[0][0], tmp_path, draw=False)
    assert one not in made


# ---------------------------------------------------------------------------------------------------------- conditions


def test_conditions_as_on_the_command_line(folder):
    for where in (["game=games.tabular.library.lever.make", f"policy={TABULAR}"], ["game=lever", "policy=tabular"]):
        (found,), _ = compare.read([folder], where=where)
        assert [row.keys for row in found.rows] == [{"learner.entropy_coef": 0.01}, {"learner.entropy_coef": 0.3}]


@pytest.mark.parametrize(
    ("where", "says"),
    [
        (["game=mined.Mined"], "no run meets --where game=mined.Mined: game is lever"),
        (["policy=linear"], "no run meets --where policy=linear: policy is FeedForward, Recurrent, Tabular"),
        (
            ["policy=tabular", "entropy_coef=0.1", "game=none"],
            "no run meets --where policy=tabular entropy_coef=0.1: with policy=tabular entropy_coef is 0.01, 0.3",
        ),
        (
            ["policy=tabular", "memory=4"],
            "no run meets --where policy=tabular memory=4: with policy=tabular no run has policy.memory",
        ),
        (["budget.steps=64"], "none of the 6 runs has a key 'budget.steps'; did you mean 'steps'?"),
    ],
)
def test_no_run_meets_a_condition(folder, where, says):
    with pytest.raises(TacitError) as refused:
        compare.read([folder], where=where)
    assert str(refused.value) == says


def test_of_many_values_some_are_named(synthetic_run, tmp_path):
    for number in range(1, 11):
        synthetic_run(tmp_path, seeds=2, state="failed", **{"learner.gamma": number / 10})
    with pytest.raises(TacitError, match=r"gamma is 0\.1, 0\.2, 0\.3, 0\.4, 0\.5, 0\.6, 0\.7, 0\.8, … \(10 values\)$"):
        compare.read([tmp_path], where=["gamma=2"])


# ------------------------------------------------------------------------------------------------------------- figures


SCALE = compare_figures.Scale("mean score", (0.0, 1.0), None)


def summary(own, cross):
    own, cross = (Estimate(mean, 0.01, mean - 0.02, mean + 0.02) for mean in (own, cross))
    return Summary(own, cross, cross, cross)


def overlapping(texts):
    """Neighbours among drawn texts that meet; turned ones by the distance of their parallel lines."""
    there = [text for text in texts if text.get_text()]
    boxes = [text.get_window_extent() for text in there]
    if there and (angle := there[0].get_rotation()) not in (0, 90):
        height = there[0].get_fontsize() / 72 * there[0].get_figure().dpi
        return [
            one for one, two in itertools.pairwise(boxes) if (two.x1 - one.x1) * math.sin(math.radians(angle)) < height
        ]
    return [one for one, two in itertools.pairwise(boxes) if one.overlaps(two)]


def drawn(figure):
    FigureCanvasAgg(figure).draw()  # warnings are errors: no layout collapses
    for axis in figure.axes:
        assert overlapping(axis.get_xticklabels()) == overlapping(axis.get_yticklabels()) == []
    return figure


def test_a_key_of_numbers_is_the_axis_and_a_class_makes_lines(folder):
    figure = drawn(compare_figures.figure(compare.compare(load(folder))))
    assert [axis.get_title() for axis in figure.axes] == ["sampled play", "greedy play"]
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "policy"
    names = ["FeedForward", "Recurrent", "Tabular", "self-play", "cross-play", "optimum"]
    assert [text.get_text() for text in legend.get_texts()] == names
    for axis in figure.axes:
        assert axis.get_legend() is None
        assert axis.get_window_extent().x1 < legend.get_window_extent().x0
        assert axis.get_xlabel() == "entropy coef"
        assert [label.get_text() for label in axis.get_xticklabels()] == ["0.01", "0.3"]
        lines = [container.lines[0] for container in axis.containers]
        assert [(line.get_linestyle(), line.get_marker()) for line in lines] == [("--", "s"), ("-", "o")] * 3
        colors = [line.get_color() for line in lines]
        assert len(set(colors)) == 3 and colors[::2] == colors[1::2]
        for line in lines:
            low, high = line.get_xdata()
            assert low == pytest.approx(0.01, rel=0.15) and high == pytest.approx(0.3, rel=0.15)


def test_each_line_has_its_own_scores():
    scores = [0.1, 0.2, 0.3, 0.4]
    rows = [summary(own + 0.5, own) for own in scores]
    figure = compare_figures.comparison_of_lines(
        [3, 1, 3, 1], ["A", "A", "B", "B"], {"greedy": rows}, "x", "class", SCALE, [""] * 4
    )
    lines = [container.lines[0].get_ydata().tolist() for container in drawn(figure).axes[0].containers]
    assert lines == [[0.7, 0.6], [0.2, 0.1], [0.9, 0.8], [0.4, 0.3]]


def test_categories_are_not_joined(folder):
    (found,), _ = compare.read([folder], where=["entropy_coef=0.3"])
    figure = drawn(compare_figures.figure(found))
    first = figure.axes[0]
    assert [label.get_text() for label in first.get_yticklabels()] == ["FeedForward", "Recurrent", "Tabular"]
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "rows: policy"
    for axis, play in zip(figure.axes, ("sampled", "greedy"), strict=True):
        lines = [container.lines[0] for container in axis.containers]
        assert [(line.get_linestyle(), line.get_marker()) for line in lines] == [("None", "s"), ("None", "o")]
        for line, field in zip(lines, ("self_play", "cross_play"), strict=True):
            assert line.get_xdata().tolist() == [getattr(row.summaries[play], field).mean for row in found.rows]
        assert legend.get_window_extent().y1 < axis.get_window_extent().y0


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 9, 40])
def test_many_categories_with_long_names(number):
    names = [f"SomePolicyWithALongName, {place}, [64, 64, 64], another_value_that_is_long" for place in range(number)]
    figure = compare_figures.comparison_of_categories(names, {"greedy": [summary(0.9, 0.4)] * number}, "what", SCALE)
    assert len(drawn(figure).axes[0].get_yticklabels()) == number


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [
        [0.5, 0.9, 0.99, 0.995, 0.999, 1.0],
        [0.01, 0.0101],
        [10**number for number in range(12)],
        [0.0, *(number + 0.12345 for number in range(8))],
        list(range(1, 50)),
        list(range(50)),
    ],
)
def test_ticks_of_many_numbers_do_not_meet(values):
    rows = {"greedy": [summary(0.9, 0.4)] * len(values)}
    for figure in (
        compare_figures.comparison_along_an_axis(values, rows, "x", SCALE),
        compare_figures.comparison_of_lines(values, ["A"] * len(values), rows, "x", "class", SCALE, [""] * len(values)),
    ):
        labels = [label.get_text() for label in drawn(figure).axes[0].get_xticklabels()]
        assert labels[0] == f"{values[0]:g}"


def test_many_lines_have_colors_of_their_own():
    names = [f"{place}" for place in range(12)]
    figure = compare_figures.comparison_of_lines(
        [0.1, 1.0] * 12, sorted(names * 2), {"greedy": [summary(0.9, 0.4)] * 24}, "x", "class", SCALE, [""] * 24
    )
    colors = {tuple(container.lines[0].get_color()) for container in drawn(figure).axes[0].containers}
    assert len(colors) == 12


def test_more_lines_than_a_panel_shows_are_divided_by_a_key(synthetic_run, tmp_path):
    grid = itertools.product((0.1, 0.3), (0.5, 0.6, 0.7, 0.9), (0.8, 0.85, 0.9, 0.95, 1.0))
    for coefficient, gamma, decay in grid:
        keys = {"learner.entropy_coef": coefficient, "learner.gamma": gamma, "learner.gae_lambda": decay}
        synthetic_run(tmp_path, seeds=2, **keys)
    figure = drawn(compare_figures.figure(compare.compare(load(tmp_path))))
    titles = [f"{play} play, entropy coef {value:g}" for value in (0.1, 0.3) for play in ("sampled", "greedy")]
    assert [axis.get_title() for axis in figure.axes] == titles
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][:4] == ["0.5", "0.6", "0.7", "0.9"]
    assert {axis.get_xlabel() for axis in figure.axes[2:]} == {"gae lambda"}
    for axis in figure.axes:
        assert [container.lines[0].get_xdata().size for container in axis.containers] == [5] * 8
