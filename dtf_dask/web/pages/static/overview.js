// The whole at a glance.

import { Asked } from "./acts.js";
import { areaChart, lineChart } from "./charts.js";
import { card, el, link, setChildren, setText } from "./dom.js";
import { axisTime, count, counted, duration, NOTHING, percent, rate, short } from "./format.js";
import { api, Poll } from "./live.js";
import { countsOf, mark } from "./outcomes.js";
import { SeriesBuffer, stacked } from "./series.js";
import { Table } from "./table.js";

const SPANS = [
  { step: 1, points: 600, words: "10 min" },
  { step: 10, points: 720, words: "2 h" },
  { step: 300, points: 2016, words: "7 days" },
];

export function mount(root) {
  return new Overview(root);
}

class Overview {
  constructor(root) {
    this.span = SPANS[0];
    this.buffer = new SeriesBuffer(this.span.points);
    this.tiles = {};
    this.names = [];
    this.held = new Map();
    const tiles = el("div", { class: "tiles" }, [
      this.#tile("ending", "Tasks per second"),
      this.#tile("waiting", "Waiting"),
      this.#tile("running", "Running"),
      this.#tile("workers", "Workers"),
      this.#tile("cpu", "Threads taken"),
      this.#tile("memory", "Memory"),
      this.#tile("gpu", "GPUs"),
      this.#tile("deadlines", "Deadlines met"),
    ]);
    this.alerts = el("div", { class: "alerts" });
    this.throughput = lineChart("What ended in a second", [
      { name: "tests", label: "tests", colour: "green" },
      { name: "ended", label: "tasks", colour: "blue", dash: "dotted" },
      { name: "failed", label: "failed", colour: "vermillion", dash: "dashed" },
    ], { fromZero: true });
    this.taken = lineChart(
      "Share that is taken",
      [
        { name: "busy", label: "threads", colour: "blue" },
        { name: "cpu", label: "CPU", colour: "green", dash: "dotted" },
        { name: "memory", label: "memory", colour: "orange", dash: "dashed" },
        { name: "gpu", label: "GPU", colour: "purple", dash: "dashdot" },
      ],
      { y_range: [0, 105], unit: "%" },
    );
    this.slack = lineChart("Time left for the nearest deadline", [
      { name: "slack", label: "left to begin", colour: "purple" },
    ], { unit: "s" });
    this.queue = el("div");
    this.spans = el("div", { class: "choice", role: "group", "aria-label": "Time shown" });
    this.spans.append(...SPANS.map((one) => this.#choice(one)));
    this.runs = new Table("Runs that go on", RUN_COLUMNS, {
      key: (row) => row.run,
      empty: "No run of tests goes on.",
      limit: 8,
    });
    this.asked = new Asked();
    root.append(
      tiles,
      card("Alerts", this.alerts),
      el("div", { class: "bar-above" }, this.spans),
      el(
        "div",
        { class: "columns" },
        card("Throughput", this.throughput.element),
        card("Queue by class", this.queue),
        card("Utilisation", this.taken.element),
        card("Deadline slack", this.slack.element),
      ),
      card("Runs", this.runs.element),
      card("Asked for lately", this.asked.element),
    );
    this.#queueChart([]);
    this.poll = new Poll((current) => this.#read(current), () => 1000 * Math.min(this.span.step, 10));
  }

  #tile(name, label) {
    const value = el("strong", { class: "value" }, "–");
    const more = el("span", { class: "more" });
    const head = el("span", { class: "label" }, label);
    this.tiles[name] = { label: head, value, more };
    return el("div", { class: "tile" }, head, value, more);
  }

  #choice(span) {
    const choose = () => {
      this.span = span;
      this.buffer = new SeriesBuffer(span.points);
      for (const one of this.spans.children) {
        one.setAttribute("aria-pressed", String(one.textContent === span.words));
      }
      this.poll.now();
    };
    const pressed = String(span === this.span);
    return el("button", { type: "button", "aria-pressed": pressed, onclick: choose }, span.words);
  }

  async #read(current) {
    const told = await api("/series", { step: this.span.step, since: Math.floor(this.buffer.since) });
    if (!current()) return;
    this.buffer.add(told);
    this.#draw();
  }

