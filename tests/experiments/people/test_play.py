"""`tacit play`: the agents that are named, games in the terminal, and a page in a real browser."""

import contextlib
import json
import re
import signal
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from experiments.people import play, terminal
from experiments.people.seat import Settings
from experiments.people.sitting import Sitting
from games.errors import TacitError
from games.hanabi import make, records
from tests.command_line import call

SETTINGS = Settings(person=0, seed=0, greedy=True, practice=False)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, make_run):
    """A run on a small board that is finished, but learned nothing; its seeds are 0 and 1."""
    board = {"_target_": "games.hanabi.make", "preset": "Hanabi-2x3"}
    return make_run(tmp_path_factory.mktemp("trained"), {"game": board})


@pytest.mark.slow
def test_agents_are_named(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = play.sitting([f"{trained}:1"], SETTINGS)
    assert [agent.label for agent in table.seat.agents] == [f"{trained.name[:6]}/1"] * 2
    assert table.file.as_posix() == f"played/{trained.name}_1-2p-2x3-seat0.json"
    assert [one["label"] for one in table.seat.view()["seats"]] == ["you", f"{trained.name[:6]}/1"]
    three = ["cautious", "uniform", "game=hanabi_2x3", "players=3"]
    table = play.sitting(three, SETTINGS._replace(person=1), tmp_path / "x.json")
    assert [agent.label for agent in table.seat.agents] == ["cautious", "cautious", "uniform"]
    table.advice()
    (record,) = json.loads((tmp_path / "x.json").read_text())
    assert record["tacit"]["agents"] == ["cautious", "person", "uniform"]


def test_a_file_is_named_after_the_board():
    named = [play.default_name(game, [], 1) for game in map(make, ("Hanabi-3x3", "Hanabi-Mini"))]
    assert named == ["-2p-3x3-seat1.json", "-2p-3x3-copies221-seat1.json"]


@pytest.mark.slow
def test_what_cannot_be_played_is_refused_in_one_sentence(trained, finished_runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.safetensors").write_text("x")
    for words, sentence in (
        ([], "play needs an AGENT"),
        (["piers"], "piers needs a game: tacit play piers game=hanabi_2x3"),
        (["pierss", "game=hanabi_2x3"], "there is no partner 'pierss'; did you mean 'piers'?"),
        (["piers", "game=lever"], "a person plays Hanabi, and this is the game lever"),
        (["piers", "game=hanabi_2x3", "player=3"], "player"),
        ([str(trained), "game=hanabi_2x3"], "a run brings its own game: leave out game=hanabi_2x3"),
        ([f"{trained}:7"], "has the seeds 0 to 1, not 7"),
        ([str(trained), str(trained)], "a game of 2 needs one agent, or 1 for the other seats, not 2"),
        ([str(trained), str(finished_runs[0])], "the runs are of different games"),
        ([str(finished_runs[0])], "a person plays Hanabi, and this is the game lever"),
        (["runs/nothing"], "there is no run runs/nothing"),
        (["nothing:3"], "there is no run nothing:3"),
        (["piers", "game=hanabi_2x3", "--seed", str(2**32)], "--seed must be a whole number from 0 to"),
        (["broken.safetensors"], "broken.safetensors is missing, cut short or damaged"),
        (["piers", "game=hanabi_2x3", "--seat", "2"], "has the seats 0 to 1, not 2"),
        (["piers", "game=hanabi_2x3", "--seed", "-1"], "--seed"),
        (["piers", "game=hanabi_2x3", "--no-open", "--port", "-1"], "port -1 cannot be used"),
        (["piers", "game=hanabi_2x3", "--output", "broken.safetensors"], "holds no games that were played here"),
    ):
        status, out, err = call("play", *words)
        assert (status, out) == (2, ""), words
        assert sentence in err
        assert len(err.splitlines()) == 1
    assert (tmp_path / "broken.safetensors").read_text() == "x"
    assert [file.name for file in tmp_path.iterdir()] == ["broken.safetensors"]


@pytest.mark.slow
def test_a_game_in_the_terminal(tmp_path, planned, capsys):
    sitting = Sitting(tmp_path / "games.json", lambda number: planned(0) if number == 0 else None)
    lines = iter(["?", "[/x]", "99", "3", "u", "n", "3"])
    asked = []

    def read(prompt):
        asked.append(prompt)
        return next(lines, None) or str(sitting.seat.view()["legal"][0])

    terminal.play(sitting, read)
    out = " ".join(capsys.readouterr().out.split())
    assert set(asked) == {"your move> "}
    assert "counts in your seat: 100.0% play slot 0" in out
    assert "“[/x]” is none of these: a number makes a move" in out
    assert "the action 99 is not legal now" in out
    assert "the next game is dealt when this one is over" in out
    assert out.endswith(f"the score is {sitting.seat.score} of 6 That was the last game.")
    assert sitting.seat.undone == sitting.seat.asked == 1
    # What is shown of the own hand is what hints say, as at the start:
    assert "player 0, you ?? ?? RY 123 RY 123 player 1, counts" in out


@pytest.mark.slow
def test_leaving_the_terminal_keeps_the_game(tmp_path, planned, capsys):
    file = tmp_path / "games.json"
    lines = iter(["3", "q"])
    terminal.play(Sitting(file, planned), lambda prompt: next(lines))
    left = Sitting(file, planned)
    assert (left.resumed, left.seat.step) == (True, 2)

    def closed(prompt):
        raise EOFError

    terminal.play(left, closed)
    with contextlib.suppress(TacitError):
        assert records.read(file).lengths.tolist() == [2]


# ------------------------------------------------------------------------------------------------- in a real browser


@pytest.fixture
def start(tmp_path):
    """start(*words) -> the process and the address of its page."""
    started = []
    # Where these tests run in a shell's background, SIGINT is ignored, also by what they start.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)

    def start(*words):
        process = subprocess.Popen(
            [sys.executable, "-m", "tacit", "play", *words, "--no-open"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=tmp_path,
        )
        started.append(process)
        (address,) = re.findall(r"http://\S+", process.stdout.readline())
        return process, address

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
    signal.signal(signal.SIGINT, former)


def moves_made(page):
    return page.locator(".told li").count()


def move_by_keys(page):
    """Make the move that the arrows reach first, by Enter."""
    before = moves_made(page)
    while not page.evaluate("document.activeElement.matches('[data-action]')"):
        page.keyboard.press("Tab")
    while not page.evaluate("document.activeElement.matches('.board [data-action]')"):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(".told li")).not_to_have_count(before)


def test_a_whole_game_by_keyboard(page, start, tmp_path):
    process, address = start("cautious", "game=hanabi_2x3", "--practice")
    page.goto(address)
    page.locator(".hand").first.wait_for()
    assert page.locator("h1").inner_text() == "You are player 0, with cautious"
    assert page.locator(".hand[data-player='0'] .card.back").count() == 2
    page.get_by_role("button", name="What would cautious do?").click()
    page.locator(".policy .bars li").first.wait_for()
    for _ in range(60):
        if page.locator("[data-action=whole]").count():
            break
        move_by_keys(page)
    assert "The game is over" in page.locator("#news").inner_text()
    assert page.locator(".card.back").count() == 0
    page.set_viewport_size({"width": 380, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    page.locator("[data-action=whole]").click()
    page.locator(".steps").wait_for()
    assert "Convention gap in this game: player 0" in page.locator("#gaps").inner_text()
    assert "What cautious would have done in this seat:" in page.locator(".policy").inner_text()
    page.get_by_role("link", name="Back to the table").click()
    page.get_by_role("button", name="Next game").click()
    expect(page.locator("#about")).to_contain_text("game 2")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    (file,) = (tmp_path / "played").iterdir()
    recorded = records.read(file)
    assert records.replay(recorded).scores.tolist() == recorded.scores.tolist()


def test_two_tabs_a_reload_and_a_killed_server(page, start, tmp_path):
    process, address = start("uniform", "game=hanabi_2x3")
    other = page.context.new_page()
    for tab in (page, other):
        tab.goto(address)
        tab.locator(".hand").first.wait_for()
    page.locator(".hints button:enabled").first.press("Enter")  # which costs no life
    expect(page.locator(".told li")).to_have_count(2)
    page.reload()
    page.locator(".told li").first.wait_for()
    assert moves_made(page) == 2
    stale = other.locator("[data-action]:enabled[aria-label]").first
    stale.click()
    other.get_by_role("alert").filter(has_text="The game has moved on: this was for an earlier position").wait_for()
    expect(other.locator(".told li")).to_have_count(2)
    (file,) = (tmp_path / "played").iterdir()
    kept = file.read_bytes()
    process.kill()
    process.wait()
    page.locator(".board [data-action]:enabled").first.press("Enter")
    page.get_by_role("alert").filter(
        has_text="The program behind this page has ended. The game is saved in "
    ).wait_for()
    assert any("ERR_CONNECTION_REFUSED" in words for words in page.wrong)
    page.wrong.clear()
    assert file.read_bytes() == kept
    _, address = start("uniform", "game=hanabi_2x3")
    page.goto(address)
    page.locator(".told li").first.wait_for()
    assert moves_made(page) == 2
