"use strict";
// Cross-play matrices. A run's cells (see experiments/report/data.py) are one matrix for each play: the seed of the row
// sits in seat 0, the seed of the column in another seat; with more than two players an entry is the mean of several
// seatings, as CrossPlay.matrix has it.

const crossplay = (() => {
  const { escape, fixed, count, colors } = report;
  const FEW = 12;

  /** Entries [row][column] of a play: mean, and the cells behind it as {seats, mean, se, games, bombed}. */
  function matrix(cross, play) {
    const size = cross.labels.length;
    const entries = Array.from({ length: size }, () => Array.from({ length: size }, () => []));
    const { seatings, mean, se, games, bombed } = cross.plays[play];
    mean.forEach((value, index) => {
      const seats = seatings === null ? [Math.floor(index / size), index % size] : seatings[index];
      const cell = { seats, mean: value, se: se[index], games: Array.isArray(games) ? games[index] : games,
        bombed: bombed[index] };
      const others = new Set(seats);
      others.delete(seats[0]);
      for (const other of others.size ? others : [seats[0]]) entries[seats[0]][other].push(cell);
    });
    return entries.map((row) => row.map((cells) => ({ cells, mean: average(cells) })));
  }

  const average = (cells) => (cells.length ? cells.reduce((sum, cell) => sum + cell.mean, 0) / cells.length : null);

  /** The seeds as given, or the best in cross-play first. */
  function order(entries, by) {
    const given = entries.map((_, index) => index);
    if (by !== "XP") return given;
    const score = given.map((seed) => {
      const own = given.filter((other) => other !== seed)
        .flatMap((other) => [entries[seed][other].mean, entries[other][seed].mean]).filter((value) => value !== null);
      return own.length ? own.reduce((sum, value) => sum + value, 0) / own.length : -Infinity;
    });
    return given.sort((a, b) => score[b] - score[a] || a - b);
  }

  /** The least and the greatest mean. */
  function limits(entries) {
    const means = entries.flat().map((entry) => entry.mean).filter((value) => value !== null);
    const [low, high] = [Math.min(...means), Math.max(...means)];
    return low < high ? [low, high] : [low - 0.5, high + 0.5];
  }

  function sentences(cross, row, column, { cells, mean }) {
    if (!cells.length) return "these seeds do not meet";
    const who = row === column ? `seed ${cross.labels[row]} with itself`
      : `seat 0: seed ${cross.labels[row]}, ${cells[0].seats.length > 2 ? "another seat" : "seat 1"}: seed ${cross.labels[column]}`;
    return [escape(who), `<b>${summary(cells, mean)}</b>`, played(cells)].join("<br>");
  }

  /** Mean ± SE of an entry; the cells of several seatings share their decks, so that their SEs do not add up. */
  const summary = (cells, mean) => cells.length === 1
    ? `${fixed(mean)}${cells[0].se === null ? "" : ` ± ${fixed(cells[0].se, 3)}`}`
    : `${fixed(mean)}, mean of ${cells.length} seatings`;

  function played(cells) {
    const total = (field) => cells.reduce((sum, cell) => sum + cell[field], 0);
    return `${count(total("games"), "game")}, ${total("bombed").toLocaleString("en")} bombed`;
  }

  /**
   * Draw the heat map of a matrix.
   *
   * options: order (of seeds), range [low, high], small (side by side with others: no text, no colour bar), and
   * clicked(row, column).
   */
  async function draw(node, cross, entries, options) {
    const color = colors();
    const size = entries.length;
    const at = options.order;
    const shown = at.map((row) => at.map((column) => entries[row][column]));
    const width = node.clientWidth || 500;
    const side = options.small ? width : Math.max(120, Math.min(width - 110, Math.max(400, 44 * size), 660));
    const every = Math.max(1, Math.ceil((size * (options.small ? 26 : 20)) / side));
    const labels = at.map((seed) => escape(cross.labels[seed]));
    const ticks = labels.map((_, index) => index).filter((index) => index % every === 0);
    const axis = { tickvals: ticks, ticktext: ticks.map((index) => labels[index]), showgrid: false, showline: false,
      fixedrange: options.small, constrain: "domain" };
    const seat = entries.flat().some(({ cells }) => cells.some((cell) => cell.seats.length > 2)) ? "another seat" : "seat 1";
    const layout = options.small
      ? { height: width, margin: { l: 4, r: 4, t: 6, b: 4 }, font: { size: 10, color: color.text } }
      : { height: side + 90, width: Math.min(width, side + 160) };
    await report.chart(node, [{
      type: "heatmap",
      z: shown.map((row) => row.map((entry) => entry.mean)),
      zmin: options.range[0],
      zmax: options.range[1],
      colorscale: "Viridis",
      showscale: !options.small,
      colorbar: { title: { text: "mean score", side: "right" }, thickness: 12, outlinewidth: 0, len: 0.9 },
      xgap: size > 24 || options.small ? 0 : 1,
      ygap: size > 24 || options.small ? 0 : 1,
      hovertext: shown.map((row, i) => row.map((entry, j) => sentences(cross, at[i], at[j], entry))),
      hoverinfo: "text",
      hoverongaps: false,
      ...(size <= FEW && !options.small && side / size > 34 ? { texttemplate: "%{z:.2f}", textfont: { size: 11 } } : {}),
    }], {
      xaxis: { ...axis, title: options.small ? {} : { text: `seed in ${seat}` }, side: "bottom" },
      yaxis: { ...axis, title: options.small ? {} : { text: "seed in seat 0" }, autorange: "reversed", scaleanchor: "x" },
      ...layout,
    });
    node.removeAllListeners("plotly_click");
    node.on("plotly_click", ({ points: [point] }) => options.clicked(at[point.y], at[point.x]));
  }

  return { matrix, order, limits, summary, played, draw };
})();
