"""The rule-based partners as policies: legal, equivariant, and HLE's own agent move by move."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from games.hanabi import Hanabi, make, symmetry
from games.hanabi.cards import EMPTY
from games.hanabi.hle import HleGame
from games.tabular.library import lever
from marl.agent import Agent, Kind, check_fits
from marl.crossplay import crossplay
from marl.crossplay.record import record_games
from marl.partners import PARTNERS, RuleBased, partners, rules
from marl.partners.view import decode
from marl.policies.feed_forward import FeedForward
from marl.policies.policy import sample

BOARDS = {
    "2 players": Hanabi(),
    "3 players": Hanabi(players=3, colors=3, ranks=4, hand_size=3, max_information_tokens=3),
    "4 players, one color": Hanabi(players=4, colors=1, ranks=5, hand_size=2),
    "3 players, copies 1 3 2": Hanabi(players=3, colors=3, ranks=3, hand_size=3, copies=(1, 3, 2)),
    "5 players, no tokens": Hanabi(players=5, colors=5, ranks=2, hand_size=2, max_information_tokens=0),
}
NUMBERS = jnp.arange(len(PARTNERS), dtype=jnp.int32)


def of_all(board, observation, legal):
    """float32[partners, actions]: every partner's log-probabilities."""
    return jax.vmap(lambda number: RuleBased(board).apply(number, (), observation, legal)[1])(NUMBERS)


@functools.partial(jax.jit, static_argnums=0)
def play(board, key):
    """What the player to move sees and every partner would do, in games of each partner mixed with random moves.

    Returns:
      (observations, legal, log-probabilities of all partners), each [partners, steps, ...].
    """
    players = jnp.arange(board.players, dtype=jnp.int32)

    def game(key, number):
        def move(state, key):
            mover = state.player.astype(jnp.int32)
            observation, legal = board.observe(state, mover, "hle"), board.legal(state, mover)
            log_probs = of_all(board, observation, legal)
            keys = jax.random.split(key, 3)
            random = jax.random.bernoulli(keys[0], 0.3)
            action = sample(jnp.where(random, jnp.where(legal, 0.0, -jnp.inf), log_probs[number]), key=keys[1])
            after = board.step(state, jnp.where(players == mover, action, board.noop), key=keys[2])[0]
            return after, (observation, legal, log_probs)

        return jax.lax.scan(move, board.init(key=key), jax.random.split(key, board.horizon))[1]

    return jax.vmap(game)(jax.random.split(key, len(PARTNERS)), NUMBERS)


PROOF = {"2 players": pytest.mark.proof}


@pytest.mark.slow
@pytest.mark.parametrize("board", [pytest.param(BOARDS[name], id=name, marks=PROOF.get(name, ())) for name in BOARDS])
def test_every_partner_plays_legal_actions_and_no_partner_tells_colors_apart(board):
    observations, legals, log_probs = (np.concatenate(x) for x in jax.device_get(play(board, jax.random.key(3))))
    log_probs = log_probs.transpose(1, 0, 2)  # [partners, rows, actions]
    assert (~legals[:, -1]).sum() > 50
    assert legals[:, -1].any()  # after the end, too
    assert np.isneginf(log_probs[:, ~legals]).all()
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=-1), 1.0, atol=1e-5)
    if board.colors != 3:
        return
    relabel = symmetry.of_colors(board, jnp.array([1, 2, 0], jnp.int32))  # not its own inverse

    def image(observation, legal):
        seen = board.observer("hle").symmetry(relabel, observation)
        return seen, of_all(board, seen, relabel.on_legal(jnp.int32(0), legal))

    seen, relabelled = jax.jit(jax.vmap(image))(observations, legals)
    assert (np.asarray(seen) != observations).any()
    actions = np.asarray(relabel.actions[0])
    np.testing.assert_allclose(
        np.exp(np.asarray(relabelled).transpose(1, 0, 2)[:, :, actions]), np.exp(log_probs), atol=1e-6
    )


def own_chances(game, state, player):
    """The chance that each own card is playable, each copy that the player does not see being equally likely."""
    left = {(c, r): game.copies[r] - int(state.discards[c, r]) for c in range(game.colors) for r in range(game.ranks)}
    for color, height in enumerate(state.fireworks.tolist()):
        for rank in range(height):
            left[color, rank] -= 1
    for seat in range(game.players):
        for card in state.cards[seat].tolist() if seat != player else []:
            if card != EMPTY:
                left[card >> 3, card & 7] -= 1
    chances = []
    for color_bits, rank_bits in zip(state.color_knowledge[player], state.rank_knowledge[player], strict=True):
        fits = {(c, r): n for (c, r), n in left.items() if color_bits >> c & 1 and rank_bits >> r & 1}
        good = sum(n for (c, r), n in fits.items() if state.fireworks[c] == r)
        chances.append(good / max(sum(fits.values()), 1))
    return chances


