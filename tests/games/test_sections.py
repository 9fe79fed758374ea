"""What a player sees, by the names of its sections."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from games.overlapping_edits import OverlappingEdits
from games.tabular.library import lever

GAMES = {"lever": lever.make([1.0, 1.0, 0.9]), "edits": OverlappingEdits()}


@pytest.mark.parametrize("game", GAMES.values(), ids=GAMES)
def test_sections_are_the_slices_of_the_layout_with_their_axes(game):
    for observer in game.observers.values():
        seen = np.arange(3 * observer.size).reshape(3, observer.size)
        for section in observer.layout.sections:
            found = game.section(seen, section.name, observer.name)
            assert found.shape == (3, *section.shape)
            np.testing.assert_array_equal(found.reshape(3, -1), seen[:, observer.layout[section.name]])
            np.testing.assert_array_equal(game.section(seen[1], section.name, observer.name), found[1])


def test_the_first_observer_is_meant_unless_another_is_named():
    game = GAMES["lever"]
    state = game.init(key=jax.random.key(0))
    seen = game.observe(state, 1)
    np.testing.assert_array_equal(seen, game.observe(state, jnp.int32(1), "last"))
    assert game.section(seen, "action").tolist() == [0, 0, 0, 1]  # nothing is played yet
    assert game.section(game.observe(state, 1, "history"), "history", "history").shape == (1,)


def test_sections_can_be_compiled():
    game = GAMES["lever"]
    seen = game.observe(game.init(key=jax.random.key(0)), 0)
    cut = jax.jit(jax.vmap(lambda one: game.section(one, "observation")))
    np.testing.assert_array_equal(cut(jnp.stack([seen, seen]))[1], game.section(seen, "observation"))


def test_mistakes_name_the_sections_and_the_size():
    game = GAMES["lever"]
    seen = np.zeros(game.observer("last").size)
    for arguments, says in [
        ((seen, "hand"), "observer 'last' of game 'lever' has no section 'hand'; it has time, action, observation"),
        (
            (seen[1:], "time"),
            "observer 'last' of game 'lever' has observations of 7 entries, not 6: name another observer",
        ),
        ((seen, "history", "history"), "observer 'history' of game 'lever' has observations of 1 entries, not 7"),
        ((seen, "time", "first"), "game 'lever' has no observer 'first'; it has last, history"),
    ]:
        with pytest.raises(TacitError, match=says):
            game.section(*arguments)
