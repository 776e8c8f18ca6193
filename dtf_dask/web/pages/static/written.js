// What a test that runs now has written so far: it stays where it stands as it grows, so
// that it can be read, and its end is in sight as long as it was.

import { el, setText } from "./dom.js";
import { duration, short } from "./format.js";

const TEXTS = ["stdout", "stderr"];

export class Written {
  constructor() {
    this.parts = new Map();
    this.element = el("div");
  }

  // `items` are those of the API, one for each place where it runs.
  update(items) {
    const told = new Map(items.map((one) => [one.worker, one]));
    for (const [worker, part] of this.parts) {
      if (told.has(worker)) continue;
      part.element.remove();
      this.parts.delete(worker);
    }
    for (const [worker, one] of told) this.#part(worker).show(one);
  }

  #part(worker) {
    if (!this.parts.has(worker)) {
      const part = new Part();
      this.parts.set(worker, part);
      this.element.append(part.element);
    }
    return this.parts.get(worker);
  }
}

class Part {
  constructor() {
    this.head = el("h3");
    this.texts = TEXTS.map((name) => [name, el("pre", { tabindex: "0", "aria-label": `${name} so far` })]);
    this.nothing = el("p", { class: "note" }, "It has written nothing yet.");
    this.element = el("div", {}, this.head, this.nothing, this.texts.map(([, text]) => text));
  }

  show(one) {
    setText(this.head, `Runs now on ${short(one.worker, 60)}, for ${duration(Math.floor(one.for_s))}`);
    for (const [name, text] of this.texts) {
      const atEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 4;
      text.hidden = !one[name];
      setText(text, one[name]);
      if (atEnd) text.scrollTop = text.scrollHeight;
    }
    this.nothing.hidden = TEXTS.some((name) => one[name]);
  }
}
