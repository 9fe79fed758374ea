"use strict";
// One sample game, named in the address: replay.html#games/<run>/<game>. Its data are a script of that name, which
// calls tacitGame with an object in the format that experiments/report/games.py describes.

(() => {
  const { element, fixed, count, sentence } = report;
  const byId = (id) => document.getElementById(id);
  const content = byId("content");
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
    const isHanabi = game.kind === "hanabi";
    let step = 0;
    let view = "all";

    const scored = `score ${number(game.score)}${isHanabi ? ` of ${number(game.score_range[1])}` : ""}`;
    const labels = game.seats.map((seat) => seat.label);
    const who = !labels.some(Boolean) ? sentence(game.source) : new Set(labels).size === 1 ? `${labels[0]} with ${players.length === 2 ? "itself" : "copies of itself"}`
      : labels.join(players.length === 2 ? " and " : ", ");
    byId("title").textContent = `${who}: ${scored}`;
    document.title = `${byId("title").textContent} – Tacit report`;
    const source = game.run ? `${game.play} play, game ${game.number} of its pair (cross-play seed ${game.seed})` : labels.some(Boolean) ? game.source : "";
    byId("about").textContent = `${[game.game.name, count(players.length, "player"), source, count(last, "step")]
      .filter(Boolean).join(", ")}; ${game.ending}.`;
    byId("gaps").textContent = game.convention_gaps ? conventionGaps(game) : "";
    byId("of-run").hidden = !game.run;
    byId("home").textContent = game.home || "Tacit report";
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
    const views = isHanabi ? report.choice("Cards shown", [["all", "all cards"],
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
    if (game.run) report.run(id).then((run) => { if (going === shown) neighbours(around, run.games, address); }, () => {});
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
      board.replaceChildren(...(isHanabi ? table(game, step, view) : facts(game, step)));
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

  function bars(game, step, view, { player, action, probabilities, failure }) {
    const named = probabilities.map(([id, p]) => ({
      name: game.actions[player][id], card: ownCard(game, step, view, player, id), p, chosen: id === action,
    }));
    const { label, policy } = game.seats[player];
    const muted = (...words) => element("p", { class: "muted small" }, ...words);
    return [
      element("h3", {}, `Player ${player}${label ? `, ${label}` : ""}`),
      policy ? muted(`What ${policy} would have done in this seat:`) : "",
      ...(named.length ? report.probabilities(named) : [muted(`${sentence(game.actions[player][action])}; nothing is known of its probability.`)]),
      failure === undefined ? "" : muted(`By what hints say literally, this play fails with probability ${report.percent(failure)}.`),
    ];
  }

  /** How much less often each player's plays failed than by what hints say literally, in this game. */
  function conventionGaps(game) {
    const told = game.convention_gaps.map(({ plays, gap }, player) =>
      `player ${player} ${gap === null ? "without a play" : `${gap > 0 ? "+" : ""}${fixed(gap)} in ${count(plays, "play")}`}`);
    return `Convention gap in this game: ${told.join(", ")}.`;
  }

  /** The card that a play or discard is about, if the view shows it. */
  function ownCard(game, step, view, player, id) {
    if (game.kind !== "hanabi" || view === String(player) || id >= 2 * game.board.hand_size) return "";
    const slot = game.states[step].hands[player][id % game.board.hand_size];
    return slot ? hanabi.chip(slot[0]) : "";
  }

  /** The board before a step, with the card marked that its move takes. */
  function table(game, step, view) {
    const move = step < game.steps.length ? game.steps[step].moves[0] : null;
    const slots = game.board.hand_size;
    const leaving = move && move.action < 2 * slots
      ? { player: move.player, slot: move.action % slots, verb: move.action < slots ? "discards" : "plays" } : null;
    return hanabi.table(game, game.states[step], { hidden: (player) => view === String(player), leaving });
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
