// Numbers that tests recorded, from run to run.

import { lineChart } from "./charts.js";
import { breakable, card, el, link, svg } from "./dom.js";
import { axisTime, counted, figure, short, shortEnd } from "./format.js";
import { api } from "./live.js";
import { Table } from "./table.js";

const RUNS = 50;
const CHARTS_MAX = 6;
const EMPTY = 'No test has recorded one yet: record_property("rows_per_s", 4200) does, and so does a function of client.run_cases that returns one.';

export class Figures {
  // Of one case, or of all that there are if there is no name.
  constructor(name) {
    this.name = name;
    this.charts = new Map();
    this.drawn = el("div", { class: "columns" });
    this.table = new Table("Numbers that tests recorded", name ? COLUMNS.slice(1) : COLUMNS, {
      key: (row) => `${row.case_id}\n${row.name}`,
      empty: EMPTY,
    });
    this.element = card("Numbers that tests recorded", this.drawn, this.table.element);
    this.element.hidden = name !== "";
  }

  async read(suite, current) {
    const { items } = await api("/figures", { suite, case: this.name, runs: RUNS, limit: 100 });
    if (!current()) return;
    this.table.update(items.map((one) => ({ ...one, suite })));
    if (!this.name) return;
    this.element.hidden = items.length === 0;
    this.#draw(items.slice(0, CHARTS_MAX));
  }

  #draw(items) {
    const names = new Set(items.map((one) => one.name));
    for (const [name, chart] of this.charts) {
      if (names.has(name)) continue;
      chart.close();
      chart.element.remove();
      this.charts.delete(name);
    }
    for (const one of items) {
      if (!this.charts.has(one.name)) {
        const label = short(one.name, 60);
        const chart = lineChart(label, [{ name: "value", label, colour: "blue" }], { marks: true });
        this.charts.set(one.name, chart);
        this.drawn.append(chart.element);
      }
      const at = one.points.map((point) => axisTime(point.at));
      const value = one.points.map((point) => point.value);
      this.charts.get(one.name).update({ at, value }, wordsOf(one));
    }
  }

  close() {
    for (const one of this.charts.values()) one.close();
  }
}

const COLUMNS = [
  { name: "Case", kind: "case", of: (row) => link("trends", { suite: row.suite, case: row.case_id }, breakable(shortEnd(row.case_id, 80))) },
  { name: "Number", of: (row) => short(row.name, 60) },
  { name: "Last", kind: "number", of: (row) => figure(row.last) },
  { name: "Median before", kind: "number", of: (row) => figure(row.before) },
  { name: "Change", kind: "number", of: changeOf },
  { name: "Over runs", of: (row) => sparkline(row.points) },
];

function wordsOf(one) {
  const before = one.before === null ? "" : `, before ${figure(one.before)} by the median`;
  return `${short(one.name, 60)}: ${figure(one.last)} in the last of ${counted(one.points.length, "run")}${before}.`;
}

// In percent of what it was. Pure.
export function changeOf({ last, before }) {
  if (before === null || (before === 0 && last !== 0)) return "–";
  const percent = before === 0 ? 0 : (100 * (last - before)) / Math.abs(before);
  if (Math.abs(percent) < 0.05) return "none";
  const words = Math.abs(percent) < 10 ? percent.toFixed(1) : percent.toFixed(0);
  return `${percent > 0 ? "+" : ""}${words} %`;
}

const WIDTH = 120;
const HEIGHT = 22;

function sparkline(points) {
  const values = points.map((one) => one.value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = (at) => (points.length > 1 ? 3 + (at * (WIDTH - 6)) / (points.length - 1) : WIDTH / 2);
  const y = (value) => (high > low ? 3 + ((high - value) * (HEIGHT - 6)) / (high - low) : HEIGHT / 2);
  const line = values.map((value, at) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const last = { cx: x(values.length - 1), cy: y(values.at(-1)), r: 3 };
  return svg(
    "svg",
    { class: "spark", width: WIDTH, height: HEIGHT, "aria-hidden": "true" },
    svg("polyline", { points: line }),
    svg("circle", last),
  );
}
