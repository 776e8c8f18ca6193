// One run: what each case came to, in it and before; down to what an attempt wrote.

import { Acts } from "./acts.js";
import { again } from "./again.js";
import { CaseView } from "./case.js";
import { breakable, card, el, link, setChildren, setText } from "./dom.js";
import { count, duration, moment, NOTHING, short, shortEnd } from "./format.js";
import { api, Poll } from "./live.js";
import { countsOf, mark, square } from "./outcomes.js";
import { leftOf } from "./overview.js";
import { Table } from "./table.js";
import { Timeline } from "./timeline.js";

const PAGE = 100;
const CHOICES = ["all", "failed", "error", "timeout", "lost", "flaky", "passed", "skipped"];
const SORTS = [
  ["order", "in the order of the plan"],
  ["-duration_s", "the slowest first"],
  ["-attempts", "most attempts first"],
  ["case_id", "by name"],
];
const ROWS_MAX = 30;
const AGAIN = [
  { words: "what failed", options: ["--failed"] },
  { words: "all of it", options: [] },
];

export class OneRun {
  constructor(root, { query }) {
    this.run = query.run;
    this.asked = { outcome: query.outcome ?? "", q: "", sort: "order", limit: PAGE, offset: 0 };
    this.head = el("div");
    this.again = el("div");
    this.acts = new Acts();
    this.stop = this.acts.button("Stop", {
      action: "stop-run",
      fields: () => ({ run: this.run }),
      dialog: () => ({
        title: `Stop run ${short(this.run, 60)}?`,
        words: "What runs is killed, and nothing more begins, as by Ctrl-C where it was started. What has ended is kept; dtf resume runs the rest.",
        yes: "Stop it",
      }),
    });
    this.stop.hidden = true;
    this.failure = el("p", { class: "note", role: "status" });
    this.timeline = new Timeline("Which worker ran what");
    this.grid = new Table("Cases, with what they came to in earlier runs", this.#columns(), {
      key: (row) => row.case_id,
      empty: "No case fits.",
      limit: PAGE,
    });
    this.pages = el("div", { class: "choice" });
    this.case = query.case ? new CaseView(query) : null;
    root.append(
      el("p", {}, link("runs", {}, "← All runs")),
      card(`Run ${short(this.run, 60)}`, this.head, this.failure, el("div", { class: "choice" }, this.stop), this.acts.element, this.again),
      ...(this.case ? [this.case.element] : []),
      card("Timeline", this.timeline.element),
      card("Cases", this.#filters(), this.grid.element, this.pages),
    );
    this.poll = new Poll(
      (current) => this.#read(current),
      () => (this.kept && this.kept.status !== "running" ? 15000 : 2000),
      (error) => setText(this.failure, `It cannot be read: ${error.message}`),
    );
  }

  #columns() {
    return [
      { name: "Case", kind: "case", of: (row) => link("runs", { run: this.run, case: row.case_id }, breakable(shortEnd(row.case_id, 90))) },
      { name: "Outcome", of: (row) => mark(row.flaky ? "flaky" : row.outcome) },
      { name: "Took", kind: "number", of: (row) => duration(row.duration_s) },
      { name: "Attempts", kind: "number", of: (row) => count(row.attempts) },
      { name: "Earlier runs, this one last", of: (row) => this.#past(row) },
    ];
  }

