"use strict";
// A board of Hanabi, in the format of `states` in experiments/report/games.py: hands, fireworks, tokens, discards.

const hanabi = (() => {
  const { element } = report;
  const COLORS = { R: "red", Y: "yellow", G: "green", W: "white", B: "blue" };

  /**
   * The sections of a board: the hands, and what lies on the table.
   *
   * `game` has board, seats and score_range. `hidden(player)`: whether the faces of that hand are hidden. `leaving`: the
   * card that the next move takes, { player, slot, verb }. `below(player)`: what stands below a hand.
   */
  function table(game, state, { hidden, leaving = null, below = () => "" }) {
    const hands = state.hands.map((cards, player) => hand(game, state, player, cards, hidden(player), leaving, below));
    return [
      element("section", { class: "hands", "aria-label": "Hands", style: `--slots: ${game.board.hand_size}` }, hands),
      element("section", { class: "table", "aria-label": "Table" },
        element("div", {}, element("h2", {}, `Fireworks `, element("span", { class: "muted" },
          `score ${state.score} of ${game.score_range[1]}`)),
        element("div", { class: "fireworks" }, state.fireworks.map((height, index) => pile(game, height, game.board.colors[index])))),
        tokens(game, state),
        element("div", {}, element("h2", {}, "Discards"), discards(game, state))),
    ];
  }

  function hand(game, state, player, cards, hidden, leaving, below) {
    const acts = state.player === player;
    const verb = (slot) => (leaving && leaving.player === player && leaving.slot === slot ? leaving.verb : "");
    return element("div", { class: acts ? "hand acts" : "hand", "data-player": player },
      element("h3", {}, `Player ${player}`, element("span", { class: "muted" }, ` ${game.seats[player].label}`),
        acts ? element("span", { class: "tag" }, "to move") : "",
        hidden ? element("span", { class: "tag plain" }, "own cards hidden") : ""),
      element("ol", { class: "cards" }, cards.map((held, slot) =>
        heldCard(game, held, slot, hidden, verb(slot)))),
      below(player));
  }

  function heldCard(game, [card, colors, ranks, marks], slot, hidden, leaving) {
    const known = [colors.length === 1 ? colors : "?", ranks.length === 1 ? ranks : "?"];
    const says = hidden ? `unknown card${known[0] === "?" ? "" : `, ${COLORS[known[0]]}`}${known[1] === "?" ? "" : `, rank ${known[1]}`}`
      : `${COLORS[card[0]]} ${card[1]}`;
    const can = `can be ${[...colors].map((letter) => COLORS[letter]).join(", ")}; ${[...ranks].join(", ")}`;
    const hinted = [["c", "color"], ["r", "rank"]].filter(([mark]) => marks.includes(mark)).map(([, what]) => `${what} hinted`);
    const face = hidden ? element("span", { class: `card back ${known[0] === "?" ? "" : `known ${known[0]}`}` },
      element("span", { class: "letter" }, known[0]), element("span", { class: "rank" }, known[1])) : cardFace(card);
    return element("li", { class: [marks.includes("t") ? "touched" : "", leaving ? "leaving" : ""].join(" "),
      role: "img", "aria-label": [`slot ${slot}: ${says}`, can, ...hinted, marks.includes("t") ? "touched by the last hint" : "",
        leaving].filter(Boolean).join("; ") },
    face,
    element("span", { class: "knowledge" },
      element("span", { class: "known-colors" }, [...game.board.colors].map((letter) => element("span", {
        class: `dot ${letter} ${colors.includes(letter) ? "" : "no"} ${marks.includes("c") && colors.includes(letter) ? "hinted" : ""}`,
      }, letter))),
      element("span", { class: "known-ranks" }, Array.from({ length: game.board.ranks }, (_, rank) => String(rank + 1)).map((rank) =>
        element("span", { class: `digit ${ranks.includes(rank) ? "" : "no"} ${marks.includes("r") && ranks.includes(rank) ? "hinted" : ""}` }, rank)))),
    element("span", { class: "slot" }, leaving || `slot ${slot}`));
  }

  const cardFace = (card) => element("span", { class: `card ${card[0]}` },
    element("span", { class: "letter" }, card[0]), element("span", { class: "rank" }, card[1]));
  const chip = (card) => element("span", { class: `chip ${card[0]}`, "aria-label": `${COLORS[card[0]]} ${card[1]}` }, card);

  function pile(game, height, letter) {
    const says = `${COLORS[letter]}: ${height} of ${game.board.ranks}`;
    return element("div", { class: `pile ${height === game.board.ranks ? "complete" : ""}`, role: "img", "aria-label": says, title: says },
      height ? cardFace(`${letter}${height}`) : element("span", { class: `card none ${letter}` },
        element("span", { class: "letter" }, letter), element("span", { class: "rank" }, "–")));
  }

  function tokens(game, state) {
    const row = (name, kind, now, most) => element("div", { class: "token-row" }, element("dt", {}, name),
      element("dd", {}, most <= 10 && most > 0 ? element("span", { class: "tokens", "aria-hidden": "true" }, Array.from({ length: most },
        (_, index) => element("span", { class: `token ${kind} ${index < now ? "" : "spent"}` }))) : "",
      element("span", { class: "amount" }, most === null ? now : `${now} of ${most}`)));
    return element("dl", { class: "counts" },
      row("Hint tokens", "hint", state.information_tokens, game.board.information_tokens),
      row("Lives", "life", state.life_tokens, game.board.life_tokens),
      row("Cards in the deck", "deck", state.cards_left, null));
  }

  function discards(game, state) {
    if (!state.discards.length) return element("p", { class: "muted" }, "none");
    return element("div", { class: "discards" }, [...game.board.colors].map((letter) =>
      state.discards.filter((card) => card[0] === letter)).filter((cards) => cards.length)
      .map((cards) => element("div", {}, cards.map(chip))));
  }

  return { table, chip };
})();
