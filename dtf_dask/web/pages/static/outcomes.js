// How outcomes, statuses and levels look: a word and a glyph, and a colour with them.

import { el } from "./dom.js";
import { count } from "./format.js";

// Of each: the glyph, and the name of its colour in style.css.
export const MARKS = {
  passed: ["✓", "passed"],
  failed: ["✗", "failed"],
  error: ["!", "error"],
  timeout: ["T", "timeout"],
  skipped: ["–", "skipped"],
  lost: ["?", "lost"],
  flaky: ["~", "flaky"],
  running: ["▸", "running"],
  interrupted: ["‖", "skipped"],
  xfailed: ["x", "skipped"],
  xpassed: ["X", "timeout"],
  critical: ["!!", "failed"],
  warning: ["!", "timeout"],
  closed: ["✓", "passed"],
  open: ["✗", "failed"],
  "half-open": ["~", "timeout"],
  left: ["–", "skipped"],
  paused: ["‖", "timeout"],
};

export const OUTCOMES = ["passed", "failed", "error", "timeout", "skipped", "lost"];

export function markOf(word) {
  return MARKS[word] ?? ["·", "skipped"];
}

// "✓ passed"
export function mark(word, words = word) {
  const [glyph, colour] = markOf(word);
  return el(
    "span",
    { class: `mark ${colour}` },
    el("span", { "aria-hidden": "true", class: "glyph" }, glyph),
    ` ${words}`,
  );
}

// One square of a grid of outcomes.
export function square(word, words) {
  const [glyph, colour] = markOf(word);
  return el(
    "span",
    { class: `square ${colour}`, role: "img", "aria-label": words, title: words },
    glyph,
  );
}

// "780 ✓  12 ✗", with a bar of their shares.
export function countsOf(counts, planned = 0) {
  const found = OUTCOMES.filter((one) => counts[one]);
  const sum = found.reduce((all, one) => all + counts[one], 0);
  const whole = Math.max(planned, sum, 1);
  const parts = found.map((one) =>
    el("span", {
      class: `part ${markOf(one)[1]}`,
      style: { width: `${(100 * counts[one]) / whole}%` },
    }),
  );
  const words = found.map((one) => mark(one, `${count(counts[one])} ${one}`));
  return el(
    "span",
    { class: "counts" },
    el("span", { class: "track", "aria-hidden": "true" }, parts),
    el("span", { class: "words" }, words.length ? words : "none yet"),
  );
}
