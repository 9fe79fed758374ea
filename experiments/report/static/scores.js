"use strict";
// Self-play and cross-play, or their gap, against a swept parameter: a chart for each game and board, a point for each run with its interval.

const scores = (() => {
  const { element, escape, words, fixed, spread, colors, runLink } = report;
  const MOST_CHARTS = 24;
  const ERROR_BARS = 400;
  const OWN = { policy: (row) => row.policy, learner: (row) => row.learner, seeds: (row) => row.seeds,
    steps: (row) => row.steps, run: (row) => row.name };
  let choices = [];

  const valueOf = (row, name) => (name in OWN ? OWN[name](row) : row.keys[name]);

  /** What a chart can draw: name, field of a row's scores, colour, symbol. */
  const BOTH = [["SP", "self_play", "selfPlay", "square"], ["XP", "cross_play", "crossPlay", "circle"]];
  const DRAWN = {
    scores: BOTH,
    shares: BOTH,
    gap: [["SP − XP", "gap", "text", "diamond"]],
  };

  /** The controls: which parameter, what is drawn, and which play. */
  function make(rows, state, show) {
    const scored = rows.filter((row) => row.scores.sampled || row.scores.greedy);
    choices = [...overview.keys, "policy", "learner", "seeds", "steps"].filter((name) =>
      new Set(scored.map((row) => JSON.stringify(valueOf(row, name)))).size > 1);
    choices.push("run");
    if (!choices.includes(state.x)) state.x = report.mostSwept(scored, overview.keys, valueOf) ?? choices[0];
    if (state.play !== "sampled") state.play = "greedy";
    const drawn = [["scores", "SP and XP"], ["gap", "SP − XP"]];
    if (scored.some((row) => row.optimum > 0)) drawn.splice(1, 0, ["shares", "shares of the optimum"]);
    if (!drawn.some(([name]) => name === state.drawn)) state.drawn = "scores";
    document.getElementById("axes").append(
      report.select("Parameter", choices.map((name) => [name, name]), state.x, (name) => {
        state.x = name;
        show();
      }),
      report.choice("Drawn", drawn, state.drawn, (name) => {
        state.drawn = name;
        show();
      }),
      report.choice("Play", [["sampled", "sampled"], ["greedy", "greedy"]], state.play, (play) => {
        state.play = play;
        show();
      }));
  }

  /** Draw the runs that the filters leave. */
  function show(rows, state) {
    const place = document.getElementById("plots");
    const games = new Map();
    for (const row of rows) {
      if (state.drawn === "shares" && !(row.optimum > 0)) continue;
      if (row.scores[state.play]?.cross_play) games.set(row.board, [...(games.get(row.board) ?? []), row]);
    }
    const shown = [...games].slice(0, MOST_CHARTS);
    const note = document.getElementById("plots-note");
    note.textContent = !games.size ? "No run that is shown has scores." :
      (state.drawn === "shares" ? "Scores divided by the optimum, where it is known and above 0. " : "") +
      (games.size > shown.length ? `The first ${shown.length} of ${games.size} games; filters choose others. ` : "") +
      "Bars: 95 % intervals over seeds. A point leads to its run. " +
      `The thin line joins the means of all runs shown at each ${state.x}, whatever else they differ in.`;
    const charts = new Map([...place.children].map((figure) => [figure.dataset.game, figure]));
    const figures = shown.map(([game]) => charts.get(game) ??
      element("div", { class: "chart", "data-game": game, role: "img", "aria-label": `Scores in ${game}` }));
    place.replaceChildren(...figures);
    shown.forEach(([, runs], index) => report.drawing(figures[index], () => draw(figures[index], runs, state)));
  }

  async function draw(node, rows, state) {
    const color = colors();
    const at = rows.map((row) => valueOf(row, state.x));
    const numeric = at.every((value) => typeof value === "number");
    const positive = numeric && at.every((value) => value > 0);
    const log = positive && Math.max(...at) / Math.min(...at) >= 8;
    const places = numeric ? at : at.map(label);
    const unit = state.drawn === "shares" ? rows[0].optimum : 1;
    const best = state.drawn === "gap" ? null : rows[0].optimum ?? null;
    const traces = DRAWN[state.drawn].flatMap(([name, field, own, symbol]) => {
      const found = rows.map((row) => row.scores[state.play][field].map((part) =>
        (typeof part === "number" ? part / unit : part)));
      return [means(places, found, color[own]), points(rows, places, found, name, color[own], symbol, state)];
    });
    const ticks = [...new Set(at)].sort((a, b) => a - b);
    const axis = log && ticks.length <= 8
      ? { type: "log", tickvals: ticks, ticktext: ticks.map(words) }
      : log ? { type: "log", dtick: 1 }
        : numeric ? {} : { type: "category", categoryorder: "array", categoryarray: [...new Set(places)].sort(
          (a, b) => a.localeCompare(b, "en", { numeric: true })) };
    await report.chart(node, traces, {
      height: 340,
      title: { text: escape(rows[0].board), font: { size: 15 }, x: 0, xref: "paper" },
      xaxis: { title: { text: escape(state.x) }, ...axis },
      yaxis: state.drawn === "gap" ? { title: { text: `${state.play} SP − XP` }, rangemode: "tozero" }
        : { title: { text: `${state.play} score${unit === 1 ? "" : " / optimum"}` } },
      shapes: best === null ? [] : [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: best / unit, y1: best / unit,
        line: { color: color.text, width: 1, dash: "dot" } }],
      annotations: best === null ? [] : [{ text: `optimum ${fixed(best)}`, xref: "paper", x: 0, xanchor: "left",
        y: best / unit, yanchor: "bottom", showarrow: false, font: { size: 12 } }],
      legend: { orientation: "h", x: 1, xanchor: "right", y: 1.02, yanchor: "bottom" },
    });
    node.removeAllListeners("plotly_click");
    node.on("plotly_click", ({ points: [point] }) => {
      if (point.customdata) location.href = runLink(point.customdata);
    });
  }

  const label = (value) => escape(words(value));

  function points(rows, places, found, name, color, symbol, state) {
    const bars = rows.length <= ERROR_BARS ? {
      error_y: {
        type: "data",
        symmetric: false,
        array: found.map(([mean, , , high]) => (high === null ? 0 : Math.max(0, high - mean))),
        arrayminus: found.map(([mean, , low]) => (low === null ? 0 : Math.max(0, mean - low))),
        color,
        thickness: 1.2,
        width: 3,
      },
    } : {};
    return {
      type: "scatter",
      mode: "markers",
      name,
      x: places,
      y: found.map(([mean]) => mean),
      ...bars,
      marker: { color, symbol, size: rows.length > ERROR_BARS ? 5 : 8, opacity: rows.length > 60 ? 0.6 : 1 },
      customdata: rows.map((row) => row.id),
      hovertext: rows.map((row, index) => [
        `<b>${escape(row.name)}</b>`,
        `${name} ${fixed(found[index][0])} ${escape(spread(found[index]))}`,
        ...(state.x === "run" ? [] : [`${escape(state.x)} ${label(valueOf(row, state.x))}`]),
        ...overview.keys.filter((key) => key !== state.x && key in row.keys).slice(0, 8)
          .map((key) => `${escape(key)} ${label(row.keys[key])}`),
        `${row.seeds} seeds`,
      ].join("<br>")),
      hoverinfo: "text",
    };
  }

  /** A thin line through the mean of the runs at each place. */
  function means(places, found, color) {
    const groups = new Map();
    places.forEach((place, index) => {
      if (found[index][0] !== null) groups.set(place, [...(groups.get(place) ?? []), found[index][0]]);
    });
    const ordered = [...groups].sort(([a], [b]) =>
      typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
    return {
      type: "scatter",
      mode: "lines",
      x: ordered.map(([place]) => place),
      y: ordered.map(([, values]) => values.reduce((sum, value) => sum + value, 0) / values.length),
      line: { color, width: 1.4 },
      opacity: 0.55,
      hoverinfo: "skip",
      showlegend: false,
    };
  }

  return { make, show };
})();
