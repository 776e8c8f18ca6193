// Charts that Bokeh draws, in the colours of the page.

import { el, svg } from "./dom.js";
import { colour, onTheme } from "./theme.js";

const loaded = new Promise((resolve) => {
  const script = document.getElementById("bokeh-api");
  if (globalThis.Bokeh?.Plotting) resolve();
  else script?.addEventListener("load", () => resolve());
});

export const SERIES = ["blue", "orange", "green", "purple", "sky", "vermillion"];
const DASHES = ["solid", "dashed", "dotted", "dashdot", "dotdash", [8, 3, 2, 3]];

// The look of series number `at`: no two of the first dozen have colour and dash alike.
export function look(at) {
  return {
    colour: SERIES[at % SERIES.length],
    dash: DASHES[(at + Math.floor(at / SERIES.length)) % DASHES.length],
  };
}

const TIMES = {
  ...{ milliseconds: "%H:%M:%S.%3N", seconds: "%H:%M:%S", minsec: "%H:%M:%S" },
  ...{ minutes: "%H:%M", hourmin: "%H:%M", hours: "%H:%M" },
  ...{ days: "%d %b", months: "%b %Y" },
};

// A chart in a figure with a caption that says in words what it shows.
export class Chart {
  // `draw(figure, source, Bokeh)` adds glyphs; `options` are those of Bokeh's figure.
  constructor(title, columns, options, draw) {
    this.title = title;
    this.columns = columns;
    this.options = options;
    this.draw = draw;
    this.values = Object.fromEntries(columns.map((name) => [name, []]));
    this.place = el("div", { class: "chart", "aria-hidden": "true" });
    this.place.style.minHeight = `${options.height ?? 200}px`;
    this.caption = el("figcaption", {}, title);
    this.legend = el("div", { class: "legend" });
    this.element = el("figure", {}, this.place, this.legend, this.caption);
    this.forget = onTheme(() => this.#make());
    this.#make();
  }

  // Without a number there is nothing to draw, and no range to draw it in.
  get #empty() {
    const { at, left, ...values } = this.values;
    return !left && !Object.values(values).some((one) => one.some(Number.isFinite));
  }

  async #make() {
    this.turn = (this.turn ?? 0) + 1;
    const { turn } = this;
    await loaded;
    if (this.gone || turn !== this.turn) return;
    const { Bokeh } = globalThis;
    this.#unmake();
    if (this.#empty) return;
    this.source = new Bokeh.ColumnDataSource({ data: this.values });
    const { tooltips, formatters, hover, fromZero, ...options } = this.options;
    const figure = Bokeh.Plotting.figure({
      height: 200,
      sizing_mode: "stretch_width",
      toolbar_location: null,
      tools: "",
      output_backend: "canvas",
      background_fill_color: null,
      border_fill_color: null,
      outline_line_color: null,
      min_border_right: 12,
      ...(fromZero ? { y_range: new Bokeh.DataRange1d({ start: 0 }) } : {}),
      ...options,
    });
    this.figure = figure;
    figure.xaxes[0].formatter = new Bokeh.DatetimeTickFormatter(TIMES);
    this.#colours(figure);
    const glyphs = this.draw(figure, this.source, Bokeh);
    if (tooltips) {
      figure.add_tools(
        new Bokeh.HoverTool({
          tooltips,
          formatters: formatters ?? {},
          renderers: glyphs ?? "auto",
          ...(hover ?? {}),
        }),
      );
    }
    const view = await Bokeh.Plotting.show(figure, this.place);
    if (figure === this.figure) this.view = view;
    else forget(figure, view);
    passOver(this.place);
  }

  #colours(figure) {
    for (const axis of [...figure.xaxes, ...figure.yaxes]) {
      axis.axis_line_color = colour("line");
      axis.major_tick_line_color = colour("line");
      axis.minor_tick_line_color = null;
      axis.major_label_text_color = colour("muted");
      axis.axis_label_text_color = colour("muted");
      axis.axis_label_text_font_style = "normal";
      axis.major_label_text_font_size = "11px";
      axis.axis_label_text_font_size = "11px";
    }
    for (const grid of [...figure.xgrids, ...figure.ygrids]) {
      grid.grid_line_color = colour("grid");
    }
  }

  update(values, words) {
    this.values = values;
    if (this.source && !this.#empty) this.source.data = values;
    else if (this.source || !this.#empty) this.#make();
    if (words !== undefined && this.caption.textContent !== words) {
      this.caption.textContent = words;
    }
  }

  #unmake() {
    if (this.view) forget(this.figure, this.view);
    this.place.replaceChildren();
    this.source = this.view = this.figure = null;
  }

  close() {
    this.gone = true;
    this.forget();
    this.#unmake();
  }
}

