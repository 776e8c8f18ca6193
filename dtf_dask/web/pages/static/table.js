// A table whose rows change where they stand.
//
// Columns are {name, of(row) -> text or element, kind: "number" or "", wide}.

import { el, setChildren } from "./dom.js";
import { NOTHING } from "./format.js";

export class Table {
  constructor(caption, columns, { key, empty = "nothing", limit = 200 }) {
    this.columns = columns;
    this.key = key;
    this.empty = empty;
    this.limit = limit;
    this.shown = new Map();
    this.body = el("tbody", { role: "rowgroup" });
    const heads = columns.map((one) =>
      el("th", { scope: "col", role: "columnheader", class: one.kind ?? "" }, one.name),
    );
    // The roles are said since narrow windows show each row as a list.
    this.table = el(
      "table",
      { role: "table" },
      el("caption", { class: "unseen" }, caption),
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads)),
      this.body,
    );
    this.table.hidden = true; // until it is known what is in it
    this.note = el("p", { class: "note" }, "…");
    const box = { class: "scroll", tabindex: "0", role: "region", "aria-label": `Table: ${caption}` };
    this.element = el("div", {}, el("div", box, this.table), this.note);
  }

  update(rows) {
    const seen = new Set();
    const made = [];
    for (const row of rows.slice(0, this.limit)) {
      const key = String(this.key(row));
      if (seen.has(key)) continue;
      seen.add(key);
      let line = this.shown.get(key);
      if (!line) {
        const cells = this.columns.map(({ name, kind }, at) => {
          const [tag, role] = at ? ["td", "cell"] : ["th", "rowheader"];
          return el(tag, { role, class: kind ?? "", "data-name": name });
        });
        line = { cells, was: [], element: el("tr", { role: "row" }, cells) };
        this.shown.set(key, line);
      }
      this.columns.forEach((one, at) => this.#cell(line, at, one.of(row)));
      made.push(line.element);
    }
    for (const [key, line] of this.shown) {
      if (seen.has(key)) continue;
      line.element.remove();
      this.shown.delete(key);
    }
    made.forEach((line, at) => {
      if (this.body.children[at] !== line) {
        this.body.insertBefore(line, this.body.children[at] ?? null);
      }
    });
    this.table.hidden = made.length === 0;
    const more = rows.length - this.limit;
    const words = more > 0 ? `and ${more.toLocaleString("en")} more` : "";
    this.note.textContent = made.length ? words : this.empty;
  }

  // An element is put in place of one only if it looks different.
  #cell(line, at, value) {
    const is = value instanceof Element ? value.outerHTML : String(value ?? "");
    if (line.was[at] === is) return;
    line.was[at] = is;
    line.cells[at].toggleAttribute("data-nothing", is === NOTHING);
    if (value instanceof Element) setChildren(line.cells[at], value);
    else line.cells[at].textContent = is;
  }
}
