"use strict";
// Charts of one run beside its cross-play: learning curves, phase diagrams of exact runs, convention matrices.

const curves = (() => {
  const { element, escape, fixed, colors } = report;
  const LINES = { height: 300, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" } };

  const mean = (values) => {
    const known = values.filter((value) => value !== null);
    return known.length ? Number((known.reduce((sum, value) => sum + value, 0) / known.length).toPrecision(5)) : null;
  };

  /** Faint lines of all seeds as one trace with gaps, and their mean; values [rows][seeds]. */
  function lines(steps, values, name, color) {
    const seeds = values[0]?.length ?? 0;
    const faint = { x: [], y: [] };
    for (let seed = 0; seed < seeds; seed += 1) {
      faint.x.push(...steps, null);
      faint.y.push(...values.map((row) => row[seed]), null);
    }
    const mode = steps.length > 1 ? "lines" : "markers";
    return [
      { type: "scatter", mode, ...faint, name: `${name}, each`, line: { color, width: 1 }, marker: { color },
        opacity: seeds > 16 ? 0.15 : 0.3, hoverinfo: "skip", showlegend: false },
      { type: "scatter", mode, x: steps, y: values.map(mean), name, line: { color, width: 2.4 }, marker: { color },
        hovertemplate: `${escape(name)} %{y:.3f}<br>after %{x:.3s} steps<extra></extra>` },
    ];
  }

  /** Mean return, entropy, and greedy self-play and cross-play during training, into `place`. */
  function learning(place, data) {
    const color = () => colors();
    const axis = { title: { text: "steps of games" }, rangemode: "tozero", nticks: 6 };
    const figures = [
      ["mean return", () => lines(data.steps, data.returns, "mean return", color().selfPlay), {}],
      ["entropy (nats)", () => lines(data.steps, data.entropy, "entropy", color().selfPlay), { rangemode: "tozero" }],
    ];
    if (data.evaluation_steps) {
      figures.push(["greedy play during training", () => [
        ...lines(data.evaluation_steps, data.greedy_self_play, "SP", color().selfPlay),
        ...(data.greedy_cross_play[0]?.length
          ? lines(data.evaluation_steps, data.greedy_cross_play, "XP", color().crossPlay) : []),
      ], {}]);
    }
    for (const [title, traces, yaxis] of figures) {
      add(place, title, (node) => report.chart(node, traces(), {
        ...LINES, title: heading(title), xaxis: axis, yaxis, showlegend: title.startsWith("greedy"),
        legend: { orientation: "h", x: 1, xanchor: "right", y: 0, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
      }));
    }
  }

  const heading = (text) => ({ text: escape(text), font: { size: 15 }, x: 0, xref: "paper" });

  /** A place for a chart, drawn as soon as it is on the page. */
  function add(place, title, draw) {
    const node = element("div", { class: "chart", role: "img", "aria-label": title });
    place.append(node);
    requestAnimationFrame(() => report.drawing(node, () => draw(node)));
    return node;
  }

  const THRESHOLDS = { alpha_certified: ["#3a9d5d", "dashdot"], alpha_unique: ["#a24be0", "dash"], alpha_stable: ["#c8901a", "dot"] };

  /** Soft and greedy returns, the number of solutions and the equivariance defect against α. */
  function phase(place, data) {
    const [low, high] = [data.alpha[0], data.alpha[data.alpha.length - 1]];
    const marks = Object.entries(data.thresholds).filter(([, value]) => value !== null && value >= low / 1.1 && value <= high * 1.1);
    const shapes = () => marks.map(([name, value]) => ({ type: "line", x0: value, x1: value, y0: 0, y1: 1, yref: "paper",
      line: { color: THRESHOLDS[name][0], dash: THRESHOLDS[name][1], width: 1.6 } }));
    const names = () => marks.map(([name]) => ({ type: "scatter", mode: "lines", x: [null], y: [null], name,
      line: { color: THRESHOLDS[name][0], dash: THRESHOLDS[name][1], width: 1.6 } }));
    const few = data.alpha.length <= 6 ? { tickvals: data.alpha, ticktext: data.alpha.map(String) } : { nticks: 8 };
    const axis = { title: { text: "α" }, type: "log", range: [Math.log10(low / 1.1), Math.log10(high * 1.1)], ...few };
    const line = (field, name, color, more = {}) => ({ type: "scatter", mode: "lines+markers", x: data.alpha, y: data[field],
      name, line: { color, width: 2 }, marker: { color, size: 5 },
      hovertemplate: `${name} %{y:.4g}<br>α = %{x:.4g}<extra></extra>`, ...more });
    const level = (value, name, dash) => ({ type: "scatter", mode: "lines", x: [low / 1.1, high * 1.1], y: [value, value], name,
      line: { color: colors().muted, width: 1.2, dash }, hovertemplate: `${name} %{y:.4g}<extra></extra>` });
    for (const kind of ["soft", "greedy"]) {
      add(place, `${kind} play against α`, (node) => report.chart(node, [
        line(`${kind}_self_play`, "SP", colors().selfPlay), line(`${kind}_cross_play`, "XP", colors().crossPlay),
        ...(kind === "greedy" ? [level(data.optimum, "best self-play", "solid"),
          level(data.equivariant, "best equivariant", "dash")] : []),
        ...names(),
      ], { ...LINES, height: 360, margin: { l: 10, r: 10, t: 80, b: 10 }, title: { ...heading(`${kind} play`), y: 0.98, yanchor: "top" },
        xaxis: axis, yaxis: { title: { text: "expected return" } }, shapes: shapes() }));
    }
    add(place, "distinct stationary points against α", (node) => report.chart(node,
      [line("solutions", "stationary points", colors().text, { line: { color: colors().text, width: 2, shape: "hvh" } })],
      { ...LINES, title: heading("distinct stationary points"), xaxis: axis, yaxis: { rangemode: "tozero" }, shapes: shapes(),
        showlegend: false }));
    add(place, "equivariance defect against α", (node) => report.chart(node,
      [line("defect", "defect", colors().text)],
      { ...LINES, title: heading("equivariance defect"), xaxis: axis, yaxis: { range: [-0.03, 1.03] }, shapes: shapes(),
        showlegend: false }));
  }

  /** The convention matrix of one seed, [A][A]: how the next player answers an action. */
  function convention(node, matrix, actions, title) {
    const names = actions.map(escape);
    const places = names.map((_, index) => index);
    const axis = { tickvals: places, ticktext: names, showgrid: false, showline: false, tickfont: { size: 10 } };
    return report.chart(node, [{
      type: "heatmap",
      z: matrix,
      zmin: 0,
      zmax: 1,
      colorscale: "Viridis",
      hovertext: matrix.map((row, i) => row.map((value, j) =>
        (value === null ? `${names[i]} was never played` : `${names[i]}<br>then ${names[j]}: <b>${fixed(value, 3)}</b>`))),
      hoverinfo: "text",
      hoverongaps: false,
      colorbar: { thickness: 10, outlinewidth: 0 },
    }], {
      height: 150 + 17 * names.length,
      title: heading(title),
      xaxis: { ...axis, tickangle: -60, title: { text: "the next player's action" } },
      yaxis: { ...axis, autorange: "reversed", title: { text: "action" } },
    });
  }

  /** Cross-play scores of pairs of seeds against the distance of their convention matrices. */
  function distances(node, play, labels) {
    const pairs = play.pairs;
    return report.chart(node, [{
      type: "scatter",
      mode: "markers",
      x: pairs.map(([, , distance]) => distance),
      y: pairs.map(([, , , score]) => score),
      marker: { color: colors().crossPlay, size: 7, opacity: 0.7 },
      hovertext: pairs.map(([a, b, distance, score]) =>
        `seeds ${escape(labels[a])} and ${escape(labels[b])}<br>distance ${fixed(distance, 3)}, XP ${fixed(score)}`),
      hoverinfo: "text",
    }], {
      height: 340,
      title: heading("does the distance predict cross-play?"),
      xaxis: { title: { text: "distance of the convention matrices" }, rangemode: "tozero" },
      yaxis: { title: { text: "XP, mean of both seatings" } },
    });
  }

  /** Methods with each other, [M][M]. */
  function methods(node, names, matrix) {
    const labels = names.map(escape);
    const places = labels.map((_, index) => index);
    const axis = { tickvals: places, ticktext: labels, showgrid: false, showline: false, tickfont: { size: 11 } };
    return report.chart(node, [{
      type: "heatmap",
      z: matrix,
      colorscale: "Viridis",
      hovertext: matrix.map((row, i) => row.map((value, j) => `agent 0: ${labels[i]}<br>agent 1: ${labels[j]}<br><b>${fixed(value, 4)}</b>`)),
      hoverinfo: "text",
      colorbar: { title: { text: "expected return", side: "right" }, thickness: 12, outlinewidth: 0 },
    }], {
      height: 180 + 22 * labels.length,
      title: heading("cross-play of the methods with each other"),
      xaxis: { ...axis, tickangle: -50, title: { text: "agent 1" } },
      yaxis: { ...axis, autorange: "reversed", title: { text: "agent 0" } },
    });
  }

  return { learning, phase, convention, distances, methods, add };
})();
