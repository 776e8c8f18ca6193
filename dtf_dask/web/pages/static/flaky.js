// Tests that sometimes fail, and tests that take long, on which hardware.

import { breakable, card, el, link, meter, setText } from "./dom.js";
import { count, duration, moment, percent, short, shortEnd } from "./format.js";
import { api, Poll } from "./live.js";
import { SuiteChoice } from "./suite_choice.js";
import { Table } from "./table.js";

export function mount(root, page) {
  return new Flaky(root, page);
}

class Flaky {
  constructor(root, { query }) {
    this.failure = el("p", { class: "note", role: "status" });
    this.flaky = new Table("Flaky", FLAKY, { key: (row) => row.case_id, empty: "No case passed and failed on the same code in the last 20 runs." });
    this.slowest = new Table("Slowest", SLOWEST, { key: (row) => row.case_id, empty: "No case has passed yet." });
    this.choice = new SuiteChoice("flaky", query, () => this.poll.now());
    root.append(
      this.choice.element,
      this.failure,
      card("Flaky in the last 20 runs", this.flaky.element),
      card("Slowest in the last 20 runs", this.slowest.element),
    );
    this.poll = new Poll(
      (current) => this.#read(current),
      () => 15000,
      (error) => setText(this.failure, `It cannot be read: ${error.message}`),
    );
  }

  async #read(current) {
    const { suite } = this.choice;
    if (!suite) return;
    const query = { suite, runs: 20 };
    const [flaky, slowest] = await Promise.all([
      api("/flaky", query),
      api("/slowest", { ...query, limit: 25 }),
    ]);
    if (!current()) return;
    setText(this.failure, "");
    this.flaky.update(flaky.items.map((one) => ({ ...one, suite })));
    this.slowest.update(slowest.items.map((one) => ({ ...one, suite })));
  }

  update() {}

  close() {
    this.poll.close();
    this.choice.close();
  }
}

const caseLink = (row) => link("trends", { suite: row.suite, case: row.case_id }, breakable(shortEnd(row.case_id, 80)));
const share = (row) => row.failed / Math.max(1, row.failed + row.passed);
const FLAKY = [
  { name: "Case", kind: "case", of: caseLink },
  { name: "Failed", of: (row) => meter(share(row), `${count(row.failed)} of ${count(row.failed + row.passed)} (${percent(share(row))})`, "much") },
  { name: "Runs", kind: "number", of: (row) => count(row.runs) },
  { name: "Last", kind: "name", of: (row) => moment(row.last_seen_at) },
  { name: "By hardware", kind: "wide", of: (row) => byKind(row.groups, (one) => `${count(one.failed)} of ${count(one.failed + one.passed)} failed`) },
];
const SLOWEST = [
  { name: "Case", kind: "case", of: caseLink },
  { name: "Mean", kind: "number", of: (row) => duration(row.mean_s) },
  { name: "Longest", kind: "number", of: (row) => duration(row.max_s) },
  { name: "Passed", kind: "number", of: (row) => count(row.passed) },
  { name: "By hardware", kind: "wide", of: (row) => byKind(row.groups, (one) => (one.mean_s === null ? "never passed" : duration(one.mean_s))) },
];

function byKind(groups, words) {
  const rows = groups.map((one) => el("li", {}, `${short(one.kind, 120) || "workers that are gone"}: ${words(one)}`));
  return el("ul", { class: "plainlist" }, rows);
}
