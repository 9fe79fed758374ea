"use strict";
// Cross-play matrices. A run's cells (see experiments/report/data.py) are one matrix for each play. With two players the
// seed of the row sits in seat 0, the seed of the column in seat 1. With more the seed of the row sits in the seat of the
// column, and an entry is the mean over the seatings in which other seeds sit in all other seats; the last column is
// self-play.

const crossplay = (() => {
  const { escape, fixed, count, colors } = report;
  const FEW = 12;

  const players = (cross) => Object.values(cross.plays)[0].seatings?.[0].length ?? 2;

  /** The names of the columns. */
  const columns = (cross) => (players(cross) === 2 ? cross.labels
    : [...Array.from({ length: players(cross) }, (_, seat) => String(seat)), "SP"]);

  /** The entries [row, column] that a seating belongs to. */
  function places(seats) {
    if (seats.length === 2) return [seats];
    if (new Set(seats).size === 1) return [[seats[0], seats.length]];
    return seats.map((seed, seat) => [seed, seat]).filter(([seed]) => seats.indexOf(seed) === seats.lastIndexOf(seed));
  }

  /** Which seeds an entry is about. */
  function title(cross, row, column) {
    const seed = `Seed ${cross.labels[row]}`;
    if (column === (players(cross) === 2 ? row : players(cross))) return `${seed} with itself`;
    return players(cross) === 2 ? `${seed} with seed ${cross.labels[column]}` : `${seed} in seat ${column}, with other seeds`;
  }

  /** Entries [row][column] of a play: mean, and the cells behind it as {seats, mean, se, games, bombed}. */
  function matrix(cross, play) {
    const size = cross.labels.length;
    const entries = cross.labels.map(() => columns(cross).map(() => []));
    const { seatings, mean, se, games, bombed } = cross.plays[play];
    mean.forEach((value, index) => {
      const seats = seatings === null ? [Math.floor(index / size), index % size] : seatings[index];
      const cell = { seats, mean: value, se: se[index], games: Array.isArray(games) ? games[index] : games,
        bombed: bombed[index] };
      for (const [row, column] of places(seats)) entries[row][column].push(cell);
    });
    return entries.map((row) => row.map((cells) => ({ cells, mean: average(cells) })));
  }

  const average = (cells) => (cells.length ? cells.reduce((sum, cell) => sum + cell.mean, 0) / cells.length : null);

  /** The seeds as given, or the best in cross-play first. */
  function order(cross, entries, by) {
    const given = entries.map((_, index) => index);
    if (by !== "XP") return given;
    const score = given.map((seed) => {
      const met = players(cross) === 2
        ? given.filter((other) => other !== seed).flatMap((other) => [entries[seed][other], entries[other][seed]])
        : entries[seed].slice(0, -1);
      const own = met.map(({ mean }) => mean).filter((value) => value !== null);
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
    const who = players(cross) === 2 && row !== column
      ? `seat 0: seed ${cross.labels[row]}, seat 1: seed ${cross.labels[column]}` : title(cross, row, column);
    return [escape(who), `<b>${summary(cells, mean)}</b>`,
      `${count(total(cells, "games"), "game")}, ${total(cells, "bombed").toLocaleString("en")} bombed`].join("<br>");
  }

  /** Mean ± SE of an entry; the cells of several seatings share their decks, so that their SEs do not add up. */
  const summary = (cells, mean) => cells.length === 1
    ? `${fixed(mean)}${cells[0].se === null ? "" : ` ± ${fixed(cells[0].se, 3)}`}`
    : `${fixed(mean)}, mean of ${cells.length} seatings`;

  const total = (cells, field) => cells.reduce((sum, cell) => sum + cell[field], 0);

  /**
   * Draw the heat map of a matrix.
   *
   * options: order (of seeds), range [low, high], small (side by side with others: no text, no colour bar), and
   * clicked(row, column).
   */
  async function draw(node, cross, entries, options) {
    const color = colors();
    const size = entries.length;
    const two = players(cross) === 2;
    const at = options.order;
    const across = two ? at : entries[0].map((_, column) => column);
    const shown = at.map((row) => across.map((column) => entries[row][column]));
    const width = node.clientWidth || 500;
    const side = options.small ? width : Math.max(120, Math.min(width - 110, Math.max(400, 44 * size), 660));
    const every = Math.max(1, Math.ceil((size * (options.small ? 26 : 20)) / side));
    const axis = (names, step) => {
      const ticks = names.map((_, index) => index).filter((index) => index % step === 0);
      return { tickvals: ticks, ticktext: ticks.map((index) => escape(names[index])), showgrid: false, showline: false,
        fixedrange: options.small, constrain: "domain" };
    };
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
      hovertext: shown.map((row, i) => row.map((entry, j) => sentences(cross, at[i], across[j], entry))),
      hoverinfo: "text",
      hoverongaps: false,
      ...(size <= FEW && !options.small && side / size > 34 ? { texttemplate: "%{z:.2f}", textfont: { size: 11 } } : {}),
    }], {
      xaxis: { ...axis(across.map((column) => columns(cross)[column]), two ? every : 1), side: "bottom",
        title: options.small ? {} : { text: two ? "seed in seat 1" : "its seat, or SP: with itself" } },
      yaxis: { ...axis(at.map((seed) => cross.labels[seed]), every), autorange: "reversed", ...(two ? { scaleanchor: "x" } : {}),
        title: options.small ? {} : { text: two ? "seed in seat 0" : "seed" } },
      ...layout,
    });
    node.removeAllListeners("plotly_click");
    node.on("plotly_click", ({ points: [point] }) => options.clicked(at[point.y], across[point.x]));
  }

  return { players, columns, places, title, matrix, order, limits, summary, total, draw };
})();
