// One case of a run: its attempts, what one of them wrote, how it did before.

import { again } from "./again.js";
import { card, el, link, setChildren, setText } from "./dom.js";
import { bytes, count, duration, moment, NOTHING, short, shortEnd } from "./format.js";
import { api, Poll } from "./live.js";
import { mark } from "./outcomes.js";
import { Table } from "./table.js";
import { Written } from "./written.js";

const TEXTS = ["exception", "traceback", "stdout", "stderr", "log"];
const GOING_MS = 2000;
const OVER_MS = 15000;

export class CaseView {
  constructor({ run, case: name, number, worker }) {
    this.asked = { run, name, number, worker };
    this.goes = false;
    this.found = null; // the run
    this.failure = el("p", { class: "note", role: "status" });
    this.attempts = new Table("Attempts", this.#columns(), { key: (row) => `${row.number} ${row.worker}`, empty: "No attempt is known here yet." });
    this.written = new Written();
    this.left = el("div");
    this.again = el("div");
    this.history = new Table("In all runs, the newest first", HISTORY, { key: (row) => `${row.run} ${row.number} ${row.worker}`, empty: "It was never run before." });
    this.element = card(
      `Case ${shortEnd(name, 100)}`,
      el("p", {}, link("runs", { run }, "Close")),
      this.failure,
      this.attempts.element,
      this.written.element,
      this.left,
      this.again,
      el("h3", {}, "History"),
      this.history.element,
    );
    this.poll = new Poll(
      (current) => this.#read(current),
      () => (this.goes || this.found?.status === "running" ? GOING_MS : OVER_MS),
      (error) => setText(this.failure, `It cannot be read: ${error.message}`),
    );
  }

  #columns() {
    const { run, name } = this.asked;
    return [
      { name: "Attempt", of: (row) => link("runs", { run, case: name, number: row.number, worker: row.worker }, `number ${row.number}`) },
      { name: "Outcome", of: (row) => mark(row.outcome) },
      { name: "Worker", of: (row) => link("workers", { worker: row.where }, short(row.where, 40)) },
      { name: "Began", of: (row) => moment(row.started_at) },
      { name: "Took", kind: "number", of: (row) => duration(row.duration_s) },
      { name: "Used", of: usedWords },
      { name: "Why", kind: "wide", of: (row) => short(row.why || row.detail, 200) },
    ];
  }

  // `live` says whether the run goes on: the store of this node hears of it later.
  update(live) {
    const run = this.found?.run ?? this.asked.run;
    const goes = live.mirror.rows("run").some((one) => one.run === run && one.status === "running");
    if (goes === this.goes) return;
    this.goes = goes;
    this.poll.now();
  }

  async #read(current) {
    const { run, name } = this.asked;
    const path = `/runs/${encodeURIComponent(run)}`;
    // That is known before this node's store has heard of the run.
    const written = this.goes ? await api(`${path}/tail`, { case: name }).catch(() => null) : null;
    if (!current()) return;
    this.written.update(written?.items ?? []);
    const [{ items }, found] = await Promise.all([api(`${path}/attempts`, { case: name }), api(path)]);
    if (!current()) return;
    setText(this.failure, "");
    this.found = found;
    this.attempts.update(items);
    const chosen = items.find((one) => String(one.number) === this.asked.number && (!this.asked.worker || one.worker === this.asked.worker));
    const last = chosen ?? items.at(-1);
    if (last) await this.#texts(path, last, current);
    const past = await api("/history", { suite: found.suite, case: name, limit: 50 });
    if (!current()) return;
    if (!this.again.children.length) setChildren(this.again, again(found, [{ words: "this case", options: ["--case", name] }]));
    this.history.update(past.items);
  }

  // What an attempt wrote does not change: it is read once.
  async #texts(path, one, current) {
    const said = `${one.number} ${one.worker} ${one.outcome}`;
    if (said === this.said) return;
    const told = await api(`${path}/log`, { case: one.case_id, number: one.number, worker: one.worker });
    if (!current()) return;
    this.said = said;
    const shown = TEXTS.filter((name) => told[name].text && !(name === "exception" && told.traceback.text));
    const parts = shown.map((name) => {
      const { text, chars, cut } = told[name];
      const more = cut ? ` (the end of ${count(chars)} characters)` : "";
      const open = name === "traceback" || name === "exception";
      return el("details", { open }, el("summary", {}, `${name}${more}`), el("pre", { tabindex: "0", "aria-label": name }, text));
    });
    const head = el("h3", {}, `Attempt ${one.number} on ${short(one.where, 60)}: `, mark(one.outcome));
    setChildren(this.left, head, parts.length ? parts : el("p", { class: "note" }, "It wrote nothing."));
  }

  close() {
    this.poll.close();
  }
}

// What was measured of it.
function usedWords({ cpu_s: cpu, memory, gpu_memory: gpu }) {
  const words = [
    cpu === null ? "" : `${duration(cpu)} of CPU`,
    memory === null ? "" : bytes(memory),
    gpu === null ? "" : `${bytes(gpu)} of GPUs`,
  ];
  return words.filter(Boolean).join(", ") || NOTHING;
}

const HISTORY = [
  { name: "Run", of: (row) => link("runs", { run: row.run, case: row.case_id, number: row.number, worker: row.worker }, short(row.run, 40)) },
  { name: "Began", of: (row) => moment(row.run_started_at) },
  { name: "Outcome", of: (row) => mark(row.outcome) },
  { name: "Worker", of: (row) => short(row.where, 40) },
  { name: "Took", kind: "number", of: (row) => duration(row.duration_s) },
  { name: "Why", kind: "wide", of: (row) => short(row.why || row.detail, 160) },
];
