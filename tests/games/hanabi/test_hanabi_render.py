"""A state as text and as a picture."""

import functools
import xml.etree.ElementTree as ElementTree

import jax
import numpy as np
import pytest

from games.hanabi import Hanabi, HanabiState, make

GAME = Hanabi(players=3, colors=3, ranks=3, hand_size=2, max_information_tokens=4, max_life_tokens=2)
DECK = "R1 Y2 G3 R1 Y1 G1 R2 Y1"
HINT = GAME.first_rank_hint  # rank 1 to the next player
SVG = "{http://www.w3.org/2000/svg}"

START = """\
Hanabi: 3 players, 3 colors, 3 ranks
score 0 of 9, information tokens 4, life tokens 2, cards left 12
fireworks: R0 Y0 G0
discards: none
last move: none
player 0 to move

            slot 0     slot 1
> player 0  R1         Y2
            RYG 123    RYG 123
  player 1  G3         R1
            RYG 123    RYG 123
  player 2  Y1         G1
            RYG 123    RYG 123
* named by a hint"""

HINTED = """\
Hanabi: 3 players, 3 colors, 3 ranks
score 0 of 9, information tokens 3, life tokens 2, cards left 12
fireworks: R0 Y0 G0
discards: none
last move: player 0 hinted rank 1 to player 1: slot 1
player 1 to move

            slot 0     slot 1
  player 0  R1         Y2
            RYG 123    RYG 123
> player 1  G3         R1
            RYG 23     RYG 1*
  player 2  Y1         G1
            RYG 123    RYG 123
* named by a hint"""

LATER = """\
Hanabi: 3 players, 3 colors, 3 ranks
score 1 of 9, information tokens 4, life tokens 1, cards left 9
fireworks: R1 Y0 G0
discards: Y1 Y2
last move: player 0 played slot 1, Y2: it did not fit and cost a life
player 1 to move

            slot 0     slot 1
  player 0  R1         G1
            RYG 123    RYG 123
> player 1  G3         R2
            RYG 23     RYG 123
  player 2  G1         Y1
            RYG 123    RYG 123
* named by a hint"""

LOST = """\
Hanabi: 3 players, 3 colors, 3 ranks
score 0 of 9, information tokens 4, life tokens 0, cards left 8
fireworks: R1 Y0 G0
discards: Y1 Y2 G3
last move: player 1 played slot 0, G3: it did not fit and cost a life
the game is over: the last life is lost

            slot 0     slot 1
  player 0  R1         G1
            RYG 123    RYG 123
  player 1  R2         G1
            RYG 123    RYG 123
  player 2  G1         Y1
            RYG 123    RYG 123
* named by a hint"""


@pytest.fixture(scope="module")
def states(move, deck_of) -> list[HanabiState]:
    state = GAME.init_from_deck(deck_of(GAME, DECK + " G1 G1"))
    reached = [state]
    for action in (HINT, 3, 0, 3, 2):  # a hint, play R1, discard Y1, play Y2, play G3
        state, _, _ = move(GAME, state, action)
        reached.append(state)
    return reached


def test_a_state_prints_itself(states):
    for state, text in zip((states[0], states[1], states[4], states[5]), (START, HINTED, LATER, LOST), strict=True):
        assert str(state) == text


def test_moves_are_told_in_words(states, move):
    assert "last move: player 1 played slot 1, R1: it scored\n" in str(states[2])
    assert "last move: player 2 discarded slot 0, Y1; an information token came back\n" in str(states[3])
    color_hint, _, _ = move(GAME, states[0], GAME.first_color_hint + GAME.colors + 2)
    assert "last move: player 0 hinted color G to player 2: slot 1\n" in str(color_hint)
    refused, _, _ = move(GAME, states[0], 0)
    assert "player 0 to move (an illegal action was tried and not played)\n" in str(refused)


