// One worker: what it is, how busy it is, what it runs, and what may be done with it.

import { Acts, Asked } from "./acts.js";
import { lineChart } from "./charts.js";
import { breakable, card, el, link, meter, setChildren, setText } from "./dom.js";
import { axisTime, bytes, counted, degrees, duration, moment, percent, short, shortEnd } from "./format.js";
import { Table } from "./table.js";

const KEPT_MAX = 600;
const FACTS_MAX = 60; // of a record; packages are what is left out
const PACKAGE = "package.";
const QUARANTINED = "it is quarantined";
const ABOUT_WORKERS = new Set(["retire-worker", "quarantine", "release"]);

export class OneWorker {
  constructor(name) {
    this.name = name;
    this.history = [];
    this.acts = new Acts();
    this.facts = el("dl", { class: "facts" });
    this.packages = el("dl", { class: "facts" });
    this.packagesSaid = el("summary");
    this.packagesPart = el("details", { hidden: true }, this.packagesSaid, this.packages);
    this.busy = lineChart(
      "Since this page was opened",
      [
        { name: "cpu", label: "CPU %", colour: "green" },
        { name: "memory", label: "memory %", colour: "orange", dash: "dashed" },
        { name: "gpu", label: "GPU %", colour: "purple", dash: "dotted" },
        { name: "heat", label: "hottest GPU °C", colour: "vermillion", dash: "dashdot" },
      ],
      { y_range: [0, 105] },
    );
    this.gpus = new Table("GPUs", GPUS, { key: (row) => row.key, empty: "" });
    this.gpusPart = el("div", { hidden: true }, el("h3", {}, "GPUs"), this.gpus.element);
    this.running = new Table("What it runs now", this.#columns(), { key: (row) => row.key, empty: "It runs nothing." });
    this.asked = new Asked({ of: (one) => ABOUT_WORKERS.has(one.action) && one.subject === name, empty: "Nothing was asked for about it lately." });
    this.element = card(
      `Worker ${short(name, 60)}`,
      el("div", { class: "bar-above" }, link("workers", {}, "← All workers"), this.#buttons()),
      this.acts.element,
      el("div", { class: "columns" }, el("div", {}, this.facts, this.packagesPart), this.busy.element),
      this.gpusPart,
      el("h3", {}, "Runs now"),
      this.running.element,
      el("h3", {}, "Asked for about it"),
      this.asked.element,
    );
  }

  #buttons() {
    const named = short(this.name, 60);
    const fields = () => ({ worker: this.name });
    this.quarantine = this.acts.button("Quarantine", {
      action: "quarantine",
      fields,
      dialog: () => ({
        title: `Quarantine ${named}?`,
        words: "It is sent nothing more, until it is released: also by the next leader, and when it comes back. What it runs goes on.",
        reason: "Why, for those who see it",
        yes: "Quarantine it",
      }),
    });
    this.release = this.acts.button("Release", { action: "release", fields });
    this.retire = this.acts.button("Retire", {
      action: "retire-worker",
      fields,
      dialog: () => ({
        title: `Retire ${named}?`,
        words: "It hands over the results it holds, and ends. What it runs begins anew elsewhere.",
        yes: "Retire it",
      }),
    });
    return el("span", { class: "choice" }, this.quarantine, this.release, this.retire);
  }

  #columns() {
    const cancel = (row) =>
      this.acts.button("Cancel", {
        action: "cancel",
        about: shortEnd(row.key, 60),
        fields: () => ({ keys: [row.key] }),
        dialog: () => ({
          title: "Cancel this task?",
          words: `${shortEnd(row.key, 300)}, and whatever needs it, whoever wants it. What it has done so far is lost.`,
          reason: "Why, for those who wait for it",
          yes: "Cancel it",
        }),
      });
    return [
      { name: "Task", kind: "wide", of: (row) => el("span", {}, taskOf(row.key, 120)) },
      { name: "Class", of: (row) => short(row.class, 40) || "–" },
      { name: "For", kind: "number", of: (row) => (row.since === null ? "–" : duration(Math.floor(Math.max(0, row.now - row.since)))) },
      { name: "Action", of: cancel },
    ];
  }

