"""A study: each participant's order, decks and file."""

import json

import numpy as np
import pytest

from experiments.analysis import with_people
from experiments.people import study
from games.errors import TacitError
from games.hanabi import records
from tests.command_line import call


@pytest.fixture
def pilot(tmp_path):
    file = tmp_path / "pilot.yaml"
    file.write_text("agents: [uniform, cautious]\ngame: [game=hanabi_2x3]\ngames: 2\nparticipants: 2\nseed: 9\n")
    return file


def play(sitting):
    while True:
        while not sitting.seat.over:
            sitting.move(sitting.seat.view()["legal"][0])
        if sitting.last:
            return
        sitting.next_game()


@pytest.mark.slow
def test_participants_play_all_agents_in_orders_of_their_own(pilot):
    first = study.session(pilot)
    view = first.seat.view()
    assert (view["asking"], view["practice"]) == (False, False)
    assert "cautious" not in json.dumps(view)
    assert "uniform" not in json.dumps(view)
    # Who begins at the same time is another participant.
    second = study.session(pilot)
    assert second.file.name == "participant-2.json"
    with pytest.raises(TacitError, match=r"all 2 participants of .*pilot\.yaml have begun: --participant N goes on"):
        study.session(pilot)
    play(first)
    assert first.file == pilot.parent / "pilot" / "participant-1.json"
    with pytest.raises(TacitError, match="the games of a study are not shown"):
        first.seat.whole_game()
    with pytest.raises(TacitError, match=r"all 4 games of .*participant-1\.json were played"):
        study.session(pilot, 1)
    second.move(second.seat.view()["legal"][0])
    again = study.session(pilot, 2)
    assert again.resumed
    play(again)
    played = [json.loads((pilot.parent / "pilot" / f"participant-{n}.json").read_text()) for n in (1, 2)]
    for number, games in enumerate(played, 1):
        names = [record["tacit"]["agents"] for record in games]
        order = study.read(pilot).order(number)
        assert names == [["person", ["uniform", "cautious"][place]] for place in order]
        assert sorted(order) == [0, 0, 1, 1]
        assert not records.replay(records.of_replays(games)).refused
    seeds = [record["tacit"]["seed"] for games in played for record in games]
    assert seeds == list(range(9, 17))  # no deck twice
    assert [len(one.scores) for one in with_people.read([pilot.parent / "pilot"])] == [4, 4]


@pytest.mark.slow
def test_a_study_that_was_changed_does_not_go_on(pilot):
    begun = study.session(pilot)
    begun.move(begun.seat.view()["legal"][0])
    pilot.write_text(pilot.read_text() + "play: sampled\n")
    with pytest.raises(TacitError, match=r"game 0 was played with Settings\(.*greedy=True.*not with .*greedy=False"):
        study.session(pilot, 1)


def test_orders_differ_between_participants_and_are_balanced():
    many = study.Study(agents=["a", "b", "c"], games=2, participants=200)
    orders = np.array([many.order(number) for number in range(1, 201)])
    assert (np.sort(orders, axis=1) == [0, 0, 1, 1, 2, 2]).all()
    # Each agent is each game's about 67 times of 200: within five standard errors (33).
    counts = np.array([(orders == agent).sum(axis=0) for agent in range(3)])
    assert (abs(counts - 200 / 3) < 33).all()
    assert many.order(3) == orders[2].tolist()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("agents: [uniform", "is no YAML: while parsing a flow sequence"),
        ("- uniform", "is to hold KEY: VALUE lines"),
        ("games: 2", "lacks agents, a list such as"),
        ("agents: uniform", "study agents must be a list of texts, not 'uniform'"),
        ("agents: []", "a list of at least one agent, none of them twice"),
        ("agents: [uniform, uniform]", "a list of at least one agent, none of them twice"),
        ("agents: [uniform]\ngams: 3", "study has no key 'gams'; did you mean 'games'?"),
        ("agents: [uniform]\ngames: 0", "study games must be a whole number of at least 1, not 0"),
        ("agents: [uniform]\nparticipants: many", "study participants must be a whole number, not 'many'"),
        ("agents: [uniform]\nplay: best", "study play must be one of greedy, sampled, not 'best'"),
        ("agents: [uniform]\nseed: -1", "study seed must be a whole number from 0 to 2147483646, not -1"),
        ("agents: [uniform]", "uniform needs a game"),
        ("agents: [uniform]\ngame: [game=hanabi_2x3]\nseat: 2", "has the seats 0 to 1, not 2"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path, text, sentence):
    file = tmp_path / "study.yaml"
    file.write_text(text)
    told = call("play", "--study", file)
    assert told.status == 2
    assert sentence in told.err
    assert len(told.err.splitlines()) == 1


def test_what_a_study_says_is_not_said_twice(pilot, tmp_path):
    for words, sentence in (
        (["--study", pilot, "--seat", "1"], "--study says what is played: leave out --seat"),
        (["--study", pilot, "uniform"], "--study says what is played: leave out AGENT"),
        (["--participant", "1"], "--participant belongs to a --study"),
        (["--study", pilot, "--participant", "3"], "has the participants 1 to 2, not 3"),
        (["--study", tmp_path / "none.yaml"], "none.yaml cannot be read: No such file or directory"),
    ):
        told = call("play", *words)
        assert (told.status, told.out) == (2, "")
        assert sentence in told.err
        assert len(told.err.splitlines()) == 1
