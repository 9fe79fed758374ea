"use strict";
// What the pages of a report share: elements, numbers in words, the colours of the page, and files of data.
// Data come as scripts, because a page opened from the disk may not fetch. Everything that came from a configuration
// enters a page as text, never as HTML.

const report = (() => {
  const MOST_BARS = 8;
  const waiting = new Map();
  const drawings = new Map();

  /** An element with attributes (on… are listeners) and children (nodes, or anything else as text). */
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.flat().map((child) => (child instanceof Node ? child : String(child))));
    return made;
  }

  const escaped = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  /** Text as HTML; Plotly reads tags in its texts, too. */
  const escape = (value) => String(value).replace(/[&<>"']/g, (letter) => escaped[letter]);

  /** A value of a configuration in words. */
  function words(value) {
    if (value === undefined) return "–";
    if (typeof value === "string") return value;
    if (typeof value === "number") return String(Number.isInteger(value) ? value : Number(value.toPrecision(6)));
    return JSON.stringify(value);
  }

  function compact(value) {
    for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
      if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(4))}${letter}`;
    }
    return String(value);
  }

  /** A number with so many digits after the point, without "-0.00". */
  function fixed(value, digits = 2) {
    if (value === null || value === undefined) return "–";
    const text = value.toFixed(digits);
    return (Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−"));
  }

  const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1);

  const count = (number, noun, plural = `${noun}s`) =>
    `${number.toLocaleString("en")} ${number === 1 ? noun : plural}`;

  /** The interval of an estimate [mean, se, low, high, note], or what is known of its error. */
  function spread([mean, se, low, high]) {
    if (mean === null) return "";
    if (low !== null) return `[${fixed(low)}, ${fixed(high)}]`;
    return se === null ? "no interval" : `± ${fixed(se)}`;
  }

  /** The colours that the page has now: light or dark. */
  function colors() {
    const style = getComputedStyle(document.documentElement);
    const names = ["background", "surface", "raised", "text", "muted", "accent", "border", "self-play", "cross-play"];
    return Object.fromEntries(
      names.map((name) => [name.replace(/-(.)/g, (_, letter) => letter.toUpperCase()),
        style.getPropertyValue(`--${name}`).trim()]));
  }

  /** Call `draw` now, and again whenever the colours change; a node has one drawing. */
  function drawing(node, draw) {
    drawings.set(node, draw);
    return draw();
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const [node, draw] of drawings) {
      if (node.isConnected) draw();
      else drawings.delete(node);
    }
  });

  /** Draw a Plotly chart in the page's fonts and colours; returns Plotly's promise of the node. */
  function chart(node, traces, layout) {
    const color = colors();
    const axis = { gridcolor: color.border, linecolor: color.border, zeroline: false, automargin: true, ticks: "" };
    const axes = Object.fromEntries(Object.entries(layout)
      .filter(([name]) => /^[xy]axis/.test(name)).map(([name, own]) => [name, { ...axis, ...own }]));
    return Plotly.react(node, traces, {
      font: { family: "system-ui, sans-serif", size: 13, color: color.text },
      paper_bgcolor: color.surface,
      plot_bgcolor: color.surface,
      margin: { l: 10, r: 10, t: 34, b: 10 },
      hoverlabel: { bgcolor: color.raised, bordercolor: color.border, font: { color: color.text, size: 13 } },
      hovermode: "closest",
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      ...layout,
      ...axes,
    }, { displayModeBar: false, responsive: true });
  }

  /** Two or more choices as buttons, one of them pressed. */
  function choice(name, choices, chosen, changed) {
    const buttons = choices.map(([value, label]) => element("button", {
      type: "button",
      "aria-pressed": String(value === chosen),
      "data-value": value,
      onclick: () => {
        for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.value === value));
        changed(value);
      },
    }, label));
    return element("fieldset", {}, element("legend", {}, name), element("div", { class: "switch" }, buttons));
  }

  /** A labelled list to choose from; `choices` are [value, label]. */
  function select(name, choices, chosen, changed) {
    const options = choices.map(([value, label]) =>
      element("option", { value, selected: value === chosen }, label));
    const list = element("select", { onchange: () => changed(list.value) }, options);
    return element("label", {}, name, list);
  }

  /** The probabilities of actions, greatest first, as bars; each { name, card (a node or ""), p, chosen }. */
  function probabilities(actions) {
    const ranked = [...actions].sort((a, b) => b.p - a.p);
    const rest = ranked.filter(({ p, chosen }, place) => !chosen && (p === 0 || place >= MOST_BARS));
    const bar = ({ name, card, p, chosen }) => element("li", { class: chosen ? "chosen" : null,
      "aria-label": `${name}: ${percent(p)}${chosen ? ", chosen" : ""}` },
    element("span", { class: "name" }, name, card, chosen ? element("span", { class: "tag" }, "chosen") : ""),
    element("span", { class: "p" }, percent(p)),
    element("span", { class: "track" }, element("span", { class: "fill", style: `width: ${100 * p}%` })));
    return [
      element("ol", { class: "bars" }, ranked.filter((one) => !rest.includes(one)).map(bar)),
      rest.length ? element("details", {}, element("summary", {}, `${count(rest.length, "other legal action")}`),
        element("ol", { class: "bars" }, rest.map(bar))) : "",
    ];
  }

  function percent(p) {
    if (p > 0 && p < 0.0005) return "< 0.1 %";
    return `${(100 * p).toFixed(1)} %`;
  }

  /** The data of a run, from a script of its own. */
  function run(id) {
    return new Promise((resolve, reject) => {
      waiting.set(id, resolve);
      const script = element("script", { src: `data/runs/${encodeURIComponent(id)}.js` });
      script.onerror = () => reject(new Error(`this report holds no run ${id}`));
      script.onload = () => script.remove();
      document.head.append(script);
    });
  }

  /** What a run's script calls. */
  function received(id, data) {
    const resolve = waiting.get(id);
    waiting.delete(id);
    if (resolve) resolve(data);
  }

  /** The page's state: what stands after # as KEY=VALUE&…. */
  const state = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

  /** Keep the page's state without a step in the history; empty values are left out. */
  function keep(values) {
    const kept = Object.entries(values).filter(([, value]) => value !== "" && value !== undefined);
    history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
  }

  /** The order of values of a configuration: numbers by size, then the rest by their words. */
  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number" || typeof b === "number") return typeof a === "number" ? -1 : 1;
    return words(a).localeCompare(words(b), "en", { numeric: true });
  }

  /** The key of most different values in rows: what a sweep is about. */
  function mostSwept(rows, keys, valueOf) {
    const size = (key) => new Set(rows.map((row) => JSON.stringify(valueOf(row, key)))).size;
    const sizes = keys.map((key) => [size(key), key]).filter(([number]) => number > 1);
    return sizes.sort(([a], [b]) => b - a)[0]?.[1];
  }

  const runLink = (id, more = {}) => `run.html#${new URLSearchParams({ run: id, ...more })}`;

  return { element, escape, words, compact, fixed, sentence, count, spread, colors, drawing, chart, choice, select,
    probabilities, percent, run, received, state, keep, compare, mostSwept, runLink };
})();
