// Why does it wait? What waits, grouped by what it waits for, and what is scarce.

import { breakable, card, el, link, meter, setChildren, setText } from "./dom.js";
import { count, counted, duration, percent, short, shortEnd } from "./format.js";
import { api, Poll } from "./live.js";
import { mark } from "./outcomes.js";
import { SeriesBuffer } from "./series.js";
import { Table } from "./table.js";
import { TasksByKey } from "./tasks.js";

const ROOM = "room";
const LATELY_S = 60;

export function mount(root, page) {
  return new Scheduling(root, page);
}

class Scheduling {
  constructor(root, { query }) {
    this.series = new SeriesBuffer(LATELY_S + 10);
    this.summary = el("p", { role: "status" });
    this.pressure = el("div");
    this.reasons = new Table("Reasons", REASONS, { key: (row) => row.reason, empty: "Nothing waits." });
    this.classes = new Table("Classes", CLASSES, { key: (row) => row.name, empty: "Nothing was submitted yet." });
    this.kinds = new Table("Kinds of work that wait", KINDS, { key: (row) => row.key, empty: "Nothing waits." });
    this.scarce = new Table("What few workers have", SCARCE, { key: (row) => row.needs, empty: "Nothing waits for hardware that few have." });
    this.tokens = new Table("Tokens", TOKENS, { key: (row) => row.name, empty: "No tokens are set up." });
    this.breakers = new Table("Circuit breakers that are not closed", BREAKERS, { key: (row) => row.name, empty: "All are closed." });
    this.tasks = new TasksByKey(query.key);
    // Who comes with a key wants to do something with it.
    const [first, last] = query.key ? [[this.tasks.element], []] : [[], [this.tasks.element]];
    root.append(
      ...first,
      card("Why is it pending?", this.summary, this.reasons.element),
      card("Priority classes", this.pressure, this.classes.element),
      card("What waits, the most urgent first", this.kinds.element),
      el(
        "div",
        { class: "columns" },
        card("Scarce hardware", this.scarce.element),
        card("Tokens", this.tokens.element),
      ),
      card("Circuit breakers", this.breakers.element),
      ...last,
    );
    this.poll = new Poll(async () => {
      const since = Math.floor(Math.max(this.series.since, Date.now() / 1000 - 2 * LATELY_S));
      this.series.add(await api("/series", { step: 1, since }));
    }, () => 3000);
  }

  update(live) {
    const now = live.now;
    const rows = [...live.mirror.of("kind")].map(([key, one]) => ({ key, ...one, now }));
    rows.sort((one, other) => one.due - other.due || one.since - other.since);
    const reasons = groupsOf(rows);
    const waiting = live.cluster?.waiting ?? 0;
    setText(this.summary, summaryOf(reasons, waiting));
    this.reasons.update(reasons);
    this.kinds.update(rows);
    this.scarce.update(scarceOf(rows));
    const pace = (name) => this.series.lately(`class/${name}/ended`, LATELY_S);
    this.classes.update(live.mirror.rows("class").map((one) => ({ ...one, now, pace: pace(one.name) })));
    const tokens = Object.entries(live.cluster?.tokens ?? {});
    this.tokens.update(tokens.map(([name, one]) => ({ name, ...one })));
    this.breakers.update(live.mirror.rows("breaker").map((one) => ({ ...one, now })));
    this.tasks.update(live);
    this.#queue(live.cluster?.pressure);
  }

  #queue(pressure) {
    const said = JSON.stringify(pressure ?? null);
    if (said === this.said) return;
    this.said = said;
    if (!pressure?.bound) {
      setChildren(this.pressure);
      return;
    }
    const words = `the queue holds ${count(pressure.waiting)} of at most ${count(pressure.bound)}`;
    setChildren(this.pressure, el("p", {}, meter(pressure.waiting / pressure.bound, words, pressure.state === "calm" ? "" : "much")));
  }

  close() {
    this.poll.close();
  }
}

const waited = (row) => duration(Math.max(0, row.now - row.since));