@pytest.mark.slow
def test_the_end_of_the_deck_is_told(move, deck_of):
    game = make("Hanabi-Very-Small", players=5)
    state = game.init_from_deck(deck_of(game, "R1"))
    assert "\nplayer 0 to move, the deck is empty: 5 turns left\n" in str(state)
    for offset, rank in ((0, 0), (0, 2), (0, 3), (0, 4)):  # player 0 plays R1, then three hints to the next player
        hint = game.first_rank_hint + offset * game.ranks + rank
        state, _, _ = move(game, state, 2 if rank == 0 else hint)
    assert "\nplayer 4 to move, the deck is empty: 1 turn left\n" in str(state)
    state, _, _ = move(game, state, 0)
    assert "\nthe game is over: the deck is used up\n" in str(state)
    assert "\nHanabi: 5 players, 1 color, 5 ranks\n" in "\n" + str(state)


def test_a_completed_game_says_so(move, deck_of):
    game = Hanabi(players=2, colors=1, ranks=2, hand_size=1)
    state = game.init_from_deck(deck_of(game, "R1 R2"))
    for _ in range(2):
        state, _, done = move(game, state, 1)
    assert done
    assert "\nthe game is over: all fireworks are completed\n" in str(state)
    assert "score 2 of 2" in str(state)


@pytest.mark.slow
@pytest.mark.parametrize("players", [2, 5, *(pytest.param(other, marks=pytest.mark.proof) for other in (3, 4))])
def test_a_picture_is_well_formed(random_games, players):
    game = make(players=players)
    for _, state, _, _ in random_games(game, players, 12, [0.0, 3.0, 20.0])[:3]:
        root = ElementTree.fromstring(state._repr_svg_())
        assert root.tag == f"{SVG}svg"
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
        assert root.attrib["viewBox"] == f"0 0 {width:g} {height:g}"
        words = [element.text for element in root.iter(f"{SVG}text")]
        assert [word for word in words if word.startswith("player ")] == [f"player {p}" for p in range(players)]
        for element in root.iter():
            x, y = float(element.get("x", element.get("cx", 0))), float(element.get("y", element.get("cy", 0)))
            assert 0 <= x <= width, ElementTree.tostring(element)
            assert 0 <= y <= height, ElementTree.tostring(element)
            assert "nan" not in ElementTree.tostring(element, encoding="unicode")
        assert state._repr_svg_() == state._repr_svg_()


def test_a_picture_shows_what_is_on_the_table(states):
    root = ElementTree.fromstring(states[1]._repr_svg_())
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert "Player 1 to move" in words
    assert "Last move: player 0 hinted rank 1 to player 1: slot 1" in words
    assert "Fireworks: score 0 of 9" in words
    assert words[words.index("Information tokens") + 1] == "3"
    assert words[words.index("Life tokens") + 1] == "2"
    assert words[words.index("Cards left") + 1] == "12"
    assert "Discards: none" in words
    framed = [e for e in root.iter(f"{SVG}rect") if e.get("fill") == "none" and e.get("stroke-width") == "2.5"]
    assert len(framed) == 1  # the card that the hint touched
    lost = [element.text for element in ElementTree.fromstring(states[5]._repr_svg_()).iter(f"{SVG}text")]
    assert "The game is over: the last life is lost" in lost
    assert "Discards" in lost


def test_a_batch_or_a_traced_state_is_one_line(states):
    batch = jax.tree.map(lambda leaf: np.stack([leaf] * 4), jax.device_get(states[0]))
    assert str(batch) == "HanabiState (a batch of games of shape (4,): take one of them to see it)"
    assert "shape (4,)" in ElementTree.fromstring(batch._repr_svg_()).find(f"{SVG}text").text
    assert str(jax.tree.map(lambda leaf: leaf[2], batch)) == START

    seen = []

    def look(state):
        seen.append((str(state), state._repr_svg_()))
        return state.dealt

    jax.jit(look)(states[0])
    jax.vmap(look)(batch)
    assert [text for text, _ in seen] == ["HanabiState (traced: it has no values yet)"] * 2
    assert all(ElementTree.fromstring(picture) is not None for _, picture in seen)


def test_a_state_without_arrays_prints_too():
    shapes = jax.eval_shape(functools.partial(GAME.init, key=jax.random.key(0)))
    assert str(shapes) == "HanabiState (of ShapeDtypeStruct)"
    assert str(jax.tree.map(lambda leaf: None, shapes)) == "HanabiState (of NoneType)"
    ElementTree.fromstring(shapes._repr_svg_())
