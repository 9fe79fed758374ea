"use strict";
// The page of one run, named in the address: run.html#run=<id>, and optionally play=… and pair=<row>-<column>.

(() => {
  const { element, words, compact, fixed, count, spread } = report;
  const content = document.getElementById("content");
  let state = {};

  const section = (title, ...children) => element("section", { "aria-label": title }, element("h2", {}, title), children);
  const note = (text) => element("p", { class: "note" }, text);

  /** Names and values. */
  const pairs = (entries) => element("dl", {}, entries.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", { class: "mono" }, words(value)))));

  /** A table with names in its first column; from column `text` on the rest are words, before they are numbers. */
  function table(head, rows, text = head.length) {
    return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": head.join(", ") }, element("table", {},
      element("thead", {}, element("tr", {}, head.map((name, index) =>
        element("th", { scope: "col", class: index && index < text ? "number" : null }, name)))),
      element("tbody", {}, rows.map(([first, ...rest]) => element("tr", {}, element("th", { scope: "row" }, first), rest)))));
  }

  const cell = (...children) => element("td", { class: "number" }, children);

  function estimates({ scores, columns }) {
    const plays = ["sampled", "greedy"].filter((play) => scores[play]);
    const rows = columns.filter(({ play }) => play === plays[0]).map(({ name, field }) => [name, field]);
    const notes = new Set();
    const body = rows.map(([name, field]) => [name, ...plays.map((play) => {
      const found = scores[play][field];
      if (found[4]) notes.add(found[4]);
      return cell(fixed(found[0]), element("small", {}, spread(found)));
    })]);
    return section("Scores", table(["score", ...plays.map((play) => `${play} play`)], body),
      ...[...notes].map((text) => element("p", { class: "muted" }, `Not estimable: ${text}.`)));
  }

  /** The heat map with its switches, and what one pair of seeds did. */
  function crossPlay(data) {
    const cross = data.crossplay;
    const size = cross.labels.length;
    const plays = Object.keys(cross.plays);
    if (!plays.includes(state.play)) state.play = plays.includes("greedy") ? "greedy" : plays[0];
    let order = "given";
    let colours = data.score_range ? "game" : "data";
    const matrices = Object.fromEntries(plays.map((play) => [play, crossplay.matrix(cross, play)]));
    const node = element("div", { class: "chart", role: "img", "aria-label": "Cross-play matrix" });
    const panel = element("div", { class: "pair", role: "status" });
    const seeds = cross.labels.map((label, index) => [String(index), label]);
    const columns = crossplay.columns(cross).map((name, index) => [String(index), name]);
    const two = crossplay.players(cross) === 2;
    const given = /^(\d+)-(\d+)$/.exec(state.pair ?? "")?.slice(1).map(Number);
    let pair = given && given[0] < size && given[1] < columns.length ? given : [0, two ? Math.min(1, size - 1) : 0];
    const first = report.select(two ? "Seed in seat 0" : "Seed", seeds, String(pair[0]), (seed) => choose(Number(seed), pair[1]));
    const second = report.select(two ? "Seed in seat 1" : "Its seat", columns, String(pair[1]), (column) => choose(pair[0], Number(column)));

    const draw = () => report.drawing(node, () => {
      const entries = matrices[state.play];
      const range = colours === "game" ? data.score_range : crossplay.limits(entries);
      return crossplay.draw(node, cross, entries, { order: crossplay.order(cross, entries, order), range, clicked: choose });
    });

    function choose(row, column) {
      pair = [row, column];
      first.lastChild.value = String(row);
      second.lastChild.value = String(column);
      state.pair = `${row}-${column}`;
      keep();
      tell();
    }

    function tell() {
      const [row, column] = pair;
      const games = data.games.filter(({ seats }) => crossplay.places(seats).some((place) => place.join() === pair.join()));
      panel.replaceChildren(
        element("h3", {}, crossplay.title(cross, row, column)),
        table(["play", "mean ± SE", "games", "bombed"], plays.flatMap((play) => {
          const { cells, mean } = matrices[play][row][column];
          const line = (name, some, ...score) => [name, cell(...score),
            ...["games", "bombed"].map((field) => cell(crossplay.total(some, field).toLocaleString("en")))];
          if (cells.length < 2) return cells.map((one) => line(play, [one], crossplay.summary([one], mean)));
          return [line(play, cells, fixed(mean), element("small", {}, `mean of ${cells.length} seatings`)), ...cells.map((one) =>
            line(`${play} ${one.seats.map((seat) => cross.labels[seat]).join(" ")}`, [one], crossplay.summary([one], one.mean)))];
        })),
        element("h3", {}, "Sample games"),
        ...sampleGames(games, data, choose));
    }

    const change = (redraw) => (value) => {
      redraw(value);
      draw();
      tell();
    };
    const made = section("Cross-play", element("div", { class: "controls" },
      report.choice("Play", plays.map((play) => [play, play]), state.play, change((play) => {
        state.play = play;
        keep();
      })),
      report.choice("Seeds", [["given", "as given"], ["XP", "best XP first"]], order, change((value) => { order = value; })),
      data.score_range ? report.choice("Colours over", [["game", "the game's scores"], ["data", "these scores"]], colours,
        change((value) => { colours = value; })) : ""),
    element("div", { class: "two" }, node, element("div", {},
      element("p", { class: "muted" }, `Choose a cell of the matrix, or ${two ? "two seeds" : "a seed and its seat"}:`),
      element("div", { class: "controls" }, first, second), panel)));
    requestAnimationFrame(draw);
    tell();
    return made;
  }

  /** Links to the games of a pair; where there are none, the pairs that have some. */
  function sampleGames(games, data, choose) {
    if (games.length) {
      return [element("ul", {}, games.map((game) => element("li", {},
        element("a", { href: `replay.html#${game.file}` }, `${game.play} play, score ${words(game.score)}`),
        game.seats.length > 2 ? ` (seeds ${game.seats.map((seat) => data.crossplay.labels[seat]).join(" ")})` : "")))];
    }
    const cells = new Map(data.games.flatMap(({ seats }) => crossplay.places(seats)).map((place) => [place.join(), place]));
    const { labels } = data.crossplay;
    return [element("p", { class: "muted" }, data.games_note || (cells.size
      ? `No game of this cell was recorded; there are games of ${count(cells.size, "cell")}:` : "No games were recorded.")),
    element("p", { class: "controls" }, [...cells.values()].slice(0, 64).map(([row, column]) => element("button", {
      type: "button",
      onclick: () => choose(row, column),
    }, crossplay.players(data.crossplay) === 2 ? `${labels[row]}–${labels[column]}` : crossplay.title(data.crossplay, row, column))))];
  }

  function conventions(data) {
    const plays = Object.keys(data.plays);
    let play = plays.includes("greedy") ? "greedy" : plays[0];
    let chosen = [0, Math.min(1, data.labels.length - 1)];
    const body = element("div", {});
    const seeds = data.labels.map((label, index) => [String(index), label]);

    function show() {
      const found = data.plays[play];
      const gap = element("p", {}, found.gap.map((told, place) => told
        ? `Convention gap of ${["plays", "discards"][place]}: ${told[0]} of seeds with themselves, ${told[1]} with each other. `
        : "").join(""));
      if (found.refused) {
        body.replaceChildren(element("p", {}, `No convention matrices: ${found.refused}.`), gap);
        return;
      }
      const maps = element("div", { class: "grid wide" });
      body.replaceChildren(maps, element("p", {}, `Spearman correlation of distance and XP: ${found.predicts}`), gap);
      for (const seed of new Set(chosen)) {
        const title = `seed ${data.labels[seed]}`;
        curves.add(maps, `Convention matrix of ${title}`, (node) => curves.convention(node, found.matrices[seed], data.actions, title));
      }
      if (found.pairs.length) curves.add(maps, "Distance and cross-play", (node) => curves.distances(node, found, data.labels));
    }

    const pick = (place) => report.select(place ? "and seed" : "Seed", seeds, String(chosen[place]), (seed) => {
      chosen[place] = Number(seed);
      show();
    });
    const made = section("Conventions", element("p", { class: "muted" },
      `How the next player answers an action, over ${count(data.games, "self-play game")} of each seed.`),
    element("div", { class: "controls" }, report.choice("Play", plays.map((name) => [name, name]), play, (name) => {
      play = name;
      show();
    }), pick(0), data.labels.length > 1 ? pick(1) : ""), body);
    show();
    return made;
  }

  function phase(data) {
    const place = element("div", { class: "grid wide" });
    const made = section("Phase diagram", place, ...data.gaps.map((text) => element("p", { class: "muted" }, text)),
      element("h3", {}, "Thresholds and best values"),
      table(["what", "found"], Object.entries(data.found).map(([name, text]) => [name, element("td", { class: "words" }, text)]), 1));
    curves.phase(place, data);
    return made;
  }

  function zsc(data) {
    const place = element("div", {});
    const body = data.methods.map((method) => [method.name, ...(method.refused
      ? [element("td", { class: "words", colspan: "4" }, `does not apply: ${method.refused}`)]
      : [cell(fixed(method.self_play, 4)), cell(fixed(method.cross_play, 4)), cell(fixed(method.gap, 4)),
        element("td", { class: "words" }, method.note ?? "")])]);
    const made = section("Methods of zero-shot coordination",
      table(["method", "SP", "XP", "gap to the best equivariant", "note"], body, 4), place);
    if (data.matrix.length) {
      curves.add(place, "Cross-play of the methods", (node) => curves.methods(node, data.names, data.matrix));
    }
    return made;
  }

  const keep = () => report.keep(state);

  const SAID = { running: "is still running", cut: "was cut short", failed: "failed", damaged: "is damaged" };

  function show(data) {
    document.title = `Run ${data.name} – Tacit report`;
    document.getElementById("name").textContent = `Run ${data.name}`;
    const about = document.getElementById("about");
    about.replaceChildren(element("span", { class: `state state-${data.state}` }, data.state),
      ["", data.game, data.policy, data.learner, data.seeds ? count(data.seeds, "seed") : "",
        data.steps ? `${compact(data.steps)} steps` : ""].filter((text, index) => !index || text).join(" · "));
    const parts = [
      data.state in SAID ? note(`This run ${SAID[data.state]}${data.reason ? `: ${data.reason}` : ""}`) : null,
      ...data.problems.map(note),
      Object.keys(data.scores).length ? estimates(data) : null,
    ];
    const learning = element("div", { class: "grid" });
    if (data.curves) parts.push(section("Learning curves", learning));
    if (data.crossplay) parts.push(crossPlay(data));
    if (data.conventions) parts.push(conventions(data.conventions));
    if (data.phase) parts.push(phase(data.phase));
    if (data.zsc) parts.push(zsc(data.zsc));
    parts.push(section("Configuration", Object.keys(data.keys).length ? pairs(Object.entries(data.keys))
      : element("p", {}, "It cannot be read.")));
    parts.push(section("Made by", pairs([["command", data.command], ["folder", data.folder], ["steps done", data.steps_done || ""],
      ["updated", data.updated], ...Object.entries(data.versions)].filter(([, value]) => value !== ""))));
    content.replaceChildren(...parts.filter(Boolean));
    if (data.curves) curves.learning(learning, data.curves);
  }

  async function load() {
    state = report.state();
    if (!state.run) {
      content.replaceChildren(note("The address names no run."));
      return;
    }
    try {
      show(await report.run(state.run));
    } catch (error) {
      content.replaceChildren(note(`${error.message}.`));
    }
  }

  window.addEventListener("hashchange", load);
  load();
})();