  #draw() {
    const { buffer } = this;
    const at = buffer.times().map(axisTime);
    // The last second is not over yet.
    const whole = (name) => [...buffer.of(name).slice(0, -1), NaN];
    // Runs tell of tests, of which a task runs many, and which fail while it does not.
    const hasTests = "tests" in buffer.values;
    const [ending, failing] = hasTests ? ["tests", "tests_failed"] : ["ended", "failed"];
    const ended = rate(buffer.lately(ending));
    this.throughput.update(
      { at, tests: whole("tests"), ended: whole("ended"), failed: whole(failing) },
      `${ended} ${hasTests ? "tests" : "tasks"} ended in a second lately, ${rate(buffer.lately(failing))} of them failed.`,
    );
    setText(this.tiles.ending.label, `${hasTests ? "Tests" : "Tasks"} per second`);
    setText(this.tiles.ending.value, ended);
    const shares = Object.fromEntries(
      ["busy", "cpu", "memory", "gpu"].map((name) => [name, buffer.of(name, 100)]),
    );
    const said = ["busy", "memory"].map((name) => percent(buffer.lately(name)));
    this.taken.update(
      { at, ...shares },
      `${said[0]} of all threads and ${said[1]} of all memory are taken.`,
    );
    const slack = buffer.of("slack");
    const least = buffer.lately("slack", 1);
    this.slack.update(
      { at, slack },
      slack.some((one) => !Number.isNaN(one))
        ? `The nearest deadline leaves ${duration(least)} to begin; below 0 it is missed.`
        : "Nothing that waited in this time has a deadline.",
    );
    const names = buffer.classes("waiting");
    if (names.join("\n") !== this.names.join("\n")) this.#queueChart(names);
    const edges = stacked(buffer, names, (name) => `class/${name}/waiting`);
    const waiting = names.map((name) => {
      const held = this.held.get(name);
      const now = Math.round(buffer.lately(`class/${name}/waiting`, 1) ?? 0);
      return `${short(name, 40)} ${count(now)}${held ? ` and ${count(held)} held back` : ""}`;
    });
    this.areas.update({ at, ...edges }, waiting.length ? `Waiting: ${waiting.join(", ")}.` : "Nothing waits.");
  }

  #queueChart(names) {
    this.areas?.close();
    this.names = names;
    this.areas = areaChart("Tasks that wait, by class", names.map((one) => short(one, 24)));
    setChildren(this.queue, this.areas.element);
  }

  update(live) {
    const cluster = live.cluster;
    this.#alerts(live.alerts);
    this.asked.update(live);
    this.held = new Map(live.mirror.rows("class").map((one) => [one.name, one.held]));
    this.runs.update(liveRuns(live));
    if (!cluster) return;
    const put = (name, value, more) => {
      setText(this.tiles[name].value, value);
      setText(this.tiles[name].more, more);
    };
    const loads = live.mirror.rows("load");
    const lost = live.mirror.rows("worker").filter((one) => one.status === "lost").length;
    const gpus = loads.flatMap((one) => one.gpus).filter((one) => one.util !== null);
    const using = gpus.reduce((all, one) => all + one.util, 0) / Math.max(1, gpus.length);
    const all = live.mirror.rows("worker").reduce((sum, one) => sum + one.gpus, 0);
    const failed = cluster.failed ? `, ${count(cluster.failed)} failed` : "";
    setText(this.tiles.ending.more, `${counted(cluster.ended, "task")} in all${failed}`);
    put("waiting", count(cluster.waiting), cluster.held ? `${count(cluster.held)} held back` : "none held back");
    put("running", count(cluster.running), `on ${counted(cluster.threads, "thread")}`);
    put("workers", count(cluster.workers), lost ? `${count(lost)} lost lately` : "none lost lately");
    const threads = cluster.threads ? cluster.threads_used / cluster.threads : null;
    put("cpu", percent(threads), `${count(cluster.threads_used)} of ${count(cluster.threads)}`);
    const memory = cluster.memory ? cluster.memory_used / cluster.memory : null;
    put("memory", percent(memory), "of all workers'");
    put("gpu", gpus.length ? percent(using) : "–", all ? `of ${counted(all, "GPU")}` : "there are none");
    const due = cluster.deadlines_met + cluster.deadlines_missed;
    put("deadlines", due ? percent(cluster.deadlines_met / due) : "–", due ? `${count(cluster.deadlines_missed)} missed` : "nobody set one");
  }

  #alerts(alerts) {
    const said = JSON.stringify(alerts.map((one) => [one.id, one.words]));
    if (said === this.said) return;
    this.said = said;
    const rows = alerts
      .slice(0, 20)
      .map((one) => el("li", { class: `alert ${one.level}` }, mark(one.level, `${one.level}:`), ` ${short(one.words, 300)}`));
    setChildren(this.alerts, rows.length ? el("ul", {}, rows) : el("p", { class: "note" }, mark("passed", "Nothing is wrong.")));
  }

  close() {
    this.poll.close();
    for (const one of [this.throughput, this.taken, this.slack, this.areas]) one.close();
  }
}

const RUN_COLUMNS = [
  { name: "Run", kind: "name", of: (row) => link("runs", { run: row.run }, short(row.run, 40)) },
  { name: "Suite", of: (row) => short(row.suite, 40) },
  { name: "Standing", of: (row) => mark(row.status) },
  { name: "Cases", of: (row) => countsOf(row.counts, row.planned) },
  { name: "Left", kind: "number", of: (row) => row.left },
];

// Runs that go on, the newest first, with how long they take at the pace they have.
export function liveRuns(live) {
  const going = live.mirror.rows("run").filter((one) => one.status === "running");
  return going
    .sort((one, other) => other.started_at - one.started_at)
    .map((one) => ({ ...one, left: leftOf(one, live.now) }));
}

export function leftOf(run, now) {
  const done = Object.values(run.counts).reduce((all, one) => all + one, 0);
  const took = now - run.started_at;
  if (!done || took <= 0 || done >= run.planned) return NOTHING;
  return duration((took * (run.planned - done)) / done);
}
