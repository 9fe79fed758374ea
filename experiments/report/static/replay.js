"use strict";
// One sample game, named in the address: replay.html#games/<run>/<game>. Its data are a script of that name, which
// calls tacitGame with an object in the format that experiments/report/games.py describes.

(() => {
  const { element, fixed, count } = report;
  const byId = (id) => document.getElementById(id);
  const content = byId("content");
  const COLORS = { R: "red", Y: "yellow", G: "green", W: "white", B: "blue" };
  const MOST_BARS = 8;
  let going = null; // the game that is shown: { key }

  /** The buttons between steps: name, label, picture, and where each leads from a step of so many. */
  const LEAPS = [
    ["first", "First step (Home)", "M6 5v14M18 5l-9 7 9 7z", () => 0],
    ["back", "Step back (left arrow)", "M16 5l-9 7 9 7z", (step) => step - 1],
    ["on", "Step on (right arrow)", "M8 5l9 7-9 7z", (step) => step + 1],
    ["last", "Last step (End)", "M18 5v14M6 5l9 7-9 7z", (step, last) => last],
  ];
  const KEYS = { Home: "first", ArrowLeft: "back", ArrowRight: "on", End: "last" };

  // ------------------------------------------------------------------------------------------------ finding a game

  function picture(path) {
    const space = "http://www.w3.org/2000/svg";
    const drawn = document.createElementNS(space, "svg");
    drawn.setAttribute("viewBox", "0 0 24 24");
    drawn.setAttribute("aria-hidden", "true");
    drawn.append(document.createElementNS(space, "path"));
    drawn.firstChild.setAttribute("d", path);
    return drawn;
  }

  function load() {
    const address = decodeURIComponent(location.hash.slice(1));
    const found = /^games\/([\w.-]+)\/([\w.-]+)$/.exec(address);
    going = null;
    content.replaceChildren();
    byId("about").textContent = "";
    if (!found || found.slice(1).some((name) => name.startsWith("."))) {
      refuse(address ? `“${address}” is not the address of a game.` : "No game is named in the address.");
      return;
    }
    const [, id] = found;
    byId("run").href = `run.html#run=${encodeURIComponent(id)}`;
    byId("run").textContent = `run ${id}`;
    const script = element("script", { src: `${address}.js` });
    window.tacitGame = (game) => {
      if (address === decodeURIComponent(location.hash.slice(1))) show(game, id, address);
    };
    script.onerror = () => refuse(`There is no game “${address}” in this report.`);
    script.onload = () => script.remove();
    document.head.append(script);
  }

  function refuse(text) {
    byId("title").textContent = "No game";
    content.replaceChildren(element("p", { class: "note", role: "alert" },
      `${text} Games are listed on the page of their run: `, element("a", { href: "index.html" }, "all runs"), "."));
  }

  // ------------------------------------------------------------------------------------------------ the page of one

  function show(game, id, address) {
    const last = game.steps.length;
    const players = game.seats.map((_, player) => player);
    const hanabi = game.kind === "hanabi";
    let step = 0;
    let view = "all";

    const scored = `score ${number(game.score)}${hanabi ? ` of ${number(game.score_range[1])}` : ""}`;
    const labels = game.seats.map((seat) => seat.label);
    const who = new Set(labels).size === 1 ? `${labels[0]} with ${players.length === 2 ? "itself" : "copies of itself"}`
      : labels.join(players.length === 2 ? " and " : ", ");
    byId("title").textContent = `${who}: ${scored}`;
    document.title = `${byId("title").textContent} – Tacit report`;
    byId("about").textContent = `${game.game.name}, ${count(players.length, "player")}, ${game.play} play, game ` +
      `${game.number} of its pair (cross-play seed ${game.seed}), ${count(last, "step")}; ${game.ending}.`;
    const column = players.length === 2 ? game.seats[1].agent : new Set(labels).size === 1 ? players.length : 0;
    byId("run").href = `run.html#run=${encodeURIComponent(id)}&play=${game.play}&pair=${game.seats[0].agent}-${column}`;

    const slider = element("input", { type: "range", min: 0, max: last, value: 0, "aria-label": "Step",
      oninput: () => go(Number(slider.value)) });
    const leaps = Object.fromEntries(LEAPS.map(([name, label, path, where]) => [name, element("button", {
      type: "button", "aria-label": label, title: label, "data-leap": name, onclick: () => go(where(step, last)),
    }, picture(path))]));
    const where = element("p", { class: "where", id: "where" });
    const happened = element("p", { class: "happened", "aria-live": "polite", id: "happened" });
    const bar = element("div", { class: "steps", role: "group", "aria-label": "Steps" },
      element("div", { class: "leaps" }, Object.values(leaps)), slider, where);
    const views = hanabi ? report.choice("Cards shown", [["all", "all cards"],
      ...players.map((player) => [String(player), `player ${player} sees`])], view, (chosen) => {
      view = chosen;
      draw();
    }) : "";
    const board = element("div", { class: "board" });
    const policy = element("section", { class: "policy", "aria-label": "Policy" });
    const moves = game.steps.map((_, index) => element("button", { type: "button", onclick: () => go(index) },
      element("span", { class: "count" }, index + 1), describeMoves(game, index)));
    const list = element("ol", { class: "moves" }, moves.map((move) => element("li", {}, move)));
    const around = element("nav", { class: "around", "aria-label": "Other games" });

    content.replaceChildren(
      element("div", { class: "controls" }, views, around),
      bar,
      happened,
      element("div", { class: "stage" }, board, element("div", { class: "side" }, policy,
        element("section", { "aria-label": "Moves" }, element("h2", {}, "Moves"), list))),
      downloads(game, address));
    const shown = { key: (name) => leaps[name].click() };
    going = shown;
    report.run(id).then((run) => { if (going === shown) neighbours(around, run.games, address); }, () => {});
    draw();

    function go(wanted) {
      step = Math.min(last, Math.max(0, wanted));
      draw();
    }

    function draw() {
      slider.value = String(step);
      slider.setAttribute("aria-valuetext", step === last ? "after the last step" : `step ${step + 1} of ${last}`);
      where.textContent = step === last ? `end, after ${count(last, "step")}` : `step ${step + 1} of ${last}`;
      for (const name of ["first", "back"]) leaps[name].setAttribute("aria-disabled", String(step === 0));
      for (const name of ["on", "last"]) leaps[name].setAttribute("aria-disabled", String(step === last));
      moves.forEach((move, index) => {
        if (index === step) move.setAttribute("aria-current", "step");
        else move.removeAttribute("aria-current");
      });
      const current = moves[Math.min(step, last - 1)];
      if (current) list.scrollTop = current.parentNode.offsetTop - list.clientHeight / 2 + current.clientHeight / 2;
      happened.replaceChildren(...story(game, step));
      board.replaceChildren(...(hanabi ? hanabiBoard(game, step, view) : facts(game, step)));
      policy.replaceChildren(...probabilities(game, step, view));
    }
  }

  /** What happened last and what comes now, in words. */
  function story(game, step) {
    const before = game.kind === "hanabi" ? game.states[step].last_move
      : step > 0 ? `${describeMoves(game, step - 1)}, reward ${number(game.steps[step - 1].reward)}` : "none";
    const now = step === game.steps.length ? sentence(game.ending)
      : game.kind === "hanabi" ? sentence(game.states[step].turn) : `Step ${step + 1}`;
    return [element("strong", {}, `${now}.`),
      step === 0 ? " The game begins." : ` Last move: ${before}.`];
  }

  function describeMoves(game, step) {
    return game.steps[step].moves
      .map(({ player, action }) => `player ${player}: ${game.actions[player][action]}`).join(", ") || "nobody acts";
  }

  const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1);
  const number = (value) => (Number.isInteger(value) ? String(value).replace("-", "−") : fixed(value, 3));

  function neighbours(around, games, address) {
    const place = games.findIndex((game) => game.file === address);
    if (place < 0) return;
    const link = (to, words) => (games[to] ? element("a", { href: `#${games[to].file}` }, words)
      : element("span", { class: "muted" }, words));
    around.replaceChildren(link(place - 1, "← previous game"), link(place + 1, "next game →"));
  }

  function downloads(game, address) {
    const name = address.slice("games/".length).replaceAll("/", "-");
    const live = game.hanab_live;
    const offered = [["Download this game (JSON)", `${name}.json`, game]];
    if (live && live.replay) offered.push(["Download for hanab.live (JSON)", `${name}-hanab-live.json`, live.replay]);
    const links = offered.map(([words, file, data]) => element("button", { type: "button", onclick: () => save(file, data) }, words));
    const open = !live ? "" : live.url
      ? element("a", { class: "button", href: live.url, target: "_blank", rel: "noopener" }, "Open on hanab.live ↗")
      : element("p", { class: "muted" }, `Not on hanab.live: ${live.refusal}.`);
    return element("div", { class: "controls downloads" }, links, open);
  }

  function save(file, data) {
    const address = URL.createObjectURL(new Blob([JSON.stringify(data)], { type: "application/json" }));
    element("a", { href: address, download: file }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }

  // ------------------------------------------------------------------------------------------------ probabilities

  function probabilities(game, step, view) {
    const head = element("h2", {}, "Policy");
    if (step === game.steps.length) return [head, element("p", { class: "muted" }, "The game is over: nobody acts.")];
    return [head, ...game.steps[step].moves.flatMap((move) => bars(game, step, view, move)),
      game.play === "greedy" ? element("p", { class: "muted small" },
        "Greedy play takes the most probable action; ties are split evenly.") : ""];
  }

  function bars(game, step, view, { player, action, probabilities }) {
    const ranked = [...probabilities].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
    const rest = ranked.slice(MOST_BARS).filter(([other]) => other !== action);
    const shown = ranked.filter((entry) => !rest.includes(entry));
    const bar = ([id, p]) => element("li", { class: id === action ? "chosen" : null,
      "aria-label": `${game.actions[player][id]}: ${percent(p)}${id === action ? ", chosen" : ""}` },
    element("span", { class: "name" }, game.actions[player][id], ownCard(game, step, view, player, id),
      id === action ? element("span", { class: "tag" }, "chosen") : ""),
    element("span", { class: "p" }, percent(p)),
    element("span", { class: "track" }, element("span", { class: "fill", style: `width: ${100 * p}%` })));
    return [
      element("h3", {}, `Player ${player}, ${game.seats[player].label}`),
      element("ol", { class: "bars" }, shown.map(bar)),
      rest.length ? element("details", {}, element("summary", {}, `${count(rest.length, "other legal action")}`),
        element("ol", { class: "bars" }, rest.map(bar))) : "",
    ];
  }

  function percent(p) {
    if (p > 0 && p < 0.0005) return "< 0.1 %";
    return `${(100 * p).toFixed(1)} %`;
  }

  /** The card that a play or discard is about, if the view shows it. */
  function ownCard(game, step, view, player, id) {
    if (game.kind !== "hanabi" || view === String(player) || id >= 2 * game.board.hand_size) return "";
    const slot = game.states[step].hands[player][id % game.board.hand_size];
    return slot ? chip(slot[0]) : "";
  }

  // ------------------------------------------------------------------------------------------------ a game of Hanabi

  function hanabiBoard(game, step, view) {
    const state = game.states[step];
    const move = step < game.steps.length ? game.steps[step].moves[0] : null;
    return [
      element("section", { class: "hands", "aria-label": "Hands", style: `--slots: ${game.board.hand_size}` }, state.hands.map((hand, player) =>
        hanabiHand(game, state, player, hand, view === String(player), move))),
      element("section", { class: "table", "aria-label": "Table" },
        element("div", {}, element("h2", {}, `Fireworks `, element("span", { class: "muted" },
          `score ${state.score} of ${game.score_range[1]}`)),
        element("div", { class: "fireworks" }, state.fireworks.map((height, index) => pile(game, height, game.board.colors[index])))),
        tokens(game, state),
        element("div", {}, element("h2", {}, "Discards"), discards(game, state))),
    ];
  }

  function hanabiHand(game, state, player, hand, hidden, move) {
    const acts = state.player === player;
    const slot = move && move.player === player && move.action < 2 * game.board.hand_size
      ? move.action % game.board.hand_size : -1;
    const verb = move && move.action < game.board.hand_size ? "discards" : "plays";
    return element("div", { class: acts ? "hand acts" : "hand", "data-player": player },
      element("h3", {}, `Player ${player}`, element("span", { class: "muted" }, ` ${game.seats[player].label}`),
        acts ? element("span", { class: "tag" }, "to move") : "",
        hidden ? element("span", { class: "tag plain" }, "own cards hidden") : ""),
      element("ol", { class: "cards" }, hand.map((held, index) =>
        heldCard(game, held, index, hidden, index === slot ? verb : ""))));
  }

  function heldCard(game, [card, colors, ranks, marks], index, hidden, leaving) {
    const known = [colors.length === 1 ? colors : "?", ranks.length === 1 ? ranks : "?"];
    const says = hidden ? `unknown card${known[0] === "?" ? "" : `, ${COLORS[known[0]]}`}${known[1] === "?" ? "" : `, rank ${known[1]}`}`
      : `${COLORS[card[0]]} ${card[1]}`;
    const can = `can be ${[...colors].map((letter) => COLORS[letter]).join(", ")}; ${[...ranks].join(", ")}`;
    const hinted = [["c", "color"], ["r", "rank"]].filter(([mark]) => marks.includes(mark)).map(([, what]) => `${what} hinted`);
    const face = hidden ? element("span", { class: `card back ${known[0] === "?" ? "" : `known ${known[0]}`}` },
      element("span", { class: "letter" }, known[0]), element("span", { class: "rank" }, known[1])) : cardFace(card);
    return element("li", { class: [marks.includes("t") ? "touched" : "", leaving ? "leaving" : ""].join(" "),
      role: "img", "aria-label": [`slot ${index}: ${says}`, can, ...hinted, marks.includes("t") ? "touched by the last hint" : "",
        leaving].filter(Boolean).join("; ") },
    face,
    element("span", { class: "knowledge" },
      element("span", { class: "known-colors" }, [...game.board.colors].map((letter) => element("span", {
        class: `dot ${letter} ${colors.includes(letter) ? "" : "no"} ${marks.includes("c") && colors.includes(letter) ? "hinted" : ""}`,
      }, letter))),
      element("span", { class: "known-ranks" }, Array.from({ length: game.board.ranks }, (_, rank) => String(rank + 1)).map((rank) =>
        element("span", { class: `digit ${ranks.includes(rank) ? "" : "no"} ${marks.includes("r") && ranks.includes(rank) ? "hinted" : ""}` }, rank)))),
    element("span", { class: "slot" }, leaving || `slot ${index}`));
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

  // ------------------------------------------------------------------------------------------------ any other game

  function facts(game, step) {
    const entries = game.states[step].facts;
    const total = game.steps.slice(0, step).reduce((sum, { reward }) => sum + reward, 0);
    return [element("section", { "aria-label": "State" }, element("h2", {}, "State"), element("dl", {},
      [...entries, ["reward so far", number(total)]].map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))))];
  }

  // ------------------------------------------------------------------------------------------------ keys

  document.addEventListener("keydown", (event) => {
    const name = KEYS[event.key];
    if (!name || !going || event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input, select")) return;
    event.preventDefault();
    going.key(name);
  });
  window.addEventListener("hashchange", load);
  load();
})();
