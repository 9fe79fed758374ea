"""Recorded games: read from both formats, replayed by the rules, refused one by one."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from games.errors import TacitError
from games.hanabi import make, records
from games.hanabi.replay import drawn_deck, of_replay, to_hanab_live, to_replay

GAME = Path(__file__).parent / "recorded" / "hanabidata-4037579.json"
PEOPLE = Path(__file__).parents[4] / "shared" / "data" / "ah2ac2_3p_validation.safetensors"


@pytest.fixture(scope="module")
def played(random_games):
    """Games of three players by the rules: for each its deck, actions and score."""
    game = make(players=3)
    games = random_games(game, 3, 4, [0.0, 20.0])
    return game, [(drawn_deck(game, state), actions, int(game.score(state))) for _, state, actions, _ in games]


def as_replays(played):
    game, games = played
    return [to_hanab_live(game, deck, actions) for deck, actions, _ in games]


def as_ah2ac2(played):
    """The same games as the arrays of AH2AC2."""
    game, games = played
    decks = [[(card["suitIndex"], card["rank"] - 1) for card in replay["deck"]] for replay in as_replays(played)]
    longest = max(len(actions) for _, actions, _ in games)
    joint = np.full((len(games), longest, game.players), game.noop, np.int32)
    for row, (_, actions, _) in zip(joint, games, strict=True):
        for turn, action in enumerate(actions):
            row[turn, turn % game.players] = action
    return {
        "decks": np.array(decks, np.int32),
        "actions": joint,
        "num_actions": np.array([len(actions) for _, actions, _ in games], np.int32),
        "scores": np.array([score for *_, score in games], np.int32),
        "num_players": np.array(game.players, np.int32),
    }


@pytest.mark.slow
def test_reading_a_replay_is_the_inverse_of_writing_it(played):
    game, games = played
    for replay, (_, actions, _) in zip(as_replays(played), games, strict=True):
        board, deck, again = of_replay(json.loads(json.dumps(replay)))
        assert board == game
        assert again == actions.tolist()
        assert to_hanab_live(board, deck, again, names=replay["players"]) == replay


@pytest.mark.slow
def test_games_on_boards_that_the_site_lacks_are_written_and_read(random_games):
    for game in (make("Hanabi-Mini"), make("Hanabi-3x3", players=3), make(hand_size=4, max_life_tokens=1)):
        for _, state, actions, _ in random_games(game, 3, 2, [0.0]):
            replay = json.loads(json.dumps(to_replay(game, drawn_deck(game, state), actions)))
            board, deck, again = of_replay(replay)
            assert (board, again) == (game, actions.tolist())
            assert to_replay(board, deck, again) == replay
            assert records.replay(records.of_replays(replay)).scores.tolist() == [int(game.score(state))]
    for sizes, sentence in (
        ({"colors": 2}, "the board of a replay is an object with colors, ranks, hand_size"),
        ([], "the board of a replay is an object with colors"),
        ({**replay["board"], "colors": 9}, "hanabi colors must be"),
        ({**replay["board"], "ranks": 3}, "there is none of suit|the deck has 50 cards"),
        ({**replay["board"], "copies": [3, 2, 2, 2, 2]}, "the deck has 50 cards, and 55 are expected"),
        ({**replay["board"], "copies": [3, 2]}, "hanabi copies must be 5 whole number"),
        ({**replay["board"], "copies": None}, "hanabi copies must be a list of a whole number for each rank, not None"),
        ({**replay["board"], "suits": 5}, "the board of a replay is an object with colors"),
    ):
        with pytest.raises(TacitError, match=sentence):
            of_replay({**replay, "board": sizes})


@pytest.mark.slow
def test_both_formats_are_the_same_games(played, tmp_path):
    (tmp_path / "games.json").write_text(json.dumps(as_replays(played)))
    (tmp_path / "games.safetensors").write_bytes(save(as_ah2ac2(played)))
    one, other = (records.read(tmp_path / f"games.{suffix}") for suffix in ("json", "safetensors"))
    for name in ("decks", "actions", "lengths"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.game == other.game == played[0]
    assert one.scores.tolist() == [-1] * 4
    outcome = records.replay(other)
    assert outcome.refused == []
    assert outcome.scores.tolist() == other.scores.tolist() == [score for *_, score in played[1]]
    assert outcome.ended.all()


def test_a_game_of_people_has_its_score_and_no_names():
    recorded = records.read(GAME)
    outcome = records.replay(recorded)
    assert recorded.game == make(players=2)
    assert recorded.lengths.tolist() == [74]
    assert outcome.scores.tolist() == recorded.scores.tolist() == [15]
    assert outcome.ended.tolist() == [True]


@pytest.mark.slow
@pytest.mark.skipif(not PEOPLE.exists(), reason="AH2AC2's file of 221 games is not here (its licence is not stated)")
def test_221_games_of_people():
    recorded = records.read(PEOPLE)
    outcome = records.replay(recorded)
    assert outcome.refused == []
    assert (outcome.scores == recorded.scores).sum() == 221
    assert recorded.lengths.sum() == 12_412
    assert outcome.scores.mean() == pytest.approx(24.190, abs=5e-4)
    assert outcome.scores.std(ddof=1) == pytest.approx(1.20, abs=5e-3)
    assert recorded.lengths.mean() == pytest.approx(56.16, abs=5e-3)
    assert (outcome.scores == 25).mean() == pytest.approx(0.579, abs=5e-4)
    assert (~outcome.ended).sum() == 34


@pytest.mark.slow
def test_a_game_against_the_rules_is_refused_and_the_others_are_not(played):
    arrays = as_ah2ac2(played)
    lengths = arrays["num_actions"].tolist()
    recorded = records.of_ah2ac2(arrays)
    actions = recorded.actions.copy()
    actions[1, 4] = 0  # a discard with all tokens or not
    actions[1, :4] = recorded.game.first_rank_hint  # maybe of a rank that nobody holds
    actions[2, 3] = 99
    decks = recorded.decks.copy()
    decks[3, 0] = decks[3, 1] = decks[3, 2] = decks[3, 3] = 4
    outcome = records.replay(recorded._replace(actions=actions, decks=decks))
    assert [one.game for one in outcome.refused][-2:] == [2, 3]
    assert outcome.refused[-2].reason.startswith("step 3: player 0 may not take action 99 (which does not exist)")
    assert outcome.refused[-1].reason == "its deck is no order of the 50 cards"
    assert outcome.legal()[0]
    assert outcome.scores[0] == played[1][0][2]
    longer = np.pad(recorded.actions, ((0, 0), (0, 1)), constant_values=recorded.game.noop)
    longer[0, lengths[0]] = 5
    after = records.replay(recorded._replace(actions=longer, lengths=recorded.lengths + np.array([1, 0, 0, 0])))
    assert after.refused == [records.Refused(0, f"step {lengths[0]}: the game was over before action 5")]


@pytest.mark.slow
def test_a_player_who_acts_out_of_turn_is_refused(played):
    arrays = as_ah2ac2(played)
    arrays["actions"][2, 5, 0] = 1
    recorded = records.of_ah2ac2(arrays)
    outcome = records.replay(recorded)
    assert outcome.refused == [records.Refused(2, "step 5: a player acts out of turn")]
    assert outcome.legal().tolist() == [True, True, False, True]


def test_a_game_that_players_ended_is_reported(played):
    replay = as_replays(played)[0]
    recorded = records.of_replays(replay | {"actions": [*replay["actions"][:6], {"type": 4, "target": 0, "value": 1}]})
    outcome = records.replay(recorded)
    assert recorded.lengths.tolist() == [6]
    assert outcome.ended.tolist() == [False]
    assert outcome.refused == []


def test_an_unreadable_game_of_a_list_leaves_the_others(played):
    whole = as_replays(played)[:2]
    broken = whole[0] | {"actions": [{"type": 0, "target": 49}]}
    recorded = records.of_replays([broken, whole[1]])
    outcome = records.replay(recorded)
    assert outcome.refused == [records.Refused(0, "step 0: player 0 does not hold card 49 of the deck")]
    assert outcome.scores[1] == played[1][1][2]


WRONG = {
    "a replay of hanab.live is an object with players, deck and actions, not of type str": "game",
    "a replay of hanab.live has a list of actions, and this one has none": {"actions": None},
    "a replay of 6 players cannot be read, only of 2 to 5": {"players": list("abcdef")},
    "the variant 'Rainbow' has other rules: only 'No Variant' is read": {"options": {"variant": "Rainbow"}},
    "the variant 'Null (5 Suits)' has other rules": {"options": {"variantName": "Null (5 Suits)"}},
    "the option oneExtraCard changes the rules": {"options": {"oneExtraCard": True}},
    "the option startingPlayer changes the rules": {"options": {"startingPlayer": 1}},
    "the deck has 1 cards, and 50 are expected": {"deck": [{"suitIndex": 0, "rank": 1}]},
    "card 0: there is none of suit 5 and rank 1": {"deck": [{"suitIndex": 5, "rank": 1}]},
    "card 0: rank is to be a whole number, not None": {"deck": [{"suitIndex": 1}]},
    "step 0: there is no hint of type 2, value 7, to player 1": {"actions": [{"type": 2, "target": 1, "value": 7}]},
    "step 0: there is no hint of type 3, value 1, to player 0": {"actions": [{"type": 3, "target": 0, "value": 1}]},
    "step 0: type 9 is none of an action": {"actions": [{"type": 9, "target": 0}]},
}


@pytest.mark.parametrize("sentence", WRONG)
def test_what_is_no_replay_is_said(sentence):
    change = WRONG[sentence]
    replay = json.loads(GAME.read_text())
    with pytest.raises(TacitError, match=f"^{re.escape(sentence)}"):
        records.of_replays(change if isinstance(change, str) else replay | change)


def of_halves():
    """A safetensors file of bfloat16, which numpy does not have."""
    header = json.dumps({"decks": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    return len(header).to_bytes(8, "little") + header + b"\0\0"


def test_files_that_cannot_be_read(tmp_path):
    for name, content, sentence in (
        ("a.txt", b"", "expected .safetensors"),
        ("a.json", b"{", "cannot be read: Expecting property name"),
        ("a.json", b"[]", "there is no game in it"),
        ("a.safetensors", b"123", "cannot be read: Error while deserializing"),
        ("a.json", b"[" * 100_000, "cannot be read: maximum recursion depth"),
        ("a.safetensors", of_halves(), "cannot be read: "),
        ("a.safetensors", save({"decks": np.zeros((1, 50, 2), np.int32)}), "there is no array actions"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TacitError, match=sentence):
            records.read(tmp_path / name)
    with pytest.raises(TacitError, match=r"none\.json cannot be read: No such file"):
        records.read(tmp_path / "none.json")


def test_arrays_of_other_shapes_are_refused(played):
    arrays = as_ah2ac2(played)
    for name, value, sentence in (
        ("decks", arrays["decks"][:, :49], r"decks has the shape \(4, 49, 2\), and \(4, 50, 2\) is expected"),
        ("scores", arrays["scores"][:3], r"scores has the shape \(3,\), and \(4,\) is expected"),
        ("num_players", arrays["scores"], r"num_players has the shape \(4,\), and 0 axes are expected"),
        ("num_actions", arrays["num_actions"] + 200, "num_actions are to be 0 to"),
        ("num_players", np.array(np.inf), "num_players, float64, is expected to have whole numbers of 32 bits"),
        (
            "num_actions",
            arrays["num_actions"].astype(np.int64) + 2**32,
            "num_actions, int64, is expected to have whole numbers",
        ),
        ("scores", arrays["scores"] == 3, "scores, bool, is expected to have whole numbers"),
    ):
        with pytest.raises(TacitError, match=sentence):
            records.of_ah2ac2(arrays | {name: value})
    with pytest.raises(TacitError, match=r"games on different boards: Hanabi\(players=3, .* and Hanabi\(players=2"):
        records.of_replays([*as_replays(played), json.loads(GAME.read_text())])
    nothing = {name: arrays[name][:0] for name in ("decks", "actions", "num_actions", "scores")}
    with pytest.raises(TacitError, match="there is no game in it"):
        records.of_ah2ac2(arrays | nothing)


def test_a_card_that_does_not_exist_is_not_read_as_another(played):
    arrays = as_ah2ac2(played)
    arrays["decks"][1, 4] = [0, 5]  # as a number it is that of color 1, rank 0
    recorded = records.of_ah2ac2(arrays)
    assert records.replay(recorded).refused == [
        records.Refused(1, "card 4 of its deck is none: color and rank [0, 5], from 0")
    ]


@pytest.mark.parametrize("score", [True, 2**40, -3, "15", None])
def test_a_score_that_is_none_counts_as_not_told(score):
    assert records.of_replays(json.loads(GAME.read_text()) | {"score": score}).scores.tolist() == [-1]
