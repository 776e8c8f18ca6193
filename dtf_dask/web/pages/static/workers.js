// The workers: what they are, how busy they are, and what ran where.

import { address, card, el, link, meter, setText } from "./dom.js";
import { bytes, count, counted, degrees, duration, percent, short, unbroken } from "./format.js";
import { api, Poll } from "./live.js";
import { mark } from "./outcomes.js";
import { Table } from "./table.js";
import { Timeline } from "./timeline.js";
import { heatOf, OneWorker, runOf, taskOf, utilOf } from "./worker.js";

const SPAN_S = 600;
const ROWS_MAX = 30;
const HOT_C = 83;

export function mount(root, page) {
  return new Workers(root, page);
}

class Workers {
  constructor(root, { query }) {
    this.name = query.worker ?? "";
    this.part = "";
    this.attempts = [];
    const find = el("input", {
      type: "search",
      placeholder: "name, host, kind, label",
      oninput: () => {
        this.part = find.value.toLowerCase();
        if (this.live) this.update(this.live);
      },
    });
    this.counts = el("span", { class: "note", role: "status" });
    this.timeline = new Timeline("What ran where in the last 10 minutes");
    this.table = new Table("Workers", COLUMNS, {
      key: (row) => row.key,
      empty: "There is no worker that fits.",
    });
    this.one = this.name ? new OneWorker(this.name) : null;
    const above = el("div", { class: "bar-above" }, el("label", {}, "Find ", find), this.counts);
    root.append(
      ...(this.one ? [this.one.element] : []),
      above,
      card("Timeline", this.timeline.element),
      card("All workers", this.table.element),
    );
    this.poll = new Poll((current) => this.#read(current), () => 3000);
  }

  async #read(current) {
    const told = await api("/timeline", { limit: 2000 });
    if (!current()) return;
    this.attempts = told.items;
    if (this.live) this.update(this.live);
  }

  update(live) {
    this.live = live;
    const all = rowsOf(live);
    const rows = all.filter((one) => holds(one, this.part));
    setText(this.counts, rows.length === all.length ? counted(all.length, "worker") : `${count(rows.length)} of ${counted(all.length, "worker")}`);
    this.table.update(rows);
    const shown = rows.filter((one) => one.left_at === null).slice(0, ROWS_MAX);
    const bars = barsOf(this.attempts, shown, live);
    this.timeline.update(shown.map((one) => one.name), bars, live.now - SPAN_S, live.now);
    this.one?.update(all.find((one) => one.name === this.name) ?? null, live);
  }

  close() {
    this.poll.close();
    this.timeline.close();
    this.one?.close();
  }
}

const COLUMNS = [
  { name: "Worker", kind: "name", of: (row) => link("workers", { worker: row.name }, short(row.name, 40)) },
  { name: "Standing", of: standingOf },
  { name: "Host", kind: "name", of: (row) => short(row.host, 30) },
  { name: "Hardware", of: hardwareOf, kind: "some" },
  { name: "CPU", of: (row) => row.load && row.load.cpu !== null ? meter(row.load.cpu / row.threads, cpuWords(row)) : "–" },
  { name: "Memory", of: (row) => row.load && row.memory ? meter(row.load.memory / row.memory, `${bytes(row.load.memory)} of ${bytes(row.memory)}`, row.load.memory > 0.85 * row.memory ? "much" : "") : "–" },
  { name: "GPU", of: gpuWords },
  { name: "Tasks", kind: "number", of: (row) => count(row.load?.processing ?? 0) },
  { name: "Runs now", kind: "wide", of: (row) => runsNow(row) },
];

// Those that are wrong first, then by name.
function rowsOf(live) {
  const found = [...live.mirror.of("worker")].map(([key, one]) => ({
    key,
    ...one,
    load: live.mirror.load(key),
    now: live.now,
  }));
  const rank = (one) => (one.status === "lost" ? 0 : one.shut || one.problems.length ? 1 : one.left_at !== null ? 3 : 2);
  return found.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name, "en", { numeric: true }));
}

function holds(row, part) {
  if (!part) return true;
  const words = [row.name, row.host, row.kind, row.address, ...row.labels];
  return words.some((one) => one.toLowerCase().includes(part));
}

function standingOf(row) {
  return row.left_at === null && row.shut ? mark("paused", "shut") : mark(row.status);
}

function hardwareOf(row) {
  const gpu = row.gpus ? [counted(row.gpus, "GPU")] : [];
  const model = row.facts["gpu.model"] ? [String(row.facts["gpu.model"])] : [];
  const arch = row.facts["cpu.arch"] ? [String(row.facts["cpu.arch"])] : [];
  const memory = row.memory ? [bytes(row.memory)] : [];
  const all = [...arch, counted(row.threads, "thread"), ...memory, ...gpu, ...model];
  return short(all.map(unbroken).join(", "), 80);
}

function cpuWords(row) {
  const words = [`${row.load.cpu.toFixed(1)} of ${row.threads}`, degrees(row.load.temperature)];
  return words.filter(Boolean).join(", ");
}

function gpuWords(row) {
  if (!row.gpus) return "none";
  const util = row.load ? utilOf(row.load) : null;
  const heat = row.load ? heatOf(row.load) : null;
  const hot = row.facts["gpu.throttled"] === true || (heat !== null && heat >= HOT_C);
  const words = [util === null ? "" : percent(util), degrees(heat), hot ? "hot" : ""];
  return words.filter(Boolean).join(", ") || "–";
}

function runsNow(row) {
  const running = row.load?.running ?? [];
  if (!running.length) return "";
  const shown = running.slice(0, 2).flatMap((one, at) => {
    const took = one.since ? unbroken(` (${duration(Math.floor(Math.max(0, row.now - one.since)))})`) : "";
    return [at ? ", " : "", ...taskOf(one.key, 50), took];
  });
  const more = running.length - 2;
  return el("span", {}, shown, more > 0 ? ` and ${more} more` : "");
}

// What ran, and what runs, as bars of a timeline.
export function barsOf(attempts, rows, live) {
  const bars = attempts.map((one) => ({
    row: one.where,
    start: one.started_at,
    end: one.started_at + one.duration_s,
    kind: one.outcome,
    words: one.case_id,
    href: address("runs", { run: one.run, case: one.case_id, number: one.number }),
  }));
  for (const row of rows) {
    for (const one of row.load?.running ?? []) {
      if (one.since === null) continue;
      const run = runOf(one.key);
      bars.push({ row: row.name, start: one.since, end: live.now, kind: "running", words: run ? `tests of ${run}` : one.key });
    }
  }
  return bars;
}
