"use strict";
// A person's seat at the table. The server (experiments/people/server.py) sends what the person may see, and nothing
// else; every request names the version of the position that it is for, so that a window that shows an older one changes nothing.

(() => {
  const { element, count, sentence } = report;
  const byId = (id) => document.getElementById(id);
  const content = byId("content");
  const alert = element("p", { class: "note", role: "alert", hidden: true });
  const news = element("div", { class: "news", "aria-live": "polite", id: "news" });
  const board = element("div", { class: "board" });
  const side = element("div", { class: "side" });
  let view = null;
  let busy = false;

  content.append(alert, news, element("div", { class: "stage" }, board, side));

  // ------------------------------------------------------------------------------------------------ the server

  /** The server's answer; null if there is none, or a refusal, which is shown. */
  async function ask(path, body) {
    let response;
    let answer;
    try {
      response = await fetch(path, body === undefined ? {} : {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ version: view.version, ...body }),
      });
      answer = await response.json();
    } catch {
      const where = view && view.file ? ` The game is saved in ${view.file}.` : " The game is saved.";
      say(`The program behind this page has ended.${view ? where : ""} Start it again, and open the address that it prints.`);
      return null;
    }
    if (response.ok) {
      say("");
      return answer;
    }
    say(`${sentence(answer.error)}.`);
    return null;
  }

  function say(words) {
    alert.textContent = words;
    alert.hidden = !words;
  }

  /** Do something, and draw what it led to. */
  async function act(path, body = {}) {
    if (busy) return;
    busy = true;
    try {
      const told = await ask(path, body);
      if (told) draw(told);
      else await refresh();
    } finally {
      busy = false;
    }
  }

  /** Draw the game as it is now, if it went on without this window. */
  async function refresh() {
    const words = alert.textContent;
    const now = await ask("state");
    if (now && (!view || now.version !== view.version)) draw(now);
    if (now && words) say(words);
  }

  // ------------------------------------------------------------------------------------------------ the page

  function draw(now) {
    const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.action : null;
    const before = view && view.number === now.number ? view.step : now.moves.length;
    view = now;
    const others = [...new Set(view.seats.filter((_, player) => player !== view.person).map((seat) => seat.label))];
    const copies = others.length === 1 && view.seats.length > 2 ? "copies of " : "";
    byId("title").textContent = `You are player ${view.person}${view.asking ? `, with ${copies}${others.join(" and ")}` : ""}`;
    byId("about").textContent = `${view.game}, ${count(view.seats.length, "player")}, ` +
      `${count(view.board.colors.length, "color")}, ${count(view.board.ranks, "rank")}; game ${view.number + 1}` +
      `${view.practice ? "; practice: moves can be undone" : ""}.`;
    news.replaceChildren(...tell(before));
    board.replaceChildren(...hanabi.table(view, view.state, {
      hidden: (player) => player === view.person && !view.over, below: view.over ? () => "" : moves,
    }));
    side.replaceChildren(...aside());
    const next = board.querySelector(`[data-action="${focused}"]:enabled`) || content.querySelector("[data-action]:enabled");
    if (focused && next) next.focus();
  }

  /** What happened since the person's last move, and what comes now. */
  function tell(before) {
    const players = view.seats.length;
    const since = view.moves.slice(Math.max(0, Math.min(before, view.moves.length - players)));
    const now = view.over ? `${sentence(view.state.turn)}. The score is ${view.state.score} of ${view.score_range[1]}.`
      : `Your move${view.state.cards_left ? "" : `: ${view.state.turn.split(", ").slice(1).join(", ")}`}.`;
    return [...since.map((words) => element("p", {}, `${sentence(words)}.`)), element("p", {}, element("strong", {}, now)), ...next()];
  }

  function next() {
    if (!view.over) return [];
    const links = !view.asking ? [] : [element("a", { class: "button", href: `replay.html#games/played/${view.number}`, "data-action": "whole" },
      "Look at the whole game")];
    if (!view.last) links.push(button("next", "Next game", () => act("next")));
    return [element("div", { class: "controls" }, links),
      view.last ? element("p", {}, "That was the last game. This window can be closed.") : ""];
  }

  /** The moves of the person that are about a hand, as buttons. */
  function moves(player) {
    const named = view.actions.map((name, id) => ({ id, name, parts: name.split(" ") }));
    if (player === view.person) {
      const kinds = ["play", "discard"].map((kind) => named.filter(({ parts }) => parts[0] === kind));
      return element("div", { class: "moves-of-hand" }, kinds.flat().map(({ id, name, parts }) =>
        move(id, name, sentence(parts[0]))));
    }
    const hints = named.filter(({ name }) => name.startsWith("hint") && name.endsWith(`player ${player}`));
    return element("div", { class: "hints" }, element("span", { class: "muted small" }, "Hint"), hints.map(({ id, name, parts }) =>
      move(id, name, parts[1], /\d/.test(parts[1]) ? "" : `chip ${parts[1]}`)));
  }

  function move(id, name, words, kind = "") {
    const made = button(id, words, () => act("move", { action: id }));
    made.className = kind;
    made.title = name;
    made.setAttribute("aria-label", name);
    made.disabled = !view.legal.includes(id);
    return made;
  }

  function button(action, words, pressed) {
    return element("button", { type: "button", "data-action": action, onclick: pressed }, words);
  }

  function aside() {
    const tools = [];
    const advice = element("section", { class: "policy", "aria-label": "Advice", "aria-live": "polite", hidden: true });
    const { policy } = view.seats[view.person];
    if (view.asking && !view.over) {
      tools.push(button("advice", `What would ${policy} do?`, async () => {
        const told = await ask("advice", {});
        if (told) {
          const actions = told.map(([id, p]) => ({ name: view.actions[id], card: "", p, chosen: false }));
          advice.hidden = false;
          advice.replaceChildren(element("h2", {}, `${policy} in your seat`), ...report.probabilities(actions));
        } else await refresh();
      }));
    }
    if (view.practice && view.moves.length) tools.push(button("undo", "Undo my last move", () => act("undo")));
    const list = element("ol", { class: "told", tabindex: 0, "aria-label": "Moves so far" }, view.moves.map((words) => element("li", {}, words)));
    requestAnimationFrame(() => { list.scrollTop = list.scrollHeight; });
    return [element("div", { class: "controls" }, tools), advice,
      element("section", { "aria-label": "Moves" }, element("h2", {}, "Moves so far"), view.moves.length ? list
        : element("p", { class: "muted" }, "none"))];
  }

  // ------------------------------------------------------------------------------------------------ keys

  /** Arrows go from one button to the next that can be pressed. */
  document.addEventListener("keydown", (event) => {
    const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const buttons = [...content.querySelectorAll("[data-action]:not(:disabled)")];
    const place = buttons.indexOf(document.activeElement);
    if (!way || place < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    buttons[(place + way + buttons.length) % buttons.length].focus();
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  refresh();
})();