  #past(row) {
    const found = row.past.map((one, at) => {
      const when = moment(this.runs[at].started_at);
      if (!one) return el("span", { class: "square none", role: "img", "aria-label": `${when}: not run`, title: `${when}: not run` });
      const word = one.flaky ? "flaky" : one.outcome;
      return square(word, `${when}: ${word}, ${duration(one.duration_s)}`);
    });
    return el("span", { class: "squares" }, found);
  }

  #filters() {
    const ask = (changes) => {
      this.asked = { ...this.asked, offset: 0, ...changes };
      this.poll.now();
    };
    const choices = CHOICES.map((one) => {
      const outcome = one === "all" ? "" : one;
      const choose = (event) => {
        for (const each of event.currentTarget.parentNode.children) each.setAttribute("aria-pressed", String(each === event.currentTarget));
        ask({ outcome });
      };
      return el("button", { type: "button", "aria-pressed": String(this.asked.outcome === outcome), onclick: choose }, one);
    });
    const find = el("input", { type: "search", placeholder: "part of a name", oninput: () => ask({ q: find.value }) });
    const sort = el("select", { onchange: () => ask({ sort: sort.value }) }, SORTS.map(([value, words]) => el("option", { value }, words)));
    this.ask = ask;
    return el(
      "div",
      { class: "bar-above" },
      el("div", { class: "choice", role: "group", "aria-label": "Outcome" }, choices),
      el("label", {}, "Find ", find),
      el("label", {}, "Sort ", sort),
    );
  }

  async #read(current) {
    const path = `/runs/${encodeURIComponent(this.run)}`;
    const [run, grid, timeline] = await Promise.all([
      api(path),
      api(`${path}/grid`, this.asked),
      api("/timeline", { run: this.run, start: 1, limit: 3000 }),
    ]);
    if (!current()) return;
    setText(this.failure, "");
    if (!this.kept) setChildren(this.again, again(run, AGAIN));
    this.kept = run;
    this.runs = grid.runs;
    this.grid.update(grid.items);
    this.#pages(grid);
    this.#timeline(timeline.items);
    if (this.live) this.update(this.live);
  }

  #pages({ total, offset, limit }) {
    const step = (words, to) => el("button", { type: "button", onclick: () => this.ask({ offset: to }) }, words);
    const here = total ? `${count(offset + 1)} to ${count(Math.min(total, offset + limit))} of ${count(total)} ` : "";
    const said = `${total} ${offset}`;
    if (said === this.pagesSaid) return;
    this.pagesSaid = said;
    setChildren(
      this.pages,
      el("span", { class: "note" }, here),
      offset ? step("Earlier ones", Math.max(0, offset - limit)) : null,
      offset + limit < total ? step("Next ones", offset + limit) : null,
    );
  }

  #timeline(items) {
    if (!items.length) {
      this.timeline.update([], [], this.kept.started_at, this.kept.started_at + 1);
      return;
    }
    const names = [...new Set(items.map((one) => one.where))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    const bars = items.map((one) => ({ row: one.where, start: one.started_at, end: one.started_at + one.duration_s, kind: one.outcome, words: one.case_id }));
    const start = Math.min(...bars.map((one) => one.start));
    const end = Math.max(...bars.map((one) => one.end));
    this.timeline.update(names.slice(0, ROWS_MAX), bars, start, Math.max(end, start + 0.1));
  }

  update(live) {
    this.live = live;
    this.acts.update(live);
    this.case?.update(live);
    const seen = live.mirror.rows("run").find((one) => one.run === this.run);
    const run = this.kept?.status === "running" && seen ? { ...this.kept, ...seen } : (this.kept ?? seen);
    if (!run) return;
    this.stop.hidden = run.status !== "running";
    const took = (run.finished_at ?? live.now) - run.started_at;
    const goes = run.status === "running";
    const left = goes ? leftOf(run, live.now) : NOTHING;
    const words = `${moment(run.started_at)}, took ${duration(took)}${goes ? " so far" : ""}${left === NOTHING ? "" : `, about ${left} left`}`;
    const said = JSON.stringify([run.status, run.counts, run.planned]);
    if (said !== this.said) {
      this.said = said;
      this.when = el("span");
      const command = (run.command ?? []).join(" ");
      setChildren(
        this.head,
        el("p", {}, mark(run.status), " ", el("strong", {}, short(run.suite, 80)), " ", this.when),
        el("p", {}, countsOf(run.counts, run.planned)),
        command ? el("p", { class: "note" }, short(command, 300)) : null,
      );
    }
    setText(this.when, words);
  }

  close() {
    this.poll.close();
    this.timeline.close();
    this.case?.close();
  }
}