const REASONS = [
  { name: "It waits for", kind: "wide", of: (row) => short(row.reason, 120) },
  { name: "Tasks", kind: "number", of: (row) => count(row.waiting) },
  { name: "Share", of: (row) => meter(row.share, percent(row.share)) },
  { name: "Longest", kind: "number", of: (row) => duration(row.longest) },
  { name: "What would help", kind: "wide", of: (row) => short(row.help, 240) || "–" },
];
const CLASSES = [
  { name: "Class", of: (row) => short(row.name, 40) },
  { name: "Waiting", kind: "number", of: (row) => count(row.waiting) },
  { name: "Held back", kind: "number", of: (row) => count(row.held) },
  { name: "Running", kind: "number", of: (row) => count(row.running) },
  { name: "Longest wait", kind: "number", of: (row) => (row.since === null ? "–" : duration(Math.max(0, row.now - row.since))) },
  { name: "Left to begin", kind: "number", of: (row) => (row.latest === null ? "no deadline" : duration(row.latest - row.now)) },
  { name: "All begun in", kind: "number", of: etaOf },
  { name: "Ended", kind: "number", of: (row) => count(row.ended) },
  { name: "Failed", kind: "number", of: (row) => count(row.failed) },
  { name: "Missed", kind: "number", of: (row) => count(row.missed) },
];
const KINDS = [
  { name: "Class", of: (row) => short(row.class, 30) },
  { name: "Tenant", of: (row) => short(row.tenant, 30) || "–" },
  { name: "Needs", kind: "wide", of: (row) => short(row.needs, 160) || "any worker" },
  { name: "Waiting", kind: "number", of: (row) => count(row.waiting) },
  { name: "Longest", kind: "number", of: waited },
  { name: "Fit", kind: "number", of: (row) => counted(row.workers, "worker") },
  { name: "Why", kind: "wide", of: (row) => short(whyOf(row), 300) },
  { name: "Begins in", kind: "number", of: (row) => (row.eta ? `about ${duration(Math.max(0, row.eta - row.now))}` : "–") },
  { name: "Next", kind: "wide", of: (row) => (row.next ? link("scheduling", { key: row.next }, breakable(shortEnd(row.next, 80))) : "–") },
];
const SCARCE = [
  { name: "Needs", kind: "wide", of: (row) => short(row.needs, 160) },
  { name: "Fit", kind: "number", of: (row) => counted(row.workers, "worker") },
  { name: "Waiting", kind: "number", of: (row) => count(row.waiting) },
];
const TOKENS = [
  { name: "Token", of: (row) => short(row.name, 60) },
  { name: "Taken", of: (row) => meter(row.total ? row.used / row.total : 0, `${count(row.used)} of ${count(row.total)}`) },
];
const BREAKERS = [
  { name: "Of", of: (row) => short(row.name, 60) },
  { name: "State", of: (row) => mark(row.state) },
  { name: "For", kind: "number", of: waited },
  { name: "Why", kind: "wide", of: (row) => short(row.why, 300) },
];

function etaOf(row) {
  if (!row.waiting) return "–";
  return row.pace ? `about ${duration(row.waiting / row.pace)}` : "not at this pace";
}

function whyOf(row) {
  if (row.why) return row.why;
  return row.waits_for === ROOM || !row.waits_for ? "All that fit are busy: it is its turn next." : row.waits_for;
}

// What waits, by what it waits for, the most first. Pure.
export function groupsOf(rows) {
  const found = new Map();
  let all = 0;
  for (const row of rows) {
    const reason = row.waits_for === ROOM || !row.waits_for ? "room on workers that fit" : row.waits_for;
    const one = found.get(reason) ?? { reason, waiting: 0, longest: 0, help: "" };
    one.waiting += row.waiting;
    one.longest = Math.max(one.longest, row.now - row.since);
    one.help ||= row.help;
    all += row.waiting;
    found.set(reason, one);
  }
  return [...found.values()]
    .map((one) => ({ ...one, share: one.waiting / Math.max(1, all) }))
    .sort((one, other) => other.waiting - one.waiting);
}

// What waits for what few workers have, the fewest first. Pure.
export function scarceOf(rows) {
  const found = new Map();
  for (const row of rows) {
    if (!row.needs || row.needs === "any worker") continue;
    const one = found.get(row.needs) ?? { needs: row.needs, workers: row.workers, waiting: 0 };
    one.waiting += row.waiting;
    found.set(row.needs, one);
  }
  return [...found.values()].sort((a, b) => a.workers - b.workers || b.waiting - a.waiting).slice(0, 20);
}

function summaryOf(reasons, waiting) {
  if (!waiting && !reasons.length) return "Nothing waits: whatever is submitted begins at once.";
  const first = reasons[0];
  if (!first) return `${counted(waiting, "task")} ${waiting === 1 ? "waits" : "wait"}.`;
  return `${counted(waiting, "task")} ${waiting === 1 ? "waits" : "wait"}, most for ${short(first.reason, 80)}.`;
}
