"""Games as replays of hanab.live, read back by an independent reader of that format."""

import functools
import json

import jax
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from games.errors import TacitError
from games.hanabi import Hanabi, make
from games.hanabi.replay import drawn_deck, full_deck, hanab_live_url, of_replay, to_hanab_live, to_replay


class Table:
    """The site's game, from its replay alone: knows nothing of action ids, slots or states of ours."""

    def __init__(self, replay: dict) -> None:
        assert set(replay) == {"players", "deck", "actions", "options"}
        assert replay["options"] == {"variant": "No Variant"}
        self.deck = [(card["suitIndex"], card["rank"]) for card in replay["deck"]]
        assert sorted(self.deck) == sorted((s, r) for s in range(5) for r in (1, 1, 1, 2, 2, 3, 3, 4, 4, 5))
        self.count = len(replay["players"])
        size = 5 if self.count <= 3 else 4
        self.hands = [set(range(size * p, size * p + size)) for p in range(self.count)]
        self.next_card = size * self.count
        self.stacks = dict.fromkeys(range(5), 0)
        self.clues, self.strikes = 8, 0
        self.turns_after_the_deck = None
        for turn, action in enumerate(replay["actions"]):
            assert not self.over
            self.act(turn % self.count, **action)

    def act(self, player: int, type: int, target: int, value: int | None = None) -> None:
        last_turns = self.next_card == 50
        if type in (2, 3):
            assert self.clues > 0
            assert target != player
            assert any(self.deck[card][type - 2] == value for card in self.hands[target])
            self.clues -= 1
        else:
            assert value is None
            self.hands[player].remove(target)
            suit, rank = self.deck[target]
            if type == 1:
                assert self.clues < 8
                self.clues += 1
            elif self.stacks[suit] == rank - 1:
                self.stacks[suit] = rank
                self.clues = min(8, self.clues + (rank == 5))
            else:
                self.strikes += 1
            if self.next_card < 50:
                self.hands[player].add(self.next_card)
                self.next_card += 1
        if last_turns:
            self.turns_after_the_deck = (self.turns_after_the_deck or 0) + 1

    @property
    def over(self) -> bool:
        return self.strikes == 3 or sum(self.stacks.values()) == 25 or self.turns_after_the_deck == self.count

    @property
    def score(self) -> int:
        return 0 if self.strikes == 3 else sum(self.stacks.values())


# With 2 and 3 players hands have five cards, with 4 and 5 players four.
tables = pytest.mark.parametrize("players", [2, 5, *(pytest.param(other, marks=pytest.mark.proof) for other in (3, 4))])


@pytest.mark.slow
@tables
def test_the_site_would_count_the_same_score(random_games, players):
    game = make(players=players)
    endings = set()
    for _, state, actions, _ in random_games(game, players, 12, [0.0, 3.0, 20.0]):
        replay = json.loads(json.dumps(to_hanab_live(game, drawn_deck(game, state), actions)))
        assert replay["players"] == [f"player {player}" for player in range(players)]
        table = Table(replay)
        assert table.over
        assert table.score == game.score(state)
        assert [table.stacks[color] for color in range(5)] == state.fireworks.tolist()
        assert (table.clues, 3 - table.strikes) == (state.information_tokens, state.life_tokens)
        for hand, cards in zip(table.hands, state.cards, strict=True):
            codes = [8 * table.deck[card][0] + table.deck[card][1] - 1 for card in sorted(hand)]
            assert codes == cards[: len(codes)].tolist()
        endings.add("lost" if game.bombed(state) else "deck")
    assert endings == {"lost", "deck"}


def read_address(address: str) -> dict:
    """A replay from its compact address, with players as the site names those who have no name."""
    site, code = address.split("/replay-json/")
    assert site == "https://hanab.live"
    lines = code.split("-")
    assert {len(line) for line in lines[:-1]} == {20} and 0 < len(lines[-1]) <= 20
    dealt, played, variant = code.replace("-", "").split(",")
    assert variant == "0"

    def digit(letter: str) -> int:
        if letter.islower():
            return ord(letter) - ord("a")
        return 26 + int(letter) if letter.isdigit() else 36 + ord(letter) - ord("A")

    players, low, high = map(int, dealt[:3])
    cards = [divmod(digit(letter), high - low + 1) for letter in dealt[3:]]
    first, last = map(int, played[:2])
    actions = []
    for kind, target in zip(played[2::2], played[3::2], strict=True):
        value, type_ = divmod(digit(kind), last - first + 1)
        action = {"type": type_ + first, "target": digit(target)}
        actions.append(action | ({"value": value - 1} if value else {}))
    return {
        "players": ["Alice", "Bob", "Cathy", "Donald", "Emily"][:players],
        "deck": [{"suitIndex": suit, "rank": rank + low} for suit, rank in cards],
        "actions": actions,
        "options": {"variant": "No Variant"},
    }


