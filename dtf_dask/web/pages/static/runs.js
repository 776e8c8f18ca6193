// Runs of tests: the list of them, or one of them with its cases.

import { lineChart } from "./charts.js";
import { card, el, link, setText } from "./dom.js";
import { axisTime, counted, duration, moment, short } from "./format.js";
import { api, Poll } from "./live.js";
import { countsOf, mark } from "./outcomes.js";
import { leftOf } from "./overview.js";
import { OneRun } from "./run.js";
import { Table } from "./table.js";

const LIST_MAX = 100;

export function mount(root, page) {
  return page.query.run ? new OneRun(root, page) : new Runs(root);
}

class Runs {
  constructor(root) {
    this.kept = [];
    this.failure = el("p", { class: "note", role: "status" });
    this.table = new Table("Runs, the newest first", COLUMNS, {
      key: (row) => row.run,
      empty: "No run has come to this node yet: dtf run, or pytest --dtf.",
      limit: 2 * LIST_MAX,
    });
    this.chart = lineChart("Cases of each run", [
      { name: "passed", label: "passed", colour: "green" },
      { name: "failed", label: "failed, error, timeout, lost", colour: "vermillion", dash: "dashed" },
    ], { marks: true, fromZero: true });
    root.append(
      card("Over time", this.chart.element),
      card("Runs", this.failure, this.table.element),
    );
    this.poll = new Poll(
      (current) => this.#read(current),
      () => 4000,
      (error) => setText(this.failure, `The list cannot be read: ${error.message}`),
    );
  }

  async #read(current) {
    const { items } = await api("/runs", { limit: LIST_MAX });
    if (!current()) return;
    this.kept = items;
    setText(this.failure, "");
    if (this.live) this.update(this.live);
  }

  update(live) {
    this.live = live;
    const rows = merged(this.kept, live.mirror.rows("run")).map((one) => ({ ...one, now: live.now }));
    this.table.update(rows);
    const done = rows.filter((one) => one.status !== "running").reverse();
    const bad = (counts) => ["failed", "error", "timeout", "lost"].reduce((all, one) => all + (counts[one] ?? 0), 0);
    const values = {
      at: done.map((one) => axisTime(one.started_at)),
      passed: done.map((one) => one.counts.passed ?? 0),
      failed: done.map((one) => bad(one.counts)),
    };
    const said = JSON.stringify(values);
    if (said === this.said) return;
    this.said = said;
    const failing = done.filter((one) => bad(one.counts) > 0).length;
    this.chart.update(values, done.length ? `${counted(done.length, "run")} ended, ${failing} of them with failures.` : "No run has ended yet.");
  }

  close() {
    this.poll.close();
    this.chart.close();
  }
}

const COLUMNS = [
  { name: "Run", kind: "name", of: (row) => link("runs", { run: row.run }, short(row.run, 40)) },
  { name: "Suite", of: (row) => short(row.suite, 60) },
  { name: "Standing", of: (row) => mark(row.status) },
  { name: "Began", kind: "name", of: (row) => moment(row.started_at) },
  { name: "Took", kind: "number", of: (row) => duration((row.finished_at ?? row.now) - row.started_at) },
  { name: "Left", kind: "number", of: (row) => (row.status === "running" ? leftOf(row, row.now) : "–") },
  { name: "Cases", of: (row) => countsOf(row.counts, row.planned) },
];

// Runs of the store, and those that the scheduler sees, which know more of themselves
// while they go on. Pure.
export function merged(kept, seen) {
  const found = new Map(kept.map((one) => [one.run, one]));
  for (const one of seen) {
    const known = found.get(one.run);
    if (!known || (known.status === "running" && one.at)) found.set(one.run, { ...known, ...one });
  }
  return [...found.values()].sort((one, other) => other.started_at - one.started_at);
}
