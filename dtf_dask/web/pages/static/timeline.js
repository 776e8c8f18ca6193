// What ran where: a row of bars for each worker.

import { Chart, key } from "./charts.js";
import { axisTime, count, counted, duration, short, shortEnd } from "./format.js";
import { colour } from "./theme.js";

const ROW_PX = 20;
const KINDS = [
  ["green", "passed", "plain"],
  ["vermillion", "failed, error, timeout", "x"],
  ["muted", "skipped", "plain"],
  ["sky", "lost", "/"],
  ["blue", "runs now", "plain"],
];
const COLOURS = {
  passed: "green",
  failed: "vermillion",
  error: "vermillion",
  timeout: "vermillion",
  skipped: "muted",
  lost: "sky",
  running: "blue",
};

export class Timeline {
  constructor(title) {
    this.title = title;
    this.names = null;
    this.chart = null;
    this.element = document.createElement("div");
  }

  // Bars are {row, start, end, kind, words}; bands {start, end} lie behind all of them.
  update(names, bars, start, end, bands = []) {
    if (this.names === null || names.join("\n") !== this.names.join("\n")) {
      this.#make(names);
    }
    const at = new Map(names.map((name, n) => [name, names.length - n - 0.5]));
    const shown = bars.filter((one) => at.has(one.row) && one.end >= start && one.start <= end);
    const lanes = lanesOf(shown);
    this.chart.span([axisTime(start), axisTime(end)]);
    this.chart.update(
      {
        left: shown.map((one) => axisTime(Math.max(one.start, start))),
        right: shown.map((one) => axisTime(Math.min(Math.max(one.end, one.start + (end - start) / 1500), end))),
        bottom: shown.map((one, n) => at.get(one.row) - 0.42 + lanes[n].low * 0.84),
        top: shown.map((one, n) => at.get(one.row) - 0.42 + lanes[n].high * 0.84),
        fill: shown.map((one) => colour(COLOURS[one.kind] ?? "muted")),
        hatch: shown.map((one) => (COLOURS[one.kind] === "vermillion" ? "x" : one.kind === "lost" ? "/" : " ")),
        words: shown.map((one) => shortEnd(one.words, 90)),
        kind: shown.map((one) => one.kind),
        took: shown.map((one) => duration(one.end - one.start)),
      },
      captionOf(names, shown),
    );
    this.chart.bands(bands.map((one) => [axisTime(one.start), axisTime(one.end)]));
  }

  #make(names) {
    this.chart?.close();
    this.names = names;
    this.chart = new TimelineChart(this.title, names);
    this.element.replaceChildren(this.chart.element);
  }

  close() {
    this.chart?.close();
  }
}

class TimelineChart extends Chart {
  constructor(title, names) {
    const columns = ["left", "right", "bottom", "top", "fill", "hatch", "words", "kind", "took"];
    const rows = Math.max(1, names.length);
    const ticks = names.map((_, n) => names.length - n - 0.5);
    const options = {
      height: 50 + ROW_PX * rows,
      x_axis_type: "datetime",
      y_range: [0, rows],
      tooltips: [["", "@words"], ["", "@kind, @took"]],
    };
    super(title, columns, options, (figure, source, Bokeh) => {
      this.boxes = [];
      figure.yaxes[0].ticker = new Bokeh.FixedTicker({ ticks });
      figure.yaxes[0].major_label_overrides = new Map(names.map((name, n) => [ticks[n], shortEnd(name, innerWidth < 600 ? 12 : 28)]));
      figure.ygrids[0].grid_line_color = null;
      if (this.range) figure.x_range = new Bokeh.Range1d({ start: this.range[0], end: this.range[1] });
      const glyph = figure.quad({
        left: { field: "left" },
        right: { field: "right" },
        bottom: { field: "bottom" },
        top: { field: "top" },
        source,
        fill_color: { field: "fill" },
        line_color: colour("card"),
        line_width: 0.5,
        hatch_pattern: { field: "hatch" },
        hatch_color: colour("card"),
        hatch_alpha: 0.8,
      });
      return [glyph];
    });
    this.legend.append(...KINDS.map(([name, words, look]) => key(words, name, look)));
  }

  span(found) {
    this.range = found;
    const range = this.figure?.x_range;
    if (range && "setv" in range) range.setv({ start: this.range[0], end: this.range[1] });
  }

  bands(found) {
    const said = JSON.stringify(found);
    if (!this.figure || (said === this.bandsSaid && this.boxes.length === found.length)) return;
    this.bandsSaid = said;
    for (const box of this.boxes) this.figure.remove_layout?.(box);
    const { Bokeh } = globalThis;
    this.boxes = found.map(([left, right]) => {
      const look = { fill_color: colour("vermillion"), fill_alpha: 0.25, line_color: colour("vermillion"), level: "underlay" };
      const box = new Bokeh.BoxAnnotation({ left, right, ...look });
      this.figure.add_layout(box);
      return box;
    });
  }
}

function captionOf(names, shown) {
  if (!shown.length) return "Nothing ran in this time that is known here.";
  const failed = shown.filter((one) => COLOURS[one.kind] === "vermillion").length;
  const running = shown.filter((one) => one.kind === "running").length;
  const first = names.length > 1 ? ` (${short(names[0], 24)} first)` : "";
  return `${count(shown.length)} ran in this time: ${count(failed)} failed, ${count(running)} still going on; on ${counted(names.length, "worker")}${first}.`;
}

// Bars of a row that overlap share its height. Pure.
export function lanesOf(bars) {
  const byRow = new Map();
  bars.forEach((one, n) => {
    if (!byRow.has(one.row)) byRow.set(one.row, []);
    byRow.get(one.row).push(n);
  });
  const lanes = new Array(bars.length);
  for (const found of byRow.values()) {
    found.sort((a, b) => bars[a].start - bars[b].start);
    let ends = [];
    let together = [];
    const settle = () => {
      for (const n of together) {
        lanes[n] = { low: lanes[n] / ends.length, high: (lanes[n] + 1) / ends.length };
      }
    };
    for (const n of found) {
      if (ends.every((end) => end <= bars[n].start + 0.001)) {
        settle();
        ends = [];
        together = [];
      }
      let lane = ends.findIndex((end) => end <= bars[n].start + 0.001);
      if (lane < 0) lane = ends.length;
      ends[lane] = bars[n].end;
      lanes[n] = lane;
      together.push(n);
    }
    settle();
  }
  return lanes;
}
