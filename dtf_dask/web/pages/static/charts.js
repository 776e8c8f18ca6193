// Charts that Bokeh draws, in the colours of the page.

import { el, svg } from "./dom.js";
import { colour, onTheme } from "./theme.js";

let ready;
const loaded = new Promise((resolve) => {
  ready = resolve;
});

// BokehJS is large, and whatever a page says can be read before: it is loaded then.
export function load() {
  if (load.begun) return;
  load.begun = true;
  const { bokeh } = document.querySelector("script[data-bokeh]").dataset;
  const scripts = ["bokeh.min.js", "bokeh-api.min.js"].map((name) => {
    const script = el("script", { src: `${bokeh}/${name}` });
    script.async = false; // in this order
    return script;
  });
  scripts[1].addEventListener("load", () => {
    document.documentElement.dataset.charts = "";
    ready();
  });
  document.head.append(...scripts);
}

export const SERIES = ["blue", "orange", "green", "purple", "sky", "vermillion"];
const DASHES = ["solid", "dashed", "dotted", "dashdot", "dotdash", [8, 3, 2, 3]];

// The look of series number `at`: no two of the first dozen have colour and dash alike.
export function look(at) {
  return {
    colour: SERIES[at % SERIES.length],
    dash: DASHES[(at + Math.floor(at / SERIES.length)) % DASHES.length],
  };
}

const SPAN_MS = 60000;
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
    const { tooltips, formatters, hover, fromZero, unit, ...options } = this.options;
    const figure = Bokeh.Plotting.figure({
      height: 200,
      sizing_mode: "stretch_width",
      toolbar_location: null,
      tools: "",
      output_backend: "canvas",
      background_fill_color: null,
      border_fill_color: null,
      outline_line_color: null,
      // The first and the last time stand half outside.
      min_border_left: 34,
      min_border_right: 26,
      ...(fromZero ? { y_range: new Bokeh.DataRange1d({ start: 0 }) } : {}),
      ...options,
    });
    this.figure = figure;
    // Of one point alone the axis would show what is around it to the microsecond.
    if ("default_span" in figure.x_range) figure.x_range.default_span = SPAN_MS;
    figure.xaxes[0].formatter = new Bokeh.DatetimeTickFormatter(TIMES);
    figure.xaxes[0].ticker.desired_num_ticks = innerWidth < 600 ? 3 : 6;
    if (unit) {
      const format = `%.4g ${unit === "%" ? "%%" : unit}`;
      figure.yaxes[0].formatter = new Bokeh.PrintfTickFormatter({ format });
    }
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
          size: one.dash ? 11 : 7,
          marker: one.dash ? "diamond" : "circle",
          fill_color: colour(one.colour),
          line_color: colour("card"),
        }),
      );
      return join ? glyphs.slice(0, 1) : marked;
    },
  );
  const looks = series.map((one) => ({ ...one, dash: join ? one.dash : one.dash ? "diamond" : "circle" }));
  chart.legend.append(...looks.map((one) => key(one.label, one.colour, one.dash)));
  return chart;
}

// Areas upon each other over time: columns low0, high0, low1 ...
export function areaChart(title, names, options = {}) {
  const columns = ["at", ...names.flatMap((_, at) => [`low${at}`, `high${at}`])];
  const chart = new Chart(
    title,
    columns,
    { x_axis_type: "datetime", fromZero: true, ...options },
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
  chart.legend.append(...names.map((name, at) => key(name, look(at).colour, at % 2 ? "/" : "plain")));
  return chart;
}

const STROKES = { dashed: "6 3", dotted: "2 3", dashdot: "6 3 2 3", dotdash: "2 3 6 3" };

// Bars and areas have patterns, points have forms, so that none is known by colour alone.
const SHAPES = {
  circle: "M8 2a3.5 3.5 0 1 1-.01 0z",
  diamond: "M8 0l4 5.5-4 5.5-4-5.5z",
  plain: "M0 0h16v11H0z",
  "/": "M0 0h16v11H0z",
  x: "M0 0h16v11H0z",
};
const HATCHES = { "/": "M-1 7L7-1M1 12L13 0M8 12l9-9", x: "M-1 7L7-1M1 12L13 0M8 12l9-9M9-1l8 8M3 0l12 12M-1 4l8 8" };

// What a colour stands for: a line with a dash, or one of the shapes.
export function key(words, name, look = "solid") {
  const filled = look in SHAPES;
  const drawn = filled ? shape(name, look) : [line(name, look)];
  const size = { width: filled ? 16 : 26, height: 11, "aria-hidden": "true" };
  return el("span", { class: "key" }, svg("svg", size, drawn), words);
}

function shape(name, look) {
  const form = svg("path", { d: SHAPES[look], style: { fill: `var(--${name})` } });
  const hatch = HATCHES[look] && svg("path", { d: HATCHES[look], style: { stroke: "var(--card)" } });
  return [form, hatch];
}

function line(name, dash) {
  const dashes = STROKES[dash] ?? (Array.isArray(dash) ? dash.join(" ") : null);
  const stroke = { stroke: `var(--${name})` };
  return svg("path", { d: "M0 5.5h26", "stroke-width": 3, "stroke-dasharray": dashes, style: stroke });
}
