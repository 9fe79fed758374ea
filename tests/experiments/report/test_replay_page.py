"""The replay viewer in a real browser, over games that rule-based partners played."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import runs
from experiments.configuration.config import CrossPlayConfig
from experiments.report.build import build
from experiments.report.games import record
from games import hanabi
from games.errors import TacitError
from games.tabular.library.dectiger import make as dectiger
from marl.agent import Agent, Kind
from marl.crossplay import CrossPlay, crossplay, seatings
from marl.partners import partners
from marl.policies.uniform import Uniform

STATIC = Path(__file__).parents[3] / "experiments/report/static"


def finished_run(path, game, agents):
    """A run whose cross-play has all pairs of its agents; nobody looks at the scores, which are 0."""
    path.mkdir()
    cells = seatings(len(agents), 2, "all")
    nought = np.zeros(len(cells))
    result = CrossPlay(tuple(agent.label for agent in agents), cells, nought, nought, nought + 2, nought, nought)
    config = CrossPlayConfig(games=2, seed=4)
    runs.write_crossplay(path, {"sampled": result, "greedy": result}, dataclasses.asdict(config))
    return runs.Run(path, None, game, agents)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """Two games of two seatings of the full game."""
    game = hanabi.make()
    run = finished_run(tmp_path_factory.mktemp("runs") / "full", game, partners(game, ["piers", "cautious"]))
    return record(run, [(1, 0), (0, 0)], games=2, greedy=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory, full):
    """A report with these games, one of a small board and one of dec-tiger, as `tacit report` writes them."""
    site = tmp_path_factory.mktemp("report") / "site"
    shutil.copytree(STATIC, site)
    small_game, tiger_game = hanabi.make("Hanabi-2x3"), dectiger(horizon=3)
    coins = [Agent(Kind(Uniform(), "last", True), (), f"coin {n}") for n in range(2)]
    small = finished_run(site / "small", small_game, [Agent(Kind(Uniform(), "hle", True), (), "coin")])
    tiger = finished_run(site / "tiger", tiger_game, coins)
    games = {
        "full": full,
        "small": record(small, [(0, 0)], games=1, greedy=False),
        "tiger": record(tiger, [(0, 1)], games=1, greedy=False),
    }
    for name, own in games.items():
        files = []
        for game in own:
            files.append(f"games/{name}/{'-'.join(str(seat['agent']) for seat in game['seats'])}-{game['number']}")
            (site / files[-1]).parent.mkdir(parents=True, exist_ok=True)
            (site / f"{files[-1]}.js").write_text(f"tacitGame({json.dumps(game)});")
        (site / "data/runs").mkdir(parents=True, exist_ok=True)
        page = {"games": [{"file": file} for file in files]}
        (site / f"data/runs/{name}.js").write_text(f"report.received({json.dumps(name)}, {json.dumps(page)});")
    return site


def opened(page, site, game):
    page.goto(f"{(site / 'replay.html').as_uri()}#{game}")
    page.locator("#content > *").first.wait_for()
    return page


@pytest.mark.slow
def test_records_are_the_games_of_the_runs_cross_play(tmp_path):
    game = hanabi.make("Hanabi-2x3")
    coins = [Agent(Kind(Uniform(), "hle", True), (), f"coin {n}") for n in range(2)]
    run = finished_run(tmp_path / "coins", game, coins)
    result = crossplay(game, coins, games=2, greedy=False, key=jax.random.key(4))
    games = record(run, [(1, 0), (0, 0)], games=2, greedy=False)
    assert [[seat["agent"] for seat in game["seats"]] for game in games] == [[1, 0]] * 2 + [[0, 0]] * 2
    for first, cell in [(0, 2), (2, 0)]:
        pair = games[first : first + 2]
        assert [(game["cell"], game["number"], game["seed"]) for game in pair] == [(cell, 0, 4), (cell, 1, 4)]
        assert np.mean([game["score"] for game in pair]) == result.mean[cell]
        assert np.mean([len(game["steps"]) for game in pair]) == result.length[cell]
        assert sum(game["bombed"] for game in pair) == result.bombed[cell]
    assert len({len(game["steps"]) for game in games}) > 1


@pytest.mark.slow
def test_the_record_says_what_happened(full):
    games = full
    for game in games:
        assert json.loads(json.dumps(game)) == game
        assert (game["format"], game["kind"], game["play"], game["score_range"]) == (1, "hanabi", "sampled", [0, 25])
        assert game["board"] == {
            "colors": "RYGWB", "ranks": 5, "hand_size": 5, "information_tokens": 8, "life_tokens": 3
        }  # fmt: skip
        assert len(game["states"]) == len(game["steps"]) + 1
        assert game["states"][-1]["score"] == (0 if game["bombed"] else sum(game["states"][-1]["fireworks"]))
        assert game["score"] == game["states"][-1]["score"] == sum(step["reward"] for step in game["steps"])
        assert len(game["hanab_live"]["replay"]["actions"]) == len(game["steps"])
        for state, step in zip(game["states"], game["steps"], strict=False):
            (move,) = step["moves"]
            assert move["player"] == state["player"]
            chances = dict(move["probabilities"])
            assert chances[move["action"]] > 0 and sum(chances.values()) == pytest.approx(1, abs=1e-3)
    assert games[0]["states"][0]["hands"][0][0][1:] == ["RYGWB", "12345", ""]  # nothing is known yet
    assert games[0]["actions"][1][5] == "play slot 0" and games[0]["actions"][1][10] == "hint R to player 0"


def test_the_games_of_three_players_with_weights_of_their_own(page, synthetic_run, tmp_path):
    changes = {"learner.share_parameters": False}
    synthetic_run(tmp_path / "runs", seeds=3, players=3, name="three", **changes)
    index = build([tmp_path / "runs"], tmp_path / "report", games=1)
    page.goto((index.parent / "run.html").as_uri() + "#run=three&pair=0-0")
    links = page.locator("li a[href^='replay.html']")
    links.first.wait_for()
    assert links.count() == 4  # seed 0 first, seed 1 before or after seed 2; sampled and greedy
    links.last.click()
    page.locator("#content > *").first.wait_for()
    file = page.url.partition("#")[2]
    text = (index.parent / f"{file}.js").read_text()
    game = json.loads(text[len("tacitGame(") : text.rindex(")")])
    assert (game["play"], [seat["agent"] for seat in game["seats"]]) == ("greedy", [0, 2, 1])
    assert [move["player"] for move in game["steps"][0]["moves"]] == [0, 1, 2]
    assert page.locator("#run").get_attribute("href") == "run.html#run=three&play=greedy&pair=0-0"
    assert len(list((index.parent / "games/three").iterdir())) == 18  # 3 alone and 6 orders of three, two plays


def test_refusals_of_records(tmp_path):
    game = dectiger(horizon=1)
    coins = [Agent(Kind(Uniform(), "last", True), (), f"coin {n}") for n in range(2)]
    run = finished_run(tmp_path / "one", game, coins)
    with pytest.raises(TacitError, match=r"^the cross-play of run one has no seating \(0, 2\)$"):
        record(run, [(0, 2)], games=1, greedy=True)
    assert record(run, [], games=1, greedy=True) == []


def test_steps_by_buttons_keys_and_slider(page, site, full):
    game = full[0]
    opened(page, site, "games/full/1-0-0")
    last = len(game["steps"])
    where = page.locator("#where")
    assert where.inner_text() == f"step 1 of {last}"
    assert page.locator("h1").inner_text() == f"cautious and piers: score {game['score']:g} of 25"
    page.get_by_role("button", name="Step on").click()
    page.keyboard.press("ArrowRight")
    assert where.inner_text() == f"step 3 of {last}"
    assert game["states"][2]["last_move"] in page.locator("#happened").inner_text()
    page.keyboard.press("End")
    assert where.inner_text() == f"end, after {last} steps"
    assert "The game is over" in page.locator("#happened").inner_text()
    page.keyboard.press("ArrowRight")  # nowhere further to go
    page.get_by_role("button", name="Step back").click()
    assert where.inner_text() == f"step {last} of {last}"
    page.get_by_label("Step", exact=True).fill("9")
    assert where.inner_text() == f"step 10 of {last}"
    assert page.locator(".moves [aria-current]").inner_text().split("\n")[0].startswith("10")
    page.locator(".moves button").nth(3).click()
    assert where.inner_text() == f"step 4 of {last}"
    page.keyboard.press("Home")
    assert where.inner_text() == f"step 1 of {last}"
    page.locator("body").click(position={"x": 5, "y": 5})
    names = set()
    for _ in range(12):  # everything can be reached with the keyboard, and what has the focus is seen
        page.keyboard.press("Tab")
        names.add(page.evaluate("document.activeElement.dataset.leap || document.activeElement.type"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert {"first", "back", "on", "last", "range"} <= names


def test_the_table_shows_the_state(page, site, full):
    states = full[0]["states"]
    step = next(
        t for t in range(20, len(states)) if any("c" in held[3] for hand in states[t]["hands"] for held in hand)
    )
    state = states[step]
    opened(page, site, "games/full/1-0-0")
    page.get_by_label("Step", exact=True).fill(str(step))
    shown = [page.locator(f".hand[data-player='{player}'] .card").all_inner_texts() for player in range(2)]
    assert [["".join(text.split()) for text in hand] for hand in shown] == [
        [held[0] for held in hand] for hand in state["hands"]
    ]
    assert page.locator(".amount").all_inner_texts() == [
        f"{state['information_tokens']} of 8", f"{state['life_tokens']} of 3", str(state["cards_left"])
    ]  # fmt: skip
    assert sorted(page.locator(".discards .chip").all_inner_texts()) == sorted(state["discards"])
    heights = [text.split()[1] for text in page.locator(".fireworks .card").all_inner_texts()]
    assert heights == [str(height or "–") for height in state["fireworks"]]
    hinted = sum("c" in held[3] for hand in state["hands"] for held in hand)
    assert page.locator(".dot.hinted").count() >= hinted > 0


def test_a_player_does_not_see_the_own_cards(page, site, full):
    opened(page, site, "games/full/1-0-0")
    page.get_by_label("Step", exact=True).fill("12")
    state = full[0]["states"][12]
    for player in range(2):
        page.get_by_role("button", name=f"player {player} sees").click()
        page.keyboard.press("ArrowRight")  # arrows still step
        page.keyboard.press("ArrowLeft")
        own = page.locator(f".hand[data-player='{player}'] .card").all_inner_texts()
        for text, (_, colors, ranks, _) in zip(own, state["hands"][player], strict=True):
            assert text.split() == [colors if len(colors) == 1 else "?", ranks if len(ranks) == 1 else "?"]
        other = page.locator(f".hand[data-player='{1 - player}'] .card").all_inner_texts()
        assert ["".join(text.split()) for text in other] == [held[0] for held in state["hands"][1 - player]]
        labels = page.locator(f".hand[data-player='{player}'] li").evaluate_all(
            "cards => cards.map(card => card.getAttribute('aria-label'))"
        )
        assert all("unknown card" in label and "can be" in label for label in labels)


def test_probabilities_of_the_policy(page, site, full):
    game = full[0]
    opened(page, site, "games/full/1-0-0")
    step = max(range(len(game["steps"])), key=lambda t: len(game["steps"][t]["moves"][0]["probabilities"]))
    page.get_by_label("Step", exact=True).fill(str(step))
    (move,) = game["steps"][step]["moves"]
    chosen = page.locator(".bars .chosen")
    assert chosen.count() == 1
    p = dict(move["probabilities"])[move["action"]]
    action = game["actions"][move["player"]][move["action"]]
    assert chosen.get_attribute("aria-label") == f"{action}: {100 * p:.1f} %, chosen"
    track, fill = (chosen.locator(f".{name}").bounding_box()["width"] for name in ("track", "fill"))
    assert fill == pytest.approx(p * track, abs=2)
    assert page.locator(".bars li").count() == len(move["probabilities"]) > 1


def test_where_a_game_leads(page, site, full):
    opened(page, site, "games/full/1-0-0")
    live = page.get_by_role("link", name="Open on hanab.live")
    assert live.get_attribute("href") == full[0]["hanab_live"]["url"]
    assert (live.get_attribute("target"), live.get_attribute("rel")) == ("_blank", "noopener")
    with page.expect_download() as downloaded:
        page.get_by_role("button", name="Download this game").click()
    assert downloaded.value.suggested_filename == "full-1-0-0.json"
    assert json.loads(Path(downloaded.value.path()).read_text()) == full[0]
    with page.expect_download() as downloaded:
        page.get_by_role("button", name="Download for hanab.live").click()
    assert json.loads(Path(downloaded.value.path()).read_text()) == full[0]["hanab_live"]["replay"]
    assert page.locator("#run").get_attribute("href") == "run.html#run=full&play=sampled&pair=1-0"
    assert page.get_by_role("link", name="previous game").count() == 0
    page.get_by_role("link", name="next game").click()
    page.get_by_text(f"game 1 of its pair (cross-play seed 4), {len(full[1]['steps'])} steps").wait_for()
    page.get_by_role("link", name="previous game").click()
    page.get_by_text("game 0 of its pair").wait_for()


def test_other_boards_and_games(page, site):
    opened(page, site, "games/small/0-0-0")
    assert "only boards of 5 colors x 5 ranks can be exported, not 2 x 3" in page.locator(".downloads").inner_text()
    assert page.locator(".hand .card").count() == 4
    page.goto(f"{(site / 'replay.html').as_uri()}#games/tiger/0-1-0")
    page.get_by_text("hidden state").wait_for()
    assert page.locator(".bars .chosen").count() == 2  # both act at once
    assert page.get_by_role("button", name="all cards").count() == 0
    page.keyboard.press("ArrowRight")
    assert "reward" in page.locator("#happened").inner_text()
    assert "hear-" in page.locator(".board").inner_text()


@pytest.mark.parametrize("game", ["games/full/1-0-0", "games/small/0-0-0", "games/tiger/0-1-0"])
def test_a_narrow_window_does_not_scroll_sideways(page, site, game):
    page.set_viewport_size({"width": 400, "height": 800})
    opened(page, site, game)
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.set_viewport_size({"width": 320, "height": 600})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_missing_game_says_so(browser, site):
    context = browser.new_context()  # the browser itself reports the missing file as an error
    page = context.new_page()
    said = {
        "games/full/9-9-0": "There is no game “games/full/9-9-0” in this report.",
        "games/../secret": "“games/../secret” is not the address of a game.",
        "": "No game is named in the address.",
    }
    for game, sentence in said.items():
        page.goto("about:blank")
        opened(page, site, game)
        assert sentence in page.get_by_role("alert").inner_text()
    context.close()
