"""Bayesian games with common payoff: decision rules of a team in which everybody knows its own type alone.

    max over δ_1, ..., δ_n of Σ_k r_k(δ_1(c_1k), ..., δ_n(c_nk))

where k goes through the combinations of types that may occur and c_ik is agent i's type in it. Branch and bound: rules
are completed one type at a time, agent by agent, and bounded from above by letting every agent before the last know all
types and the last agent's action, where it has not chosen yet:

    Σ_c max_{a_n} Σ_{k: c_nk = c} max_{a_1, ..., a_n-1} r_k

With two agents payoffs are first moved from the combinations to the first agent's types, which leaves the payoff of
every rule as it is and lowers the bound: block-coordinate descent on the dual of the linear relaxation, by
max-marginals (Globerson & Jaakkola, "Fixing max-product: convergent message passing algorithms for MAP
LP-relaxations", NIPS 2007).
"""

from typing import NamedTuple

import numpy as np

SWEEPS = 2
"""How often payoffs are moved to each of the first agent's types."""

CHUNK = 1 << 22
"""About how many numbers are computed at a time."""


class BayesianGame(NamedTuple):
    """K combinations of types of n agents. Agent i has C_i types and A_i actions."""

    types: np.ndarray  # int64[K, n]
    payoff: np.ndarray  # float64[K, A_1, ..., A_n], finite also where an action is illegal
    legal: tuple[np.ndarray, ...]  # for each agent bool[C_i, A_i]


class Rules(NamedTuple):
    """M joint decision rules, the best first."""

    actions: np.ndarray  # int16[M, C_1 + ... + C_n]
    payoff: np.ndarray  # float64[M]
    left_out: float  # what was left out for want of space has no more than this; -inf if nothing was
    work: int  # how many payoffs were computed


class _Partial(NamedTuple):
    """R partial rules: the payoffs of the last agent's choices, if the agents who have not chosen know everything."""

    actions: np.ndarray  # int16[R, C_1 + ... + C_n]
    code: np.ndarray  # int64[R, K], the joint action of the agents before the current one
    moved: np.ndarray  # float64[R], payoffs that were moved to types
    total: np.ndarray  # float64[R, C_n, A_n]


def rules_above(game: BayesianGame, threshold: float, most: int) -> Rules:
    """All joint decision rules whose payoff is above `threshold`; of more than `most` the most promising ones."""
    search = _Search(game, threshold, most)
    return search.ended(search.before_last())


def best_rule(game: BayesianGame, threshold: float, most: int) -> Rules:
    """A best joint decision rule, if its payoff is above `threshold`; `most` as in `rules_above`."""
    search = _Search(game, threshold, most)
    if search.bound() <= threshold:
        return search.none()
    found, payoff = _ascended(game, search.start())
    if payoff > threshold:
        search.threshold = payoff
    partial = search.before_last()
    if len(partial.actions):
        value = partial.moved + (partial.total + search.closed).max(2).sum(1)
        first = int(np.argmax(value))
        found, payoff = partial.actions[first], float(value[first])
        found[search.offsets[-2] :] = (partial.total[first] + search.closed).argmax(1)
    if payoff <= threshold:
        return search.none()
    return Rules(found[None], np.array([payoff]), search.left_out, search.work)


