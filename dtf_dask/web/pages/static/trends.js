// How runs and cases did from run to run: how long they took, and what failed.

import { lineChart } from "./charts.js";
import { card, el, link, setChildren, setText } from "./dom.js";
import { Figures } from "./figures.js";
import { axisTime, counted, duration, percent, short, shortEnd } from "./format.js";
import { api, Poll } from "./live.js";
import { countsOf, mark } from "./outcomes.js";
import { SuiteChoice } from "./suite_choice.js";
import { Table } from "./table.js";

const RUNS_MAX = 100;
const FAILING = ["failed", "error", "timeout", "lost"];

export function mount(root, page) {
  return new Trends(root, page);
}

class Trends {
  constructor(root, { query }) {
    this.name = query.case ?? "";
    this.failure = el("p", { class: "note", role: "status" });
    this.took = lineChart("How long runs took", [
      { name: "took", label: "whole run", colour: "blue" },
    ], { marks: true, fromZero: true, unit: "s" });
    this.failed = lineChart("Share of cases that failed", [
      { name: "failed", label: "failed, error, timeout or lost", colour: "vermillion" },
    ], { marks: true, fromZero: true, unit: "%" });
    this.case = el("div");
    this.figures = new Figures(this.name);
    this.table = new Table("Runs", RUNS, { key: (row) => row.run, empty: "No run has ended yet.", limit: RUNS_MAX });
    this.choice = new SuiteChoice("trends", query, () => this.poll.now());
    root.append(
      this.choice.element,
      this.failure,
      this.case,
      ...(this.name ? [this.figures.element] : []),
      el("div", { class: "columns" }, card("Duration", this.took.element), card("Failures", this.failed.element)),
      ...(this.name ? [] : [this.figures.element]),
      card("Runs", this.table.element),
    );
    if (this.name) this.#open();
    this.poll = new Poll(
      (current) => this.#read(current),
      () => 10000,
      (error) => setText(this.failure, `It cannot be read: ${error.message}`),
    );
  }

  #open() {
    this.one = lineChart("How long the case took", [
      { name: "passed", label: "passed", colour: "green" },
      { name: "failed", label: "did not pass", colour: "vermillion", dash: "dashed" },
    ], { marks: true, join: false, fromZero: true, unit: "s" });
    this.attempts = new Table("Attempts of the case", ATTEMPTS, { key: (row) => `${row.run} ${row.number} ${row.worker}`, empty: "It was never run." });
    setChildren(this.case, card(`Case ${shortEnd(this.name, 100)}`, this.one.element, this.attempts.element));
  }

  async #read(current) {
    const { suite } = this.choice;
    if (!suite) return;
    const { items } = await api("/runs", { suite, limit: RUNS_MAX });
    await this.figures.read(suite, current);
    const past = this.name ? (await api("/history", { suite, case: this.name, limit: 200 })).items : [];
    if (!current()) return;
    setText(this.failure, "");
    this.#draw(items.filter((one) => one.finished_at !== null).reverse());
    if (this.name) this.#drawCase(past.reverse());
  }

  #draw(runs) {
    const at = runs.map((one) => axisTime(one.started_at));
    const took = runs.map((one) => one.finished_at - one.started_at);
    const words = runs.length ? `The last run took ${duration(took.at(-1))}, the median of ${counted(runs.length, "run")} is ${duration(median(took))}.` : "No run has ended yet.";
    this.took.update({ at, took }, words);
    const failed = runs.map((one) => 100 * failedShare(one.counts));
    const last = runs.length ? `${percent(failed.at(-1) / 100)} of the last run's cases failed.` : "No run has ended yet.";
    this.failed.update({ at, failed }, last);
    this.table.update([...runs].reverse());
  }

  #drawCase(past) {
    const at = past.map((one) => axisTime(one.started_at));
    const of = (passed) => past.map((one) => ((one.outcome === "passed") === passed ? one.duration_s : NaN));
    const found = past.filter((one) => one.outcome === "passed").map((one) => one.duration_s);
    this.one.update({ at, passed: of(true), failed: of(false) }, found.length ? `It passed ${counted(found.length, "time")}, in ${duration(median(found))} by the median.` : "It has not passed yet.");
    this.attempts.update([...past].reverse());
  }

  update() {}

  close() {
    this.poll.close();
    this.choice.close();
    for (const one of [this.took, this.failed, this.one, this.figures]) one?.close();
  }
}

const RUNS = [
  { name: "Run", of: (row) => link("runs", { run: row.run }, short(row.run, 40)) },
  { name: "Standing", of: (row) => mark(row.status) },
  { name: "Took", kind: "number", of: (row) => duration(row.finished_at - row.started_at) },
  { name: "Cases", of: (row) => countsOf(row.counts, row.planned) },
];
const ATTEMPTS = [
  { name: "Run", of: (row) => link("runs", { run: row.run, case: row.case_id, number: row.number }, short(row.run, 40)) },
  { name: "Outcome", of: (row) => mark(row.outcome) },
  { name: "Worker", of: (row) => short(row.where, 40) },
  { name: "Took", kind: "number", of: (row) => duration(row.duration_s) },
];

export function failedShare(counts) {
  const all = Object.values(counts).reduce((sum, one) => sum + one, 0);
  return all ? FAILING.reduce((sum, one) => sum + (counts[one] ?? 0), 0) / all : 0;
}

export function median(numbers) {
  const found = [...numbers].sort((one, other) => one - other);
  const middle = found.length >> 1;
  if (!found.length) return null;
  return found.length % 2 ? found[middle] : (found[middle - 1] + found[middle]) / 2;
}
