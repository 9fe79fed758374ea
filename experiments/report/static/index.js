"use strict";
// The overview: a table of all runs that can be filtered and sorted. `overview` comes from data/overview.js:
// keys (what the runs differ in), columns (of estimates), rows (see experiments/report/data.py).

(() => {
  const { element, escape, words, compact, fixed, count, spread, compare, runLink } = report;
  const PAGE = 200;
  const MANY = 60;
  const FEW = 6;
  const rows = overview.rows;
  const state = { sort: "", down: "", ...report.state() };
  let limit = PAGE;

  const identity = (value) => (value === undefined ? "" : JSON.stringify(value));
  const different = ({ value }) => new Set(rows.map((row) => identity(value(row)))).size;

  const RUN = { name: "run", value: (row) => row.name };
  const STATE = { name: "state", value: (row) => row.state };
  const GAME = { name: "game", value: (row) => row.game };
  const KEYS = overview.keys.map((key) => ({ name: short(key), title: key, value: (row) => row.keys[key] }));
  const ESTIMATES = overview.columns.map(({ name, play, field }) => ({ name, estimate: (row) => row.scores[play]?.[field] }))
    .filter(({ estimate }) => rows.some(estimate));
  const REST = [
    { name: "seeds", value: (row) => row.seeds, number: true },
    { name: "steps", value: (row) => row.steps, number: true },
    { name: "policy", value: (row) => row.policy },
    { name: "learner", value: (row) => row.learner },
    { name: "command", value: (row) => row.command },
  ];
  /** What all runs have in common has no column, but a sentence. */
  const ALIKE = [STATE, GAME, ...REST].filter((column) => different(column) < 2);
  const COLUMNS = [RUN, STATE, GAME, ...KEYS, ...ESTIMATES, ...REST].filter((column) => !ALIKE.includes(column));
  const most = [...KEYS].sort((a, b) => different(b) - different(a));
  const turns = Array.from({ length: Math.max(KEYS.length, ESTIMATES.length) }, (_, turn) => [ESTIMATES[turn], most[turn]])
    .flat().filter(Boolean);
  /** Columns that do not fit beside these are folded: first the scores and what the runs differ in most. */
  const IMPORTANCE = [RUN, GAME, ...turns.slice(0, 2), STATE, ...turns.slice(2), ...REST]
    .filter((column) => COLUMNS.includes(column));
  const FILTERS = [
    ["state", "State", (row) => row.state],
    ["game", "Game", (row) => row.game],
    ["command", "Command", (row) => row.command],
    ["policy", "Policy", (row) => row.policy],
    ["learner", "Learner", (row) => row.learner],
    ...overview.keys.map((key) => [`key.${key}`, short(key), (row) => row.keys[key]]),
  ];
  const texts = rows.map((row) =>
    [row.name, row.folder, row.game, row.policy, row.learner, row.command, row.state, row.reason,
      ...Object.entries(row.keys).map(([key, value]) => `${key}=${words(value)}`)].join(" ").toLowerCase());

  /** The last part of a key, or all of it where two keys end alike. */
  function short(key) {
    const end = key.split(".").pop();
    return overview.keys.filter((other) => other.split(".").pop() === end).length > 1 ? key : end;
  }

  function makeFilters() {
    const form = document.getElementById("filters");
    const input = element("input", { type: "search", value: state.text ?? "", placeholder: "name, KEY=VALUE, …" });
    input.addEventListener("input", () => change("text", input.value));
    form.append(element("label", {}, "Text", input));
    const lists = [];
    for (const [name, label, value] of FILTERS) {
      const found = new Map(rows.map((row) => [identity(value(row)), value(row)]));
      if (found.size < 2 || found.size > MANY) continue;
      const options = [...found].filter(([, one]) => one !== undefined).sort(([, a], [, b]) => compare(a, b));
      lists.push([state[name], report.select(label, [["", "all"], ...options.map(([id, one]) => [id, words(one)])],
        state[name] ?? "", (chosen) => change(name, chosen))]);
    }
    const [few, more] = [lists.slice(0, FEW), lists.slice(FEW)];
    form.append(...few.map(([, list]) => list), element("button", { type: "button", onclick: clear }, "Clear"));
    if (more.length) {
      form.append(element("details", { open: more.some(([chosen]) => chosen) },
        element("summary", {}, count(more.length, "more filter")), element("div", { class: "controls" }, more.map(([, list]) => list))));
    }
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  function change(name, value) {
    state[name] = value;
    limit = PAGE;
    show();
  }

  function clear() {
    for (const [name] of [["text"], ...FILTERS]) state[name] = "";
    for (const control of document.querySelectorAll("#filters input, #filters select")) control.value = "";
    limit = PAGE;
    show();
  }

  function chosenRows() {
    const wanted = (state.text ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const kept = FILTERS.filter(([name]) => state[name]);
    return rows.filter((row, index) =>
      wanted.every((word) => texts[index].includes(word)) &&
      kept.every(([name, , value]) => identity(value(row)) === state[name]));
  }

  function sorted(chosen) {
    const column = COLUMNS.find((one) => one.name === state.sort);
    if (!column) return chosen;
    const value = column.estimate ? (row) => column.estimate(row)?.[0] ?? undefined : column.value;
    const sign = state.down ? -1 : 1;
    return [...chosen].sort((a, b) => {
      const [left, right] = [value(a), value(b)];
      if (left === undefined || right === undefined) return (left === undefined) - (right === undefined);
      return sign * compare(left, right);
    });
  }

  function makeHead() {
    document.querySelector("#table thead").append(element("tr", {}, COLUMNS.map((column) =>
      element("th", { scope: "col", class: column.number || column.estimate ? "number" : null },
        element("button", { type: "button", title: column.title ?? null, onclick: () => sortBy(column) }, parts(column.name))))));
  }

  /** A name that may be broken after its dots and underscores. */
  const parts = (name) => name.split(/(?<=[._])/).flatMap((part, index) => (index ? [element("wbr"), part] : [part]));

  function sortBy(column) {
    const same = state.sort === column.name;
    const firstDown = Boolean(column.estimate || column.number);
    if (same && Boolean(state.down) !== firstDown) Object.assign(state, { sort: "", down: "" });
    else Object.assign(state, { sort: column.name, down: same ? (state.down ? "" : "1") : firstDown ? "1" : "" });
    show();
  }

  function cell(column, row) {
    if (column.estimate) {
      const found = column.estimate(row);
      if (!found) return '<td class="number"></td>';
      return `<td class="number" title="${escape(found[4] ?? "")}">${fixed(found[0])}` +
        `<small>${escape(spread(found))}</small></td>`;
    }
    const value = column.value(row);
    if (column.name === "run") {
      return `<th scope="row"><a class="mono" href="${escape(runLink(row.id))}">${escape(value)}</a></th>`;
    }
    if (column.name === "state") {
      return `<td><span class="state state-${escape(value)}">${escape(value)}</span>` +
        `${row.reason ? `<small class="reason" title="${escape(row.reason)}">${escape(row.reason)}</small>` : ""}</td>`;
    }
    const text = value === undefined || (value === null && column.number) ? "" : column.number ? compact(value) : words(value);
    return `<td class="${column.number || typeof value === "number" ? "number" : ""}">${escape(text)}</td>`;
  }

  /** Hide the least important columns, so that the others fit beside each other; none if all are asked for. */
  function fold() {
    const table = document.getElementById("table");
    const hide = (folded) => {
      for (const line of table.rows) [...line.cells].forEach((one, index) => { one.hidden = folded.has(COLUMNS[index]); });
    };
    hide(new Set());
    table.classList.add("natural");
    const widths = new Map([...table.tHead.rows[0].cells].map((one, index) => [COLUMNS[index], one.getBoundingClientRect().width]));
    table.classList.remove("natural");
    const folded = new Set();
    let left = table.parentElement.clientWidth;
    for (const column of new Set([RUN, ...COLUMNS.filter(({ name }) => name === state.sort), ...IMPORTANCE])) {
      if (widths.get(column) <= left) left -= widths.get(column);
      else folded.add(column);
    }
    const names = COLUMNS.filter((column) => folded.has(column)).map(({ name }) => name);
    const all = state.columns === "all";
    if (!all) hide(folded);
    const said = document.getElementById("folded");
    said.hidden = !names.length;
    said.firstElementChild.textContent = all ? "All columns are shown." : `Not shown, for want of room: ${names.join(", ")}.`;
    document.getElementById("unfold").textContent = all ? "Show those that fit" : "Show all columns";
  }

  function show() {
    report.keep(state);
    const chosen = sorted(chosenRows());
    const shown = chosen.slice(0, limit);
    document.querySelector("#table tbody").innerHTML =
      shown.map((row) => `<tr>${COLUMNS.map((column) => cell(column, row)).join("")}</tr>`).join("");
    document.querySelectorAll("#table thead th").forEach((head, index) => {
      if (COLUMNS[index].name === state.sort) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    fold();
    document.getElementById("shown").textContent = `${chosen.length.toLocaleString("en")} of ${count(rows.length, "run")}` +
      (shown.length < chosen.length ? `, the first ${shown.length} shown` : "");
    const more = document.getElementById("more");
    more.hidden = shown.length === chosen.length;
    more.textContent = `Show ${Math.min(PAGE, chosen.length - shown.length)} more`;
    scores.show(chosen, state, show);
  }

  function countStates() {
    const states = ["finished", "running", "cut", "failed", "damaged"]
      .map((name) => [rows.filter((row) => row.state === name).length, name]).filter(([number]) => number);
    return `${count(rows.length, "run")}: ${states.map(([number, name]) => `${number.toLocaleString("en")} ${name}`).join(", ")}`;
  }

  /** A list of recorded games for each file, each with a link to its replay. */
  function listRecorded() {
    const section = document.getElementById("recorded");
    const shown = { runs: rows.length, scores: rows.length, recorded: overview.recorded.length };
    if (!shown.recorded) shown.runs = shown.scores = 1; // the page says that there is no run
    for (const [id, number] of Object.entries(shown)) {
      document.getElementById(id).hidden = !number;
      document.querySelector(`nav li:has([href="#${id}"])`).hidden = !number;
    }
    if (!shown.runs) document.getElementById("counts").hidden = document.querySelector("nav").hidden = true;
    for (const { file, number, refused, games } of overview.recorded) {
      const left = number - refused - games.length;
      const rest = [refused ? `${count(refused, "game")} against the rules` : "", left ? `${count(left, "more game")}` : ""].filter(Boolean);
      section.append(element("details", { open: overview.recorded.length === 1 },
        element("summary", {}, `${file}: ${count(games.length, "game")}${rest.length ? ` (left out: ${rest.join(", ")})` : ""}`),
        element("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": file }, element("table", {},
          element("thead", {}, element("tr", {}, ["game", "players", "score", "moves", "end"].map((name) => element("th", { scope: "col" }, name)))),
          element("tbody", {}, games.map((game) => element("tr", {},
            element("td", {}, element("a", { href: `replay.html#${game.file}` }, game.number)),
            [game.players, game.score, game.moves, game.ending.replace("the game is over: ", "")].map((value) => element("td", {}, value)))))))));
    }
  }

  document.getElementById("counts").textContent = rows.length ? countStates() : "There is no run in these folders.";
  const alike = rows.length ? ALIKE.map((column) => [column, column.value(rows[0])]).filter(([column, value]) =>
    column !== STATE && value !== undefined && value !== null && value !== "") : [];
  document.getElementById("alike").textContent = alike.length
    ? `All runs: ${alike.map(([{ name, number }, value]) => `${name} ${number ? compact(value) : words(value)}`).join(", ")}.` : "";
  document.getElementById("unfold").addEventListener("click", () => {
    state.columns = state.columns === "all" ? "" : "all";
    show();
  });
  window.addEventListener("resize", fold);
  document.getElementById("more").addEventListener("click", () => {
    limit += PAGE;
    show();
  });
  makeFilters();
  makeHead();
  scores.make(rows, state, show);
  show();
  listRecorded();
})();