class _Search:
    def __init__(self, game: BayesianGame, threshold: float, most: int) -> None:
        self.types, self.legal, self.threshold = game.types, game.legal, threshold
        self.left_out = -np.inf
        self.work = game.payoff.size
        self.sizes = [len(own) for own in game.legal]
        self.offsets = np.cumsum([0, *self.sizes])
        self.closed = np.where(game.legal[-1], 0.0, -np.inf)
        self.most = max(1, min(most, CHUNK // self.closed.size))
        self.of_last = np.zeros((self.sizes[-1], len(game.payoff)))
        self.of_last[game.types[:, -1], np.arange(len(game.payoff))] = 1
        self.moved = np.zeros(game.legal[0].shape)
        payoff = game.payoff
        if len(self.sizes) == 2:
            payoff, self.moved = _move(game, threshold)
        self.tables = self._tables(payoff)
        top = np.where(game.legal[0], self.moved, -np.inf).max(1).sum()
        total = self.of_last @ self.tables[0][:, 0]
        self.first = _Partial(
            np.zeros((1, self.offsets[-1]), np.int16),
            np.zeros((1, len(game.payoff)), np.int64),
            np.array([top]),
            total[None],
        )

    def none(self) -> Rules:
        return Rules(self.first.actions[:0], np.zeros(0), self.left_out, self.work)

    def bound(self) -> float:
        return float(self.first.moved[0] + (self.first.total[0] + self.closed).max(1).sum())

    def start(self) -> np.ndarray:
        """int16[C_1 + ... + C_n]: the rule of the last agent that the bound assumes."""
        actions = self.first.actions[0].copy()
        actions[self.offsets[-2] :] = (self.first.total[0] + self.closed).argmax(1)
        return actions

    def _tables(self, payoff: np.ndarray) -> list[np.ndarray]:
        """For each agent float64[K, joint actions of those before it, A_n]: the best of those from it to the last."""
        count, actions = len(payoff), payoff.shape[1:]
        tables = [payoff.reshape(count, -1, actions[-1])]
        for agent in reversed(range(len(self.sizes) - 1)):
            ok = self.legal[agent][self.types[:, agent]]
            ok = ok.reshape(count, *[1] * agent, actions[agent], 1)
            payoff = np.where(ok, payoff, -np.inf).max(agent + 1)
            tables.append(payoff.reshape(count, -1, actions[-1]))
        return tables[::-1]

    def before_last(self) -> _Partial:
        """The rules of all agents but the last whose bounds are above the threshold."""
        partial = self.first
        for agent in range(len(self.sizes) - 1):
            table = self.tables[agent]
            weight = np.bincount(self.types[:, agent], table.max((1, 2)) - table.min((1, 2)))
            for own in np.argsort(-weight, kind="stable"):
                if len(partial.actions):
                    partial = self._assign(partial, agent, int(own))
        return partial

    def _assign(self, partial: _Partial, agent: int, own: int) -> _Partial:
        """All that one type of one agent may do."""
        where = np.flatnonzero(self.types[:, agent] == own)
        choices = np.flatnonzero(self.legal[agent][own])
        moved = np.zeros(len(choices))
        if agent == 0:
            moved = self.moved[own, choices] - self.moved[own, choices].max()
        width = max(1, CHUNK // (len(choices) * self.closed.size))
        parts: list[tuple[np.ndarray, ...]] = []
        for first in range(0, len(partial.actions), width):
            code = partial.code[first : first + width, where]
            before = self.tables[agent][where[None], code]  # [R, K', A_n]
            after = self.tables[agent + 1][
                where[None, :, None], code[:, :, None] * self.legal[agent].shape[1] + choices
            ]  # [R, K', choices, A_n]
            change = (after - before[:, :, None]).transpose(0, 2, 1, 3)
            total = partial.total[first : first + width, None] + self.of_last[:, where] @ change
            self.work += total.size + after.size
            constant = partial.moved[first : first + width, None] + moved
            bound = constant + (total + self.closed).max(3).sum(2)
            row, choice = np.nonzero(bound > self.threshold)
            parts.append((row + first, choice, bound[row, choice], constant[row, choice], total[row, choice]))
        row, choice, bound, constant, total = (
            parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
        )
        kept = self._keep(bound)
        row, choice = row[kept], choice[kept]
        actions, code = partial.actions[row], partial.code[row]
        actions[:, self.offsets[agent] + own] = choices[choice]
        code[:, where] = code[:, where] * self.legal[agent].shape[1] + choices[choice][:, None]
        return _Partial(actions, code, constant[kept], total[kept])

    def ended(self, partial: _Partial) -> Rules:
        """All that the last agent may do with rules of the others."""
        totals = partial.total + self.closed
        best = totals.max(2)
        payoff = partial.moved + best.sum(1)
        actions, source = partial.actions, np.arange(len(payoff))
        for own in np.argsort(-self.of_last.sum(1), kind="stable"):
            self.work += len(source) * self.closed.shape[1]
            after = payoff[:, None] - (best[source, own][:, None] - totals[source, own])
            row, choice = np.nonzero(after > self.threshold)
            value = after[row, choice]
            kept = self._keep(value)
            row, choice, payoff = row[kept], choice[kept], value[kept]
            actions, source = actions[row], source[row]
            actions[:, self.offsets[-2] + own] = choice
        order = np.argsort(-payoff, kind="stable")
        return Rules(actions[order], payoff[order], self.left_out, self.work)

    def _keep(self, bound: np.ndarray) -> np.ndarray:
        """int64[...]: the rows with the `most` highest bounds, in their order."""
        if len(bound) <= self.most:
            return np.arange(len(bound))
        order = np.argsort(-bound, kind="stable")
        self.left_out = max(self.left_out, float(bound[order[self.most]]))
        return np.sort(order[: self.most])


def _ascended(game: BayesianGame, actions: np.ndarray) -> tuple[np.ndarray, float]:
    """(int16[C_1 + ... + C_n], payoff): from a rule of the last agent, better replies of one agent after the other."""
    sizes = [len(own) for own in game.legal]
    rules = np.split(actions.astype(np.int64), np.cumsum(sizes)[:-1])
    for agent in range(len(sizes) - 1):
        rules[agent] = game.legal[agent].argmax(1)
    everyone = range(len(sizes))
    rows = np.arange(len(game.payoff))
    payoff = -np.inf
    while True:
        before = payoff
        for agent in everyone:
            index = [rules[other][game.types[:, other]] for other in everyone if other != agent]
            table = np.moveaxis(game.payoff, agent + 1, -1)[rows, *index]  # [K, A_i]
            own = np.zeros((sizes[agent], table.shape[1]))
            np.add.at(own, game.types[:, agent], table)
            own = np.where(game.legal[agent], own, -np.inf)
            rules[agent] = own.argmax(1)
            payoff = float(own.max(1).sum())
        if payoff <= before + 1e-9 * abs(before):
            return np.concatenate(rules).astype(np.int16), payoff


def _move(game: BayesianGame, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """(payoff float64[K, A_1, A_2], moved float64[C_1, A_1]): the same game, payoffs moved to the first agent's types.

    At one type after the other, every type of the second agent gets an equal share of all the max-marginals.
    """
    (mine, yours), (legal, legal_2) = game.types.T, game.legal
    payoff = game.payoff.copy()
    moved = np.zeros(legal.shape)
    closed = np.where(legal, 0.0, -np.inf)[:, :, None]
    closed_2 = np.where(legal_2, 0.0, -np.inf)
    best = (payoff + closed[mine]).max(1)  # [K, A_2]
    total = np.zeros(legal_2.shape)
    np.add.at(total, yours, best)
    places = [np.flatnonzero(mine == own) for own in range(len(legal))]
    for _ in range(SWEEPS):
        for own, where in enumerate(places):
            other = yours[where]
            rest = total[other] - best[where]  # [K', A_2], without this type
            marginal = (payoff[where] + (rest + closed_2[other])[:, None]).max(2)  # [K', A_1]
            change = marginal - (moved[own] + marginal.sum(0)) / len(where)
            moved[own] += change.sum(0)
            payoff[where] -= change[:, :, None]
            best[where] = (payoff[where] + closed[own]).max(1)
            total[other] = rest + best[where]
        if (moved + closed[:, :, 0]).max(1).sum() + (total + closed_2).max(1).sum() <= threshold:
            break
    return payoff, moved