@pytest.mark.slow
def test_on_a_board_with_other_copies_a_certain_play_never_fails():
    game = make("Hanabi-Mini")
    rng, look = np.random.default_rng(4), jax.jit(functools.partial(looked_at, game))
    advance = jax.jit(functools.partial(game.step, key=jax.random.key(0)))
    certain = 0
    for number in range(8):
        state = game.init(key=jax.random.key(number))
        while not state.ended:
            state = jax.tree.map(np.asarray, state)
            player = int(state.player)
            view, proposed, legal = jax.device_get(look(state))
            np.testing.assert_allclose(view.play_chance, own_chances(game, state, player), atol=1e-6)
            action = int(rng.choice(np.flatnonzero(legal)))
            if proposed.any():
                action = int(proposed.argmax())
                certain += 1
            state, _, _ = advance(state, np.where(np.arange(game.players) == player, action, game.noop))
            assert not proposed.any() or state.last_scored
    assert certain > 10


def looked_at(game, state):
    """What the player to move sees, the plays that are certain to it, and what it may do."""
    player = state.player.astype(jnp.int32)
    view = decode(game, game.observe(state, player, "hle"))
    return view, rules.play_certain(view), game.legal(state, player)


@pytest.mark.slow
@pytest.mark.parametrize("board", [BOARDS["2 players"], BOARDS["3 players"]], ids=["2 players", "3 players"])
def test_the_simple_agent_of_hle_move_by_move(board):
    rl_env = pytest.importorskip("hanabi_learning_environment.rl_env")
    simple_agent = pytest.importorskip("hanabi_learning_environment.agents.simple_agent")
    hle = HleGame(board)
    config = {
        "players": board.players, "colors": board.colors, "ranks": board.ranks, "hand_size": board.hand_size,
        "max_information_tokens": board.max_information_tokens, "max_life_tokens": board.max_life_tokens,
        "observation_type": 1,
    }  # fmt: skip
    environment = rl_env.HanabiEnv(config)
    environment.reset()
    agent = simple_agent.SimpleAgent({"information_tokens": board.max_information_tokens})
    ours = jax.jit(RuleBased(board).apply)
    number = jnp.int32(PARTNERS.index("hle_simple"))
    cards = np.repeat(np.arange(board.colors * board.ranks), np.tile(board.copies, board.colors))
    rng, moves, kinds = np.random.default_rng(1), 0, set()
    for _ in range(12):
        state = hle.deal(rng.permutation(cards))
        while not hle.ended(state):
            player = hle.player(state)
            environment.state = state.state
            seen = environment._make_observation_all_players()["player_observations"][player]
            chosen = agent.act(seen)
            expected = environment.game.get_move_uid(environment._build_move(chosen))
            legal = hle.legal(state, player)
            log_probs = ours(number, (), hle.observe(state, player), legal)[1]
            assert int(jnp.argmax(log_probs)) == expected
            assert float(jnp.max(log_probs)) == 0.0
            # Now and then a random move leads to states that the agent alone would not see.
            hle.apply(state, int(rng.choice(np.flatnonzero(legal))) if rng.random() < 0.5 else expected)
            moves += 1
            kinds.add(chosen["action_type"])
    assert moves > 100
    assert kinds == {"PLAY", "REVEAL_COLOR", "DISCARD"}


def test_the_agents_are_of_one_kind():
    game = Hanabi(colors=2, ranks=2, hand_size=2)
    chosen = partners(game, ["focus", "iggi"])
    assert [agent.label for agent in chosen] == ["focus", "iggi"]
    assert [agent.label for agent in partners(game)] == list(PARTNERS)
    assert chosen[0].kind == partners(game)[0].kind
    assert [PARTNERS[int(agent.params)] for agent in chosen] == ["focus", "iggi"]
    for agent in chosen:
        check_fits(agent, game)


def test_greedy_play_leaves_partners_their_draws():
    """A random hint stays one in a greedy table: the heaviest action would be another player."""
    game = Hanabi(colors=2, ranks=2, hand_size=2)
    policy = FeedForward(game.observer("hle").size, game.num_actions, torso=(4,))
    trained = Agent(Kind(policy, "hle", True), policy.init(key=jax.random.key(0)), "trained")
    agents = [*partners(game, ["flawed"]), trained]
    assert [agent.kind.always_sampled for agent in agents] == [True, False]
    alone = np.array([[0, 0], [1, 1]])
    settings = {"seating": alone, "games": 30, "key": jax.random.key(5)}
    sampled, greedy = (crossplay(game, agents, greedy=greedy, **settings) for greedy in (False, True))
    assert sampled.mean[0] == greedy.mean[0] and sampled.length[0] == greedy.length[0]
    assert sampled.length[1] != greedy.length[1]
    (sampled_games,), (greedy_games,) = (
        record_games(game, agents, alone[:1], games=3, greedy=greedy, key=jax.random.key(5)) for greedy in (False, True)
    )
    for one, other in zip(sampled_games, greedy_games, strict=True):
        np.testing.assert_array_equal(one.actions, other.actions)


def test_refusals():
    with pytest.raises(TacitError, match="play hanabi only, and not the game 'lever'"):
        partners(lever.make())
    with pytest.raises(TacitError, match=r"a partner must be one of cautious, iggi, .* uniform, not 'igi'"):
        partners(Hanabi(), ["iggi", "igi"])
