"use strict";
// One heat map for each run of a game, grouped by a parameter. A run's cells are loaded when its place comes into view.

(() => {
  const { element, words, fixed, count, runLink } = report;
  const PAGE = 60;
  const rows = overview.rows.filter((row) => row.range);
  const games = [...new Set(rows.map((row) => row.game))].sort();
  const state = { play: "greedy", colours: "game", order: "given", ...report.state() };
  let limit = PAGE;
  let observer = null;

  const chosen = () => rows.filter((row) => row.game === state.game);

  /** What the runs of the game differ in. */
  function keys() {
    const own = chosen();
    const values = { policy: (row) => row.policy, learner: (row) => row.learner, seeds: (row) => row.seeds };
    const all = [...overview.keys.map((key) => [key, (row) => row.keys[key]]), ...Object.entries(values)];
    return new Map(all.filter(([, value]) => new Set(own.map((row) => JSON.stringify(value(row)))).size > 1));
  }

  function change(name, value) {
    state[name] = value;
    limit = PAGE;
    if (name === "game") makeChoices();
    show();
  }

  function makeChoices() {
    const differing = keys();
    const names = [...differing.keys()];
    if (!names.includes(state.group)) {
      state.group = report.mostSwept(chosen(), names, (row, name) => differing.get(name)(row)) ?? "";
    }
    const controls = [
      games.length > 1 ? report.select("Game", games.map((game) => [game, game]), state.game, (game) => change("game", game)) : null,
      names.length ? report.select("Grouped by", names.map((name) => [name, name]), state.group, (name) => change("group", name)) : null,
      report.choice("Play", [["sampled", "sampled"], ["greedy", "greedy"]], state.play, (play) => change("play", play)),
      report.choice("Colours over", [["game", "the game's scores"], ["data", "these scores"]], state.colours,
        (colours) => change("colours", colours)),
      report.choice("Seeds", [["given", "as given"], ["XP", "best XP first"]], state.order, (order) => change("order", order)),
    ];
    document.getElementById("choices").replaceChildren(...controls.filter(Boolean));
  }

  /** The ends of the one colour scale. */
  function range() {
    const own = chosen();
    const given = own.map((row) => row.score_range).filter(Boolean);
    const ends = state.colours === "game" && given.length ? given : own.map((row) => row.range[state.play]);
    const [low, high] = [Math.min(...ends.map(([end]) => end)), Math.max(...ends.map(([, end]) => end))];
    return low < high ? [low, high] : [low - 0.5, high + 0.5];
  }

  function show() {
    report.keep(state);
    observer?.disconnect();
    observer = new IntersectionObserver(seen, { rootMargin: "200px" });
    const own = chosen();
    const [low, high] = range();
    const scale = document.getElementById("scale");
    scale.replaceChildren(element("span", {}, fixed(low)), element("span", { class: "viridis" }), element("span", {}, fixed(high)));
    scale.setAttribute("aria-label", `Colours from ${fixed(low)} to ${fixed(high)}`);
    const differing = keys();
    const groups = new Map();
    for (const row of own) {
      const value = differing.get(state.group)?.(row);
      const id = JSON.stringify(value) ?? "";
      groups.set(id, { value, members: [...(groups.get(id)?.members ?? []), row] });
    }
    const ordered = [...groups.values()].sort((a, b) => report.compare(a.value, b.value));
    let left = limit;
    const parts = [];
    for (const { value, members } of ordered) {
      const name = state.group ? `${state.group} ${words(value)}` : state.game;
      if (left <= 0) break;
      const shown = members.slice(0, left);
      left -= shown.length;
      parts.push(element("div", { class: "group", role: "group", "aria-label": name }, element("h2", {}, name),
        element("div", { class: "maps" }, shown.map((row) => figure(row, differing, [low, high])))));
    }
    document.getElementById("groups").replaceChildren(...parts);
    document.getElementById("note").textContent = own.length ? `${count(own.length, "run")} in ${count(groups.size, "group")}`
      : "No run of this report has a cross-play.";
    const more = document.getElementById("more");
    more.hidden = own.length <= limit;
    more.textContent = `Show ${Math.min(PAGE, own.length - limit)} more`;
  }

  function figure(row, differing, ends) {
    const place = element("div", { class: "chart map", role: "img",
      "aria-label": `Cross-play of run ${row.name}` });
    const rest = [...differing].filter(([key, value]) => key !== state.group && value(row) !== undefined)
      .map(([key, value]) => `${key.split(".").pop()} ${words(value(row))}`);
    const xp = row.scores[state.play]?.cross_play;
    const made = element("figure", {}, place, element("figcaption", {},
      element("a", { href: runLink(row.id, { play: state.play }), class: "mono" }, row.name),
      xp ? ` XP ${fixed(xp[0])}` : "", ...rest.map((text) => element("div", { class: "muted" }, text))));
    place.addEventListener("seen", async () => {
      let data;
      try {
        data = await report.run(row.id);
      } catch (error) {
        place.textContent = error.message;
        return;
      }
      const entries = crossplay.matrix(data.crossplay, state.play);
      report.drawing(place, () => crossplay.draw(place, data.crossplay, entries, {
        order: crossplay.order(data.crossplay, entries, state.order),
        range: ends,
        small: true,
        clicked: (first, second) => { location.href = runLink(row.id, { play: state.play, pair: `${first}-${second}` }); },
      }));
    }, { once: true });
    observer.observe(place);
    return made;
  }

  function seen(changes) {
    for (const { isIntersecting, target } of changes) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      target.dispatchEvent(new Event("seen"));
    }
  }

  if (!games.includes(state.game)) state.game = games[0] ?? "";
  document.getElementById("more").addEventListener("click", () => {
    limit += PAGE;
    show();
  });
  makeChoices();
  show();
})();
