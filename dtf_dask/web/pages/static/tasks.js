// Tasks that somebody names: cancelled, tried again, made more or less urgent.

import { Acts, Asked } from "./acts.js";
import { card, el, setChildren } from "./dom.js";
import { counted, shortEnd } from "./format.js";

const ABOUT_TASKS = new Set(["cancel", "rerun", "reprioritize"]);

export class TasksByKey {
  // `key` is one that was chosen elsewhere.
  constructor(key = "") {
    this.acts = new Acts();
    this.asked = new Asked({ of: (one) => ABOUT_TASKS.has(one.action) });
    this.keys = el("textarea", { rows: "2", spellcheck: "false", autocomplete: "off", placeholder: "one a line" });
    this.keys.value = key;
    this.classes = el("select");
    this.priority = el("input", { type: "number", step: "any" });
    this.deadline = el("input", { type: "text", placeholder: "10 min, or a time" });
    const cancel = this.acts.button("Cancel", {
      action: "cancel",
      fields: () => this.#fields(),
      dialog: ({ keys }) => ({
        title: `Cancel ${counted(keys.length, "task")}?`,
        words: `${shortEnd(keys[0], 200)}${keys.length > 1 ? ` and ${keys.length - 1} more` : ""}, and whatever needs them, whoever wants it. What they have done so far is lost.`,
        reason: "Why, for those who wait for them",
        yes: "Cancel them",
      }),
    });
    const again = this.acts.button("Try again", { action: "rerun", fields: () => this.#fields() });
    const urgency = this.acts.button("Change urgency", { action: "reprioritize", fields: () => this.#urgency() });
    this.element = card(
      "Tasks by key",
      el("p", { class: "note" }, "As dtf explain and the tables above have them. Those that failed are tried again; what waits is made more or less urgent."),
      el("label", { class: "above" }, "Keys", this.keys),
      el("div", { class: "bar-above" }, el("span", { class: "choice" }, cancel, again)),
      el(
        "div",
        { class: "bar-above" },
        el("label", {}, "Class ", this.classes),
        el("label", {}, "Priority ", this.priority),
        el("label", {}, "Deadline ", this.deadline),
        urgency,
      ),
      this.acts.element,
      this.asked.element,
    );
  }

  #fields() {
    const keys = this.keys.value.split("\n").filter((one) => one.trim());
    if (keys.length) return { keys };
    this.keys.focus();
    return null;
  }

  #urgency() {
    const said = this.#fields();
    if (said && this.classes.value) said.priority_class = this.classes.value;
    if (said && this.priority.value) said.priority = Number(this.priority.value);
    if (said && this.deadline.value.trim()) said.deadline = this.deadline.value.trim();
    return said;
  }

  update(live) {
    this.acts.update(live);
    this.asked.update(live);
    const names = live.mirror.rows("class").map((one) => one.name);
    if (names.join("\n") === this.names) return;
    this.names = names.join("\n");
    const chosen = this.classes.value;
    const option = (name) => el("option", { value: name, selected: name === chosen }, name ? shortEnd(name, 40) : "as it is");
    setChildren(this.classes, ["", ...names].map(option));
  }
}