  // `row` is the worker, null if there is none.
  update(row, live) {
    this.acts.update(live);
    this.asked.update(live);
    const here = row !== null && row.left_at === null;
    const quarantined = here && row.shut.startsWith(QUARANTINED);
    this.quarantine.hidden = !here || quarantined;
    this.release.hidden = !quarantined;
    this.retire.hidden = !here;
    const running = here ? (row.load?.running ?? []) : [];
    this.running.update(running.map((one) => ({ ...one, now: live.now })));
    const gpus = (here && row.load?.gpus) || [];
    this.gpusPart.hidden = gpus.length === 0;
    this.gpus.update(gpus.map((one, at) => ({ key: at, at, ...one })));
    if (row === null) {
      setChildren(this.facts, el("dt", {}, "There is no such worker any more."));
      this.packagesPart.hidden = true;
    } else {
      this.#show(row);
    }
  }

  #show(row) {
    const facts = Object.entries(row.facts).sort(([one], [other]) => (one < other ? -1 : 1));
    const isPackage = ([name]) => name.startsWith(PACKAGE);
    const told = [
      ["address", row.address],
      ["kind", row.kind],
      ["since", moment(row.since)],
      ["gone since", row.left_at === null ? "" : moment(row.left_at)],
      ["labels", row.labels.join(", ")],
      ["gets nothing", row.shut],
      ["kept for", row.kept_for],
      ["problems", row.problems.join("; ")],
      ["temperature", degrees(row.load?.temperature) ?? ""],
      ...facts.filter((one) => !isPackage(one)).map(([name, value]) => [name, factWords(name, value)]),
    ].filter(([, value]) => value !== "" && value !== null);
    const packages = facts.filter(isPackage).map(([name, value]) => [name.slice(PACKAGE.length), String(value)]);
    const said = JSON.stringify([told, packages]);
    if (said !== this.said) {
      this.said = said;
      setChildren(this.facts, listed(told));
      setChildren(this.packages, listed(packages));
      const cut = facts.length >= FACTS_MAX;
      setText(this.packagesSaid, cut ? `The first ${packages.length} packages` : counted(packages.length, "package"));
    }
    this.packagesPart.hidden = packages.length === 0;
    const load = row.load;
    if (!load || load.at === this.history.at(-1)?.at) return;
    this.history.push(load);
    this.history = this.history.slice(-KEPT_MAX);
    const share = (part, whole) => (part === null || !whole ? NaN : (100 * part) / whole);
    this.busy.update({
      at: this.history.map((one) => axisTime(one.at)),
      cpu: this.history.map((one) => share(one.cpu, row.threads)),
      memory: this.history.map((one) => share(one.memory, row.memory)),
      gpu: this.history.map((one) => share(utilOf(one), 1)),
      heat: this.history.map((one) => heatOf(one) ?? NaN),
    });
  }

  close() {
    this.busy.close();
  }
}

const GPUS = [
  { name: "GPU", of: (row) => short(row.name, 60) || `number ${row.at}` },
  { name: "Busy", of: (row) => (row.util === null ? "–" : meter(row.util, percent(row.util), "")) },
  { name: "Memory used", kind: "number", of: (row) => bytes(row.memory) },
  { name: "Temperature", kind: "number", of: (row) => degrees(row.temperature) ?? "–" },
];

// The run whose tests a task is, by its key; empty if it is none. Pure.
export function runOf(key) {
  return /^dtf-batch-(.+)-\d+$/.exec(key)?.[1] ?? "";
}

// What a task is called: tests lead to their run.
export function taskOf(key, chars) {
  const run = runOf(key);
  if (!run) return breakable(shortEnd(key, chars));
  return ["tests of ", link("runs", { run }, short(run, 40))];
}

export function utilOf(load) {
  const known = load.gpus.map((one) => one.util).filter((one) => one !== null);
  return known.length ? known.reduce((all, one) => all + one, 0) / known.length : null;
}

export function heatOf(load) {
  const known = load.gpus.map((one) => one.temperature).filter((one) => one !== null);
  return known.length ? Math.max(...known) : null;
}

function listed(told) {
  return told.flatMap(([name, value]) => [el("dt", {}, short(name, 60)), el("dd", {}, short(value, 300))]);
}

function factWords(name, value) {
  if (Array.isArray(value)) return value.join(", ");
  const isSize = /memory|disk|\.free$|\.total$/.test(name) && typeof value === "number";
  return isSize ? bytes(value) : String(value);
}
