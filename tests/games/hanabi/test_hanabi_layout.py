"""The named sections of Hanabi's observations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.game import Layout, Section
from games.hanabi import Hanabi, make

BOARDS = [make(players=players) for players in (2, 3, 4, 5)] + [
    make("Hanabi-Small"),
    Hanabi(players=3, colors=4, ranks=1, hand_size=3),
    Hanabi(players=2, colors=2, ranks=3, hand_size=1, max_information_tokens=0, max_life_tokens=1),
]

# ruff: noqa: E501
TABLE = """
start  stop  section             axes                                  meaning
    0    10  hands               player 1 x slot 2 x color 1 x rank 5  cards of the others, next player first
   10    12  missing_card        player 2                              this hand is a card short
   12    18  deck                count 6                               thermometer of the cards left to draw
   18    23  fireworks           color 1 x rank 5                      highest rank played on each pile
   23    26  information_tokens  count 3                               thermometer
   26    27  life_tokens         count 1                               thermometer
   27    37  discards            color 1 x copy 10                     thermometer of the discarded copies, rank by rank
   37    39  last_player         player 2                              who moved last
   39    43  last_type           type 4                                play, discard, color hint, rank hint
   43    45  last_target         player 2                              whom the last hint was for, counted from the observer
   45    46  last_color          color 1                               color of the last hint
   46    51  last_rank           rank 5                                rank of the last hint
   51    53  last_touched        slot 2                                slots that the last hint touched
   53    55  last_slot           slot 2                                slot of the last play or discard
   55    60  last_card           color 1 x rank 5                      card of the last play or discard
   60    61  last_scored         bit 1                                 the last play succeeded
   61    62  last_token          bit 1                                 the last play returned an information token
"""


@pytest.mark.slow
@pytest.mark.parametrize("game", BOARDS, ids=range(len(BOARDS)))
def test_sections_cover_the_vector_without_gaps(game):
    state = jax.eval_shape(lambda: game.init(key=jax.random.key(0)))
    for observer in game.observers.values():
        stop = 0
        for section in observer.layout.sections:
            assert section.start == stop
            assert section.size == np.prod(section.shape)
            stop = section.stop
        assert stop == observer.layout.size == observer.size
        assert jax.eval_shape(observer.encode, state, jnp.int32(0)).shape == (stop,)
        names = [section.name for section in observer.layout.sections]
        assert len(set(names)) == len(names)
        for section in observer.layout.sections:
            assert observer.layout[section.name] == slice(section.start, section.stop)


def test_the_full_game_of_two_has_658_bits():
    game = make()
    assert game.observer("hle").size == game.observer("belief").size == 658
    assert game.observer("minimal").size == 308
    layout = game.observer("hle").layout
    assert layout["hands"] == slice(0, 125)
    assert layout["information_tokens"] == slice(192, 200)
    assert layout["card[0,0].possible"] == slice(308, 333)


def test_an_unknown_section_is_an_error_that_names_the_others():
    with pytest.raises(KeyError, match="no section 'cards'; there are hands, missing_card, deck"):
        make().observer("hle").layout["cards"]


def test_a_layout_prints_as_a_table():
    layout = make("Hanabi-Very-Small").observer("minimal").layout
    assert str(layout) == TABLE.strip("\n")


def test_permute_relabels_every_axis_of_the_name():
    layout = Layout.of([("a", {"color": 3}, ""), ("b", {"slot": 2, "color": 3}, ""), ("c", {"rank": 3}, "")])
    permuted = layout.permute(jnp.arange(12), "color", jnp.array([1, 2, 0]))
    assert permuted.tolist() == [2, 0, 1, 5, 3, 4, 8, 6, 7, 9, 10, 11]
    assert layout.permute(jnp.arange(12), "player", jnp.array([1, 0])).tolist() == list(range(12))


def test_permute_relabels_two_axes_of_one_section():
    pairs = Section("pairs", 0, (("color", 3), ("slot", 2), ("color", 3)), "")
    image = np.array([1, 2, 0])
    expected = np.empty((3, 2, 3), int)
    expected[image[:, None], :, image[None]] = np.arange(18).reshape(3, 2, 3).transpose(0, 2, 1)
    assert Layout((pairs,)).permute(jnp.arange(18), "color", jnp.array(image)).tolist() == expected.reshape(-1).tolist()
