// What somebody has done from a page: he is asked first if it destroys, it is done once,
// and what came of it stands where it was asked for.

import { el, setChildren } from "./dom.js";
import { moment, short } from "./format.js";
import { act, NoAnswer, newId } from "./live.js";
import { mark } from "./outcomes.js";
import { Table } from "./table.js";

const SHOWN_MAX = 3;
const PATIENCE_MS = 30000;
const AGAIN_MS = 500;

export const WORDS = {
  cancel: "Cancel tasks",
  rerun: "Try tasks again",
  "stop-run": "Stop a run",
  "retire-worker": "Retire a worker",
  quarantine: "Quarantine a worker",
  release: "Release a worker",
  reprioritize: "Change urgency",
  "transfer-leadership": "Hand over leadership",
};

// What was asked on the page that is shown, and may not be answered when its node dies.
export const underWay = new Set();

export class Acts {
  constructor() {
    this.asked = [];
    this.element = el("div", { class: "outcomes", role: "status" });
  }

  // A button that has something done.
  //
  // `about` is with what, where that is not plain; `fields()` is what is said for the
  // action, null for nothing yet; `dialog(fields)`, for what destroys, is {title, words,
  // yes, reason}: asked before.
  button(words, { action, fields, dialog = null, about = "" }) {
    const name = about ? `${words} (${about})` : words;
    const press = async () => {
      let said = fields();
      if (said === null) return;
      if (dialog) {
        const answer = await confirmed(dialog(said));
        if (answer === null) return;
        if (answer.reason) said = { ...said, reason: answer.reason };
      }
      await this.#have(action, said, name);
    };
    const attributes = { type: "button", class: dialog ? "danger" : null, onclick: press };
    if (about) attributes["aria-label"] = name;
    return el("button", attributes, dialog ? `${words}…` : words);
  }

  async #have(action, fields, words) {
    const one = { id: newId(), action, fields, words, line: el("p", { class: "outcome" }) };
    this.asked = [one, ...this.asked].slice(0, SHOWN_MAX);
    setChildren(this.element, this.asked.map(({ line }) => line));
    await this.#ask(one);
  }

  // Asked again with its id while nobody answers: so it is done once.
  async #ask(one) {
    underWay.add(one.id);
    say(one, "running", "asked for …");
    const ends = performance.now() + PATIENCE_MS;
    for (let times = 1; ; times += 1) {
      try {
        this.#told(one, await act(one.action, one.fields, one.id));
        break;
      } catch (error) {
        if (!(error instanceof NoAnswer)) {
          say(one, "failed", error.message);
          break;
        }
        if (performance.now() > ends) {
          const again = el("button", { type: "button", onclick: () => this.#ask(one) }, "Ask again");
          say(one, "lost", `${error.message}. It is done once, however often it is asked for. `, again);
          break;
        }
        if (times === 1) say(one, "running", `${short(error.message, 200)}: it is asked again …`);
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
    }
    underWay.delete(one.id);
  }

  #told(one, record) {
    one.state = record.state;
    const by = ` (asked for by ${short(record.by, 80)})`;
    if (record.state === "begun") say(one, "running", `it is being done${by}`);
    else say(one, markOfState(record.state), `${short(record.result, 400)}${by}`);
  }

  // What took longer is told by its record.
  update(live) {
    for (const one of this.asked) {
      const record = live.mirror.get(`action/${one.id}`);
      if (one.state === "begun" && record && record.state !== "begun") this.#told(one, record);
    }
  }
}

function say(one, kind, words, ...more) {
  setChildren(one.line, mark(kind, `${one.words}: `), words, ...more);
}

export function markOfState(state) {
  return { begun: "running", done: "passed", refused: "failed" }[state] ?? "lost";
}

// Asked in a dialog: null, or {reason} if it is to be done.
function confirmed({ title, words, yes, reason = "" }) {
  return new Promise((resolve) => {
    const why = reason ? el("input", { type: "text", maxlength: "500" }) : null;
    const close = () => dialog.close();
    const done = (event) => {
      event.preventDefault();
      dialog.close("yes");
    };
    const dialog = el(
      "dialog",
      { "aria-labelledby": "dialog-title", "aria-describedby": "dialog-words" },
      el(
        "form",
        { onsubmit: done },
        el("h2", { id: "dialog-title" }, title),
        el("p", { id: "dialog-words" }, words),
        why && el("label", {}, reason, why),
        el(
          "div",
          { class: "choice" },
          el("button", { type: "button", autofocus: true, onclick: close }, "No, leave it"),
          el("button", { type: "submit", class: "danger" }, yes),
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? { reason: why?.value.trim() ?? "" } : null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// What was asked for lately, the newest first; `of` says whether it is of interest.
export class Asked {
  constructor({ of = () => true, limit = 10, empty = "Nothing was asked for lately." } = {}) {
    this.of = of;
    this.table = new Table("Asked for lately", ASKED, { key: (row) => row.id, empty, limit });
    this.element = this.table.element;
  }

  update(live) {
    const rows = live.mirror.rows("action").filter(this.of);
    rows.sort((one, other) => other.at - one.at);
    this.table.update(rows.slice(0, this.table.limit));
  }
}

const ASKED = [
  { name: "When", kind: "name", of: (row) => moment(row.at) },
  { name: "What", of: (row) => WORDS[row.action] ?? short(row.action, 40) },
  { name: "Of", kind: "wide", of: (row) => short(row.subject, 120) },
  { name: "Asked by", of: (row) => short(row.by, 80) },
  { name: "Outcome", kind: "wide", of: (row) => el("span", {}, mark(markOfState(row.state), row.result ? `${row.state}:` : row.state), row.result ? ` ${short(row.result, 200)}` : "") },
];
