"""A person's seat: what it shows, what it refuses, and that a game is its settings and its actions."""

import json

import jax
import numpy as np
import pytest

from experiments.people.seat import Seat, settings_of
from games.errors import TacitError
from games.hanabi import records
from games.hanabi.replay import full_deck

pytestmark = pytest.mark.slow


def play(seat, choose=lambda seat: seat.view()["legal"][0]):
    """The views before each move of the person, to the end."""
    views = []
    while not seat.over:
        views.append(seat.view())
        seat.move(choose(seat))
    return views


def test_the_agent_does_what_its_memory_says(board, make_seat):
    seat = make_seat(person=1)
    play(seat, lambda seat: seat.view()["legal"][-1])
    state = board.init_from_deck(seat.deck)
    for step, action in enumerate(seat.actions):
        legal = np.flatnonzero(board.legal(state, step % 2)).tolist()
        assert action == (legal[-1] if step % 2 else legal[step // 2 % len(legal)])
        joint = np.full(2, board.noop, np.int32)
        joint[step % 2] = action
        state = board.checked_step(state, joint, key=jax.random.key(0))[0]
    assert bool(state.ended)
    assert seat.score == int(board.score(state))


def test_nothing_that_is_shown_depends_on_hidden_cards(make_seat):
    """The own hand and the deck hold other cards, and what the person reads is the same to the letter."""
    seat = make_seat()
    for _ in range(5):
        shown, turn = json.dumps(seat.view()), seat._turns[-1]
        state = turn.state._replace(cards=turn.state.cards.copy(), deck=np.full_like(turn.state.deck, 9))
        for cards in ([0, 8], [1, 2], [10, 9]):
            state.cards[0] = cards
            seat._turns[-1] = turn._replace(state=state)
            assert json.dumps(seat.view()) == shown
        state.cards[1] = [2, 2]  # the other hand is seen
        assert json.dumps(seat.view()) != shown
        seat._turns[-1] = turn
        assert [card for card, *_ in seat.view()["state"]["hands"][0]] == [None, None]
        seat.move(seat.view()["legal"][-1])


def test_a_record_is_resumed_where_it_was_left(board, counts, make_seat):
    whole, seat = make_seat(), make_seat(practice=True)
    views = play(whole)
    for view in views[:3]:
        assert seat.view() | {"practice": False} == view
        seat.move(view["legal"][0])
    seat.advice()
    seat.undo()
    record = json.loads(json.dumps(seat.record(["person", "counts"])))
    again = Seat.of_record(board, [counts] * 2, record)
    assert again.view() == seat.view()
    assert (again.asked, again.undone) == (1, 1)
    assert "score" not in record
    other = full_deck(board, jax.random.key(6)).tolist()
    cards = [{"suitIndex": card // 3, "rank": card % 3 + 1} for card in other]
    with pytest.raises(TacitError, match="the deck of the game is not that of its seed, 5"):
        Seat.of_record(board, [counts] * 2, record | {"deck": cards, "actions": []})
    assert record["tacit"] == {
        "person": 0, "seed": 5, "greedy": True, "practice": True, "asking": True, "agents": ["person", "counts"],
        "undone": 1, "asked": 1,
    }  # fmt: skip
    play(again)
    assert again.actions == whole.actions


def test_a_record_is_read_as_a_game(board, make_seat):
    seat = make_seat()
    play(seat)
    record = seat.record(["person", "counts"])
    recorded = records.of_replays([record])
    replayed = records.replay(recorded)
    assert recorded.game == board
    assert not replayed.refused
    assert replayed.scores.tolist() == recorded.scores.tolist() == [seat.score]
    assert recorded.decks[0].tolist() == full_deck(board, jax.random.key(5)).tolist()


def test_moves_are_undone_in_practice(make_seat):
    seat = make_seat(practice=True, person=1)
    first = seat.view()
    with pytest.raises(TacitError, match="there is no move to undo"):
        seat.undo()
    second = first["legal"][1]
    seat.move(second)
    after = seat.view()
    seat.undo()
    assert seat.view() == first
    seat.move(second)
    assert seat.view() == after
    with pytest.raises(TacitError, match="in practice only"):
        make_seat().undo()


def test_what_is_not_allowed_changes_nothing(make_seat):
    seat = make_seat(asking=False)
    shown = seat.view()
    for action in (0, -1, 99, None, "3", 3.0, True):  # discarding is not legal with all tokens
        with pytest.raises(TacitError, match=r"the action .* is not legal now"):
            seat.move(action)
    with pytest.raises(TacitError, match="the agent is not asked in this game"):
        seat.advice()
    with pytest.raises(TacitError, match="the whole game is shown when it is over"):
        seat.whole_game()
    assert seat.view() == shown
    assert [one["label"] for one in shown["seats"]] == ["you", "agent"]  # names are hidden where asking is
    play(seat)
    with pytest.raises(TacitError, match="the game is over"):
        seat.move(0)
    with pytest.raises(TacitError, match="has the seats 0 to 1, not 2"):
        make_seat(person=2)
    own = make_seat().record(["person", "counts"])["tacit"]
    for wrong in ({"seed": "5"}, {"greedy": 1}, {"undone": "x"}, {"asked": None}):
        with pytest.raises(TacitError, match="a game that was played here has person, seed"):
            settings_of({"tacit": own | wrong})
    with pytest.raises(TacitError, match="the seed of a game must be a whole number from 0 to 2147483647"):
        settings_of({"tacit": own | {"seed": 2**32 + 5}})


def test_the_whole_game_has_probabilities_and_gaps(make_seat):
    seat = make_seat()
    advised = []

    def choose(seat):
        advised.append(seat.advice())
        return max(advised[-1], key=lambda one: one[1])[0]

    play(seat, choose)
    whole = seat.whole_game()
    assert whole["score"] == seat.score
    assert len(whole["steps"]) == seat.step
    assert len(whole["states"]) == seat.step + 1
    for step, given in zip(whole["steps"][::2], advised, strict=True):
        (move,) = step["moves"]
        assert move["probabilities"] == [[action, p] for action, p in given if p > 0]
        assert [move["action"], 1.0] in move["probabilities"]
    plays = [[], []]
    for step, after in zip(whole["steps"], whole["states"][1:], strict=True):
        (move,) = step["moves"]
        if "failure" in move:
            plays[move["player"]].append(move["failure"] - ("did not fit" in after["last_move"]))
    assert sum(map(len, plays)) > 2
    for told, own in zip(whole["convention_gaps"], plays, strict=True):
        assert told["plays"] == len(own)
        assert told["gap"] == (pytest.approx(np.mean(own), abs=2e-6) if own else None)
