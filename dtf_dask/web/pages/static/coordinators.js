// Who leads, how far the others are behind, and what its failovers cost the tests.

import { Acts, Asked } from "./acts.js";
import { breakable, card, el, link, setChildren, setText } from "./dom.js";
import { clock, count, counted, duration, moment, short, shortEnd } from "./format.js";
import { api, Poll } from "./live.js";
import { mark } from "./outcomes.js";
import { Table } from "./table.js";
import { Timeline } from "./timeline.js";

const BEFORE_S = 30;
const AFTER_S = 60;
const ROWS_MAX = 24;

export function mount(root, page) {
  return new Coordinators(root, page);
}

class Coordinators {
  constructor(root, { query }) {
    this.term = query.term ?? "";
    this.attempts = [];
    this.summary = el("p", { role: "status" });
    this.acts = new Acts();
    this.asked = new Asked({ of: (one) => one.action === "transfer-leadership" });
    this.nodes = new Table("Coordinators", [...NODES, { name: "Action", of: (row) => this.#button(row) }], { key: (row) => row.node, empty: "There are none, or none has said anything yet." });
    this.failovers = new Table("Failovers", FAILOVERS, {
      key: (row) => row.term,
      empty: "Nobody has had to take over in the time that is kept.",
    });
    this.title = el("p", { class: "note" });
    this.timeline = new Timeline("Tests that ran while the leader changed");
    this.touched = new Table("Tests that ran over it", TOUCHED, {
      key: (row) => `${row.run} ${row.case_id} ${row.number} ${row.worker}`,
      empty: "No test is known here that ran while nobody led.",
    });
    root.append(
      card("Now", this.summary, this.nodes.element, this.acts.element),
      card("Elections and failovers", this.failovers.element),
      card("Laid over the tests", this.title, this.timeline.element, this.touched.element),
      card("Hand-overs that were asked for", this.asked.element),
    );
    this.poll = new Poll((current) => this.#read(current), () => 3000);
  }

  async #read(current) {
    if (!this.shown) return;
    const start = Math.floor(this.shown.at - this.shown.without_leader_s - BEFORE_S);
    const end = Math.ceil(this.shown.at + this.shown.settled_after_s + AFTER_S);
    const told = await api("/timeline", { start, end, limit: 3000 });
    if (!current()) return;
    this.attempts = told.items;
    this.update(this.live);
  }

  update(live) {
    this.live = live;
    this.acts.update(live);
    this.asked.update(live);
    this.#now(live.coordinators);
    const rows = live.mirror.rows("failover").sort((one, other) => other.term - one.term);
    this.failovers.update(rows.map((one) => ({ ...one, chosen: this.shown?.term === one.term })));
    const chosen = rows.find((one) => String(one.term) === this.term) ?? rows.find((one) => one.without_leader_s > 0) ?? rows[0];
    if (chosen?.term !== this.shown?.term) {
      this.shown = chosen;
      this.attempts = [];
      this.poll.now();
    }
    if (this.shown) this.#lay(this.shown, live);
    else setText(this.title, "When a leader dies, what ran meanwhile is shown here.");
  }

  #now(told) {
    if (!told) return;
    if (told.items.length === 0) {
      setText(this.summary, "This scheduler is alone: there are no coordinators, and nobody takes over when it ends.");
      return;
    }
    const leader = told.items.find((one) => one.node === told.leader);
    const here = told.items.find((one) => one.here);
    const who = leader ? `${short(leader.name, 30)} leads in term ${told.term}` : `Nobody leads (term ${told.term})`;
    const left = told.quorum_left;
    const more = left === null ? "" : left < 0 ? ", and there is no majority" : left === 0 ? ", and none may fail" : `, and ${left} may fail`;
    setText(this.summary, `${who}${more}. Read from ${here ? short(here.name, 30) : "this node"}, which has applied ${count(told.applied)} entries and was elected ${counted(told.elections, "time")} since it started.`);
    this.nodes.update(told.items.map((one) => ({ ...one, leads: one.node === told.leader })));
  }

  #button(row) {
    if (!row.votes || row.leads) return "";
    const named = short(row.name, 40);
    return this.acts.button("Make it lead", {
      action: "transfer-leadership",
      about: named,
      fields: () => ({ node: String(row.node) }),
      dialog: () => ({
        title: `Have ${named} lead?`,
        words: "The leader hands over, and its scheduler starts anew. For a second or so nothing is scheduled; tests that run go on, and nothing is run again.",
        yes: "Hand over",
      }),
    });
  }

  #lay(one, live) {
    const gap = { start: one.at - one.without_leader_s, end: one.at };
    const start = gap.start - BEFORE_S;
    const end = Math.min(one.at + one.settled_after_s + AFTER_S, Math.max(live.now, one.at + 1));
    setText(this.title, `Term ${one.term}, ${clock(one.at)}: nobody led for ${duration(one.without_leader_s)} (the band).`);
    const names = [...new Set(this.attempts.map((each) => each.where))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    const bars = this.attempts.map((each) => ({
      row: each.where,
      start: each.started_at,
      end: each.started_at + each.duration_s,
      kind: each.outcome,
      words: each.case_id,
    }));
    this.timeline.update(names.slice(0, ROWS_MAX), bars, start, end, [gap]);
    this.touched.update(touchedBy(this.attempts, gap));
  }

  close() {
    this.poll.close();
    this.timeline.close();
  }
}

const NODES = [
  { name: "Coordinator", of: (row) => `${short(row.name, 40)}${row.here ? " (this one)" : ""}` },
  { name: "Role", of: (row) => mark(row.leads ? "passed" : "skipped", row.leads ? "leader" : row.here ? row.role : row.votes ? "follower" : "learner") },
  { name: "Heard of", of: (row) => (row.heard_of === null ? "nobody can say" : row.heard_of ? mark("passed", "yes") : mark("failed", "no")) },
  { name: "Entries behind", kind: "number", of: (row) => (row.lag === null ? "–" : count(row.lag)) },
  { name: "Votes", of: (row) => (row.votes ? "yes" : "no") },
  { name: "Its scheduler", of: (row) => schedulerWords(row.scheduler) },
];
const FAILOVERS = [
  { name: "Term", of: (row) => link("coordinators", { term: row.term }, String(row.term)) },
  { name: "When", of: (row) => `${moment(row.at)}${row.chosen ? ", shown below" : ""}` },
  { name: "Leader", of: (row) => short(row.node, 40) },
  { name: "Without leader", kind: "number", of: (row) => duration(row.without_leader_s) },
  { name: "Led after", kind: "number", of: (row) => duration(row.leading_after_s) },
  { name: "All back after", kind: "number", of: (row) => duration(row.settled_after_s) },
  { name: "Tasks kept", kind: "number", of: (row) => count(row.tasks) },
  { name: "Workers", kind: "number", of: (row) => count(row.workers) },
  { name: "Not back", kind: "number", of: (row) => count(row.missing) },
];
const TOUCHED = [
  { name: "Test", kind: "case", of: (row) => link("runs", { run: row.run, case: row.case_id, number: row.number }, breakable(shortEnd(row.case_id, 80))) },
  { name: "Worker", of: (row) => short(row.where, 40) },
  { name: "Outcome", of: (row) => mark(row.outcome) },
  { name: "What it cost", of: (row) => row.cost },
];

function schedulerWords(told) {
  if (!told) return "–";
  const crashes = told.crashes ? `, ended ${counted(told.crashes, "time")}` : "";
  return `${told.role ?? "none"}${crashes}`;
}

// Attempts that ran while nobody led, and what that cost each. Pure.
export function touchedBy(attempts, gap) {
  const later = new Map();
  for (const one of attempts) {
    const name = `${one.run} ${one.case_id}`;
    later.set(name, Math.max(later.get(name) ?? 0, one.number));
  }
  return attempts
    .filter((one) => one.started_at <= gap.end && one.started_at + one.duration_s >= gap.start)
    .map((one) => {
      const again = later.get(`${one.run} ${one.case_id}`) > one.number;
      const cost = one.outcome === "lost" ? (again ? "lost, and run again" : "lost") : "nothing: it went on";
      return { ...one, cost };
    })
    .sort((one, other) => (one.outcome === "lost" ? 0 : 1) - (other.outcome === "lost" ? 0 : 1));
}
