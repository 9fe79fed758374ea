"""Claims: a public board before the first action, on which an item has at most one holder."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from games.errors import TacitError, whole_number
from games.tabular.simulator import Simulator
from games.tabular.structures.phases import (
    Action,
    Core,
    Joint,
    Move,
    Original,
    Rules,
    Step,
    action_number,
    check_joint_actions,
    named,
    transform,
)  # fmt: skip

NOTHING = Move("claim nothing")


class _Board(NamedTuple):
    round: int  # rounds played
    holders: tuple[int | None, ...]  # of each item


def claims(game: Simulator, *, items: int | Sequence[str | int], rounds: int = 1) -> Simulator:
    """Everybody claims an item of a board or none, all at once, `rounds` times, and then plays the game.

    An item that several agents claim goes to one of them by a fair draw, and so never has two holders; then all see the
    same board. An agent holds at most one item: who has one keeps it, and who has none may claim a free one in the next
    round. Claims bind nothing by themselves.

    `items` is a number or a list of actions, and that is a difference of meaning:

    - A *number*: items are new labels, without any tie to what can be done in the game. Which item stands for what is a
      convention, and symmetries permute items separately.
    - A list of *actions* of the game (names; or numbers, which then mean agent 0's names): an agent claims an action
      by taking this same action, so that symmetries relabel claims along with actions, and the board's items have a
      meaning in the game.

    Symmetries follow from that. Public boards need large tables: with three agents only a few items fit.

    Actions: "claim nothing" and, for a number of items, "claim item0", ... Observations: the board ("item0: player1")
    together with the last original observation. Horizon: `rounds` more, before the first step. Discount: rewards are
    divided by γ^rounds.

    Raises:
      TacitError: if there are no items, or two of the same name, or one that no agent has as an action; if `rounds` is
        not a whole number of at least 1; if the game is too large.
    """
    rounds = whole_number("claims rounds", rounds, 1)
    problem, original = game.problem, Original(game)
    names, moves = _items(game, items)
    label = named(game, "claims", items=items if isinstance(items, int) else list(names), rounds=rounds)
    check_joint_actions(label, *(1 + len(own) for own in moves))

    def claiming(agent: int, board: _Board) -> list[Action]:
        if board.round == 0:
            return [*moves[agent].values(), NOTHING]
        if agent in board.holders:
            return [NOTHING]
        return [*(move for item, move in moves[agent].items() if board.holders[item] is None), NOTHING]

    def legal(agent: int, core: Core, board: _Board) -> Sequence[Action]:
        return claiming(agent, board) if board.round < rounds else original.legal(agent, core)

    def step(core: Core, board: _Board, joint: Joint) -> Step:
        if board.round == rounds:
            return Step({shown_already: 1.0}, played=joint)
        return Step({_Board(board.round + 1, holders): chance for holders, chance in draws(board, joint)})

    def draws(board: _Board, joint: Joint) -> list[tuple[tuple[int | None, ...], float]]:
        """The boards that these claims can lead to, each with its probability."""
        wanted: list[list[int | None]] = [[holder] for holder in board.holders]
        for item, held in enumerate(wanted):
            if held == [None]:
                wanted[item] = [k for k, move in enumerate(joint) if moves[k].get(item) == move] or [None]
        chance = 1.0
        for claimants in wanted:
            chance /= len(claimants)
        return [(holders, chance) for holders in itertools.product(*wanted)]

    def view(agent: int, core: Core, board: _Board, joint: Joint | None) -> tuple[str, ...]:
        if core.step:
            return ()
        held = [(names[item], holder) for item, holder in enumerate(board.holders) if holder is not None]
        shown = ", ".join(f"{item}: {problem.agents[holder]}" for item, holder in held) or "nothing is claimed"
        return (("claim",) if board.round < rounds else ()) + ((shown,) if board.round else ())

    nobody = (None,) * len(names)
    shown_already = _Board(rounds, nobody)  # the board is part of everybody's history, and of no further use
    return transform(original, Rules(_Board(0, nobody), legal, step, view, delay=rounds), label)


def _items(game: Simulator, items: int | Sequence[str | int]) -> tuple[tuple[str, ...], list[dict[int, Action]]]:
    """The items' names, and for each agent: item -> the action that claims it."""
    problem, agents = game.problem, range(game.problem.num_agents)
    if isinstance(items, str) or not isinstance(items, Sequence):
        count = whole_number("claims items", items, 1)
        check_joint_actions(f"{game.label} + claims", count)
        names = tuple(f"item{item}" for item in range(count))
        return names, [{item: Move(f"claim {name}") for item, name in enumerate(names)} for _ in agents]
    if not items:
        raise TacitError("claims items must be at least one: a board with no items cannot be claimed from")
    names = []
    for item in items:
        number = action_number(problem, 0, item, "claims items")
        names.append(item if number is None else problem.actions[0][number])
    moves: list[dict[int, Action]] = [
        {item: own.index(name) for item, name in enumerate(names) if name in own} for own in problem.actions
    ]
    for item, name in enumerate(names):
        if not any(item in own for own in moves):
            raise TacitError(f"claims items must be actions of some agent, and nobody has {name!r}")
        if name in names[:item]:
            raise TacitError(f"claims items must be different, and {name!r} stands twice")
    return tuple(map(str, names)), moves
