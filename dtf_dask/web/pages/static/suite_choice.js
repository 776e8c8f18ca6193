// Which suite a page is about.

import { address, el, setChildren } from "./dom.js";
import { short } from "./format.js";
import { api } from "./live.js";

export class SuiteChoice {
  // `chosen` is called with the suite's name, once one is known.
  constructor(page, query, chosen) {
    this.page = page;
    this.suite = query.suite ?? "";
    this.select = el("select", {
      onchange: () => {
        this.suite = this.select.value;
        history.replaceState(null, "", address(page, { suite: this.suite }));
        chosen(this.suite);
      },
    });
    this.note = el("span", { class: "note", role: "status" });
    this.element = el("div", { class: "bar-above" }, el("label", {}, "Suite ", this.select), this.note);
    this.#read(chosen);
  }

  async #read(chosen) {
    try {
      const { items } = await api("/runs", { limit: 200 });
      if (this.gone) return;
      const names = [...new Set(items.map((one) => one.suite))];
      if (this.suite && !names.includes(this.suite)) names.unshift(this.suite);
      this.suite ||= names[0] ?? "";
      const option = (name) => el("option", { value: name, selected: name === this.suite }, short(name, 60) || "(no name)");
      setChildren(this.select, names.map(option));
      this.note.textContent = names.length ? "" : "No run has come to this node yet.";
      if (names.length) chosen(this.suite);
      else this.timer = setTimeout(() => this.#read(chosen), 3000);
    } catch (error) {
      this.note.textContent = `The suites cannot be read: ${error.message}`;
      if (!this.gone) this.timer = setTimeout(() => this.#read(chosen), 3000);
    }
  }

  close() {
    this.gone = true;
    clearTimeout(this.timer);
  }
}