// A chart cannot be worked by keys, and its caption says what is in it: the tab key does
// not stop there.
function passOver(root) {
  for (const one of root.querySelectorAll("*")) {
    if (one.tabIndex >= 0) one.tabIndex = -1;
    if (one.shadowRoot) passOver(one.shadowRoot);
  }
}

// Bokeh keeps what it has shown.
function forget(figure, view) {
  const { documents } = globalThis.Bokeh;
  const at = documents.indexOf(figure.document);
  view.remove();
  if (at >= 0) documents.splice(at, 1);
}

// Lines over time: series are {name, label, colour, dash}; with `marks` for each point,
// and without lines unless they are to be joined.
export function lineChart(title, series, { marks = false, join = true, ...options } = {}) {
  const columns = ["at", ...series.map((one) => one.name)];
  const chart = new Chart(
    title,
    columns,
    {
      x_axis_type: "datetime",
      tooltips: [["at", "@at{%T}"], ...series.map((one) => [one.label, `@${one.name}{0.[0]}`])],
      formatters: { "@at": "datetime" },
      hover: { mode: "vline" },
      ...options,
    },
    (figure, source) => {
      const glyphs = series.map((one) =>
        figure.line({
          visible: join,
          x: { field: "at" },
          y: { field: one.name },
          source,
          line_color: colour(one.colour),
          line_dash: one.dash ?? "solid",
          line_width: 2,
        }),
      );
      const marked = (marks ? series : []).map((one) =>
        figure.scatter({
          x: { field: "at" },
          y: { field: one.name },
          source,
          size: 6,
          marker: one.dash ? "diamond" : "circle",
          fill_color: colour(one.colour),
          line_color: colour("card"),
        }),
      );
      return join ? glyphs.slice(0, 1) : marked;
    },
  );
  chart.legend.append(...series.map((one) => key(one.label, one.colour, one.dash)));
  return chart;
}

// Areas upon each other over time: columns low0, high0, low1 ...
export function areaChart(title, names, options = {}) {
  const columns = ["at", ...names.flatMap((_, at) => [`low${at}`, `high${at}`])];
  const chart = new Chart(
    title,
    columns,
    { x_axis_type: "datetime", ...options },
    (figure, source) => {
      names.forEach((_, at) => {
        const { colour: name } = look(at);
        figure.varea({
          x: { field: "at" },
          y1: { field: `low${at}` },
          y2: { field: `high${at}` },
          source,
          fill_color: colour(name),
          fill_alpha: 0.55,
          hatch_pattern: at % 2 ? "/" : " ",
          hatch_color: colour("text"),
          hatch_alpha: 0.25,
        });
        figure.line({
          x: { field: "at" },
          y: { field: `high${at}` },
          source,
          line_color: colour(name),
          line_width: 1.5,
        });
      });
    },
  );
  chart.legend.append(...names.map((name, at) => key(name, look(at).colour, null)));
  return chart;
}

const STROKES = { dashed: "6 3", dotted: "2 3", dashdot: "6 3 2 3", dotdash: "2 3 6 3" };

// What a colour stands for; a line, or an area if `dash` is null.
export function key(words, name, dash = "solid") {
  const stroke = colourOf(name);
  const shape =
    dash === null
      ? svg("rect", { width: 16, height: 11, rx: 2, style: { fill: stroke } })
      : svg("path", {
          d: "M0 5.5h26",
          "stroke-width": 3,
          "stroke-dasharray": STROKES[dash] ?? (Array.isArray(dash) ? dash.join(" ") : null),
          style: { stroke },
        });
  const size = { width: dash === null ? 16 : 26, height: 11, "aria-hidden": "true" };
  return el("span", { class: "key" }, svg("svg", size, shape), words);
}

const colourOf = (name) => `var(--${name})`;