@pytest.mark.slow
@tables
def test_games_have_the_same_score_by_both_of_the_sites_formats(random_games, players):
    game = make(players=players)
    scores = []
    for _, state, actions, _ in (one for n in range(4) for one in random_games(game, 10 * players + n, 12, [0, 3, 20])):
        replay = json.loads(json.dumps(to_hanab_live(game, drawn_deck(game, state), actions)))
        address = hanab_live_url(replay)
        again = read_address(address)
        assert {**again, "players": replay["players"]} == replay
        assert len(again["players"]) == players
        assert Table(replay).score == Table(again).score == game.score(state)
        scores.append(Table(again).score)
    assert len(scores) == 48 and min(scores) == 0 and len(set(scores)) > 5


def test_the_address_of_a_short_game_by_hand(deck_of):
    game = make()
    deck = deck_of(game, "R1 R2 Y1 Y2 G1 B1 B2 W1 W2 R1 G5")
    start = "215abfgkuvpqao"  # two players, ranks 1 to 5; the cards drawn, suits of five letters each
    assert hanab_live_url(to_hanab_live(game, deck, [])).startswith(f"https://hanab.live/replay-json/{start}")
    assert hanab_live_url(to_hanab_live(game, deck, [])).endswith(",00,0")
    # Of the types 0 to 2: blue to player 1, (4 + 1) * 3 + 2, and player 1 plays card 7, (-1 + 1) * 3 + 0.
    code = hanab_live_url(to_hanab_live(game, deck, [14, 7])).replace("-", "")
    assert code.endswith(",02rbah,0")
    # Types 2 and 3 alone: (4 + 1) * 2 + 0, and rank 2 to player 0: (2 + 1) * 2 + 1.
    assert hanab_live_url(to_hanab_live(game, deck, [14, 16])).replace("-", "").endswith(",23kbha,0")


# Two players of the full game: discard 0-4, play 5-9, hint color 10-14, hint rank 15-19.
def test_a_replay_names_cards_by_their_place_in_the_deck(deck_of):
    game = make()
    deck = deck_of(game, "R1 R2 Y1 Y2 G1 B1 B2 W1 W2 R1 G5")
    replay = to_hanab_live(game, deck, [14, 7, 5, 9, 4, 16], names=["Ann", "Bo"])
    assert replay["players"] == ["Ann", "Bo"]
    assert replay["deck"][:3] == [{"suitIndex": 0, "rank": 1}, {"suitIndex": 0, "rank": 2}, {"suitIndex": 1, "rank": 1}]
    assert replay["deck"][5] == {"suitIndex": 4, "rank": 1}
    assert replay["actions"] == [
        {"type": 2, "target": 1, "value": 4},  # blue to Bo
        {"type": 0, "target": 7},  # Bo plays the third card, W1, and draws place 10
        {"type": 0, "target": 0},
        {"type": 0, "target": 10},  # Bo plays the newest card, G5: a strike
        {"type": 1, "target": 11},  # Ann discards the newest card
        {"type": 3, "target": 0, "value": 2},
    ]


def test_a_deck_of_the_drawn_cards_is_filled_up(random_games):
    game = make()
    key, state, actions, _ = random_games(game, 3, 12, [0.0])[0]
    drawn = drawn_deck(game, state)
    assert len(drawn) < 50
    whole = np.asarray(jax.jit(functools.partial(full_deck, game))(key))
    short, full = (to_hanab_live(game, deck, actions) for deck in (drawn, whole))
    assert short["actions"] == full["actions"]
    assert short["deck"][: len(drawn)] == full["deck"][: len(drawn)]


def test_a_deck_too_short_for_the_game_is_refused():
    deck = [0, 0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert to_hanab_live(make(), deck, [])["actions"] == []
    with pytest.raises(TacitError, match="step 0: the game draws card number 11, and the deck given has only 10"):
        to_hanab_live(make(), deck, [5])
    with pytest.raises(TacitError, match="the deal draws 10 cards, and the deck given has only 9"):
        to_hanab_live(make(), deck[:9], [])


SIZES = {"colors": 2, "ranks": 3, "hand_size": 2, "max_information_tokens": 4, "max_life_tokens": 2}


@pytest.mark.slow
@settings(max_examples=40)
@given(
    copies=st.sampled_from([[3], [3, 1], [3, 2, 1]]) | st.lists(st.integers(1, 3), min_size=1, max_size=5),
    players=st.integers(2, 5),
    colors=st.integers(1, 5),
    hand_size=st.integers(1, 3),
    seed=st.integers(0, 2**20),
)
def test_a_board_with_any_copies_is_read_as_it_was_written(copies, players, colors, hand_size, seed):
    sizes = SIZES | {"colors": colors, "ranks": len(copies), "hand_size": hand_size}
    assume(players * hand_size <= colors * sum(copies))
    game = Hanabi(players=players, **sizes, copies=copies)
    cards = np.repeat(np.arange(colors * game.ranks), np.tile(copies, colors))
    deck = np.random.default_rng(seed).permutation(cards)
    replay = json.loads(json.dumps(to_replay(game, deck, [])))
    assert of_replay(replay) == (game, deck.tolist(), [])
    of_hle = copies == [3, *[2] * (len(copies) - 2), *[1] * (len(copies) > 1)]
    assert replay["board"] == (sizes if of_hle else sizes | {"copies": copies})


def test_records_of_boards_with_hles_copies_are_written_and_read_as_before():
    game = make("Hanabi-2x3")
    before = (
        '{"players": ["player 0", "player 1"], "deck": [{"suitIndex": 0, "rank": 1}, {"suitIndex": 0, "rank": 1}, '
        '{"suitIndex": 0, "rank": 1}, {"suitIndex": 0, "rank": 2}, {"suitIndex": 0, "rank": 2}, '
        '{"suitIndex": 0, "rank": 3}, {"suitIndex": 1, "rank": 1}, {"suitIndex": 1, "rank": 1}, '
        '{"suitIndex": 1, "rank": 1}, {"suitIndex": 1, "rank": 2}, {"suitIndex": 1, "rank": 2}, '
        '{"suitIndex": 1, "rank": 3}], "actions": [{"type": 0, "target": 0}], "options": {"variant": "No Variant"}, '
        '"board": {"colors": 2, "ranks": 3, "hand_size": 2, "max_information_tokens": 4, "max_life_tokens": 2}}'
    )
    assert json.dumps(to_replay(game, [0, 0, 0, 1, 1], [2])) == before
    assert of_replay(json.loads(before))[0] == game


def test_only_the_sites_boards_can_be_exported():
    with pytest.raises(TacitError, match=r"plays with other copies: a game with copies \[3, 3, 2, 2, 1\] cannot be"):
        to_hanab_live(make(copies=[3, 3, 2, 2, 1]), [], [])
    with pytest.raises(TacitError, match="only boards of 5 colors x 5 ranks can be exported, not 3 x 3"):
        to_hanab_live(make("Hanabi-3x3"), [], [])
    for values in ({"hand_size": 4}, {"max_information_tokens": 3}, {"max_life_tokens": 1}):
        (name, value), *_ = values.items()
        with pytest.raises(TacitError, match=f"with {name} {value} cannot be exported"):
            to_hanab_live(make(**values), [], [])
    with pytest.raises(TacitError, match="plays 5 players with hand_size 4"):
        to_hanab_live(make(players=5, hand_size=5), [], [])


@pytest.mark.slow
def test_an_illegal_action_is_named_with_its_step(deck_of):
    game = make()
    deck = deck_of(game, "R1 R1 R1 Y1 Y1 G1 G1 G1 Y1 W1")
    with pytest.raises(TacitError, match=r"step 0: player 0 may not take action 0 \('discard slot 0'\)"):
        to_hanab_live(game, deck, [0])
    with pytest.raises(TacitError, match=r"step 1: player 1 may not take action 20 \('no-op'\)"):
        to_hanab_live(game, deck, [5, 20])
    with pytest.raises(TacitError, match=r"step 2: .* action -1 \(which does not exist\)"):
        to_hanab_live(game, deck, [5, 5, -1])
    with pytest.raises(TacitError, match="step 5: the game was over before action 5"):
        to_hanab_live(game, deck, [5] * 6)


def test_names_and_decks_are_checked():
    game = Hanabi(players=3)
    with pytest.raises(TacitError, match="a replay of 3 players needs 3 different names"):
        to_hanab_live(game, [], [], names=["a", "b"])
    with pytest.raises(TacitError, match="3 different names"):
        to_hanab_live(game, [], [], names=["a", "b", "b"])
    with pytest.raises(TacitError, match="card 4 at place 1 of the deck is none of this board's, or one too many"):
        to_hanab_live(game, [4, 4], [])
    with pytest.raises(TacitError, match="card 25 at place 0"):
        to_hanab_live(game, [25], [])
