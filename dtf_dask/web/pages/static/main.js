// The page around the pages: which is shown, how old all of it is, light or dark.

import "./bokeh_styles.js";
import { underWay } from "./acts.js";
import * as charts from "./charts.js";
import * as coordinators from "./coordinators.js";
import * as flaky from "./flaky.js";
import * as overview from "./overview.js";
import * as runs from "./runs.js";
import * as scheduling from "./scheduling.js";
import * as trends from "./trends.js";
import * as workers from "./workers.js";
import { el, link, setText } from "./dom.js";
import { duration, short } from "./format.js";
import { Live } from "./live.js";
import * as theme from "./theme.js";

const PAGES = {
  "": ["Overview", overview],
  runs: ["Runs", runs],
  workers: ["Workers", workers],
  scheduling: ["Scheduling", scheduling],
  flaky: ["Flaky and slow", flaky],
  coordinators: ["Coordinators", coordinators],
  trends: ["Trends", trends],
};
const DRAW_MS = 400;
const CHARTS_MS = 1500; // without data of the scheduler there may be other numbers

const root = document.getElementById("page");
const live = new Live(changed, go);
let shown = null;
let due = null;
let drawn = false;

theme.apply();
arrive();
show();
setInterval(changed, 500);
setTimeout(charts.load, CHARTS_MS);

document.addEventListener("click", (event) => {
  const found = event.target.closest?.("a[href^='/dtf/']");
  const plainClick = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  if (!found || !plainClick || event.button !== 0 || found.target) return;
  event.preventDefault();
  history.pushState(null, "", found.href);
  show({ focus: true });
});
addEventListener("popstate", () => show({ focus: true }));
document.getElementById("theme").addEventListener("click", () => {
  theme.next();
  header();
});

function show({ focus = false } = {}) {
  const path = location.pathname.replace(/^\/dtf\/?/, "").replace(/\/$/, "");
  const [title, page] = PAGES[path] ?? PAGES[""];
  shown?.close();
  root.replaceChildren(el("h1", { tabindex: "-1" }, title));
  document.title = `${title} · dtf`;
  for (const one of document.querySelectorAll("nav a")) {
    const here = one.getAttribute("href") === `/dtf/${path}`;
    if (here) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
    // (To scroll to it would have the tab key begin there.)
    if (here) one.parentNode.scrollLeft = one.offsetLeft - one.parentNode.clientWidth / 2;
  }
  const query = Object.fromEntries(new URLSearchParams(location.search));
  shown = page.mount(root, { query, live, title });
  draw();
  if (focus) {
    scrollTo(0, 0);
    root.querySelector("h1").focus({ preventScroll: true });
  }
}

function changed() {
  const isFirst = live.begun && !drawn;
  if (due !== null && !isFirst) return;
  clearTimeout(due);
  due = setTimeout(draw, isFirst ? 0 : DRAW_MS);
}

function draw() {
  due = null;
  header();
  if (document.hidden && drawn) return;
  shown?.update(live);
  if (live.begun && live.cluster && !drawn) {
    drawn = true;
    performance.mark("dtf-first-data");
    document.documentElement.dataset.begun = "";
    // What was drawn is painted first.
    setTimeout(charts.load, 0);
  }
}

function header() {
  const told = live.coordinators;
  const names = new Map((told?.items ?? []).map((one) => [one.node, one.name]));
  setText(document.getElementById("cluster"), told ? short(told.cluster, 30) : "");
  const alone = told?.items.length === 0;
  const leader = told && !alone ? (told.leader === null ? "nobody leads" : `${short(names.get(told.leader) ?? told.leader, 20)} leads`) : "";
  setText(document.getElementById("leader"), leader);
  const dask = document.getElementById("dask");
  const url = live.cluster?.dashboard ?? "";
  dask.hidden = !/^https?:\/\//.test(url);
  if (!dask.hidden) dask.setAttribute("href", url);
  const age = document.getElementById("age");
  setText(age, ageWords());
  const level = !live.open || live.age > 15 ? "bad" : live.age > 8 ? "old" : "good";
  if (age.dataset.level !== level) age.dataset.level = level;
  const button = document.getElementById("theme");
  setText(button, `Theme: ${theme.chosen()}`);
}

function ageWords() {
  if (!live.begun) return live.open ? "waiting for data" : "no answer yet";
  const seconds = Math.floor(live.age);
  const age = `${seconds < 100 ? `${seconds} s` : duration(seconds)} old`;
  return live.open ? age : `${age}: this node does not answer`;
}

// This node is gone: on with another, at the same place.
function go(url) {
  const words = new URLSearchParams({ from: location.host, theme: theme.chosen() });
  if (underWay.size) words.set("asked", "");
  location.replace(`${url}${location.pathname}${location.search}#${words}`);
}

function arrive() {
  const words = new URLSearchParams(location.hash.slice(1));
  const from = words.get("from");
  if (!from) return;
  history.replaceState(null, "", location.pathname + location.search);
  if (words.get("theme") !== "auto") theme.choose(words.get("theme"));
  const close = () => note.remove();
  const button = el("button", { type: "button", onclick: close }, "Dismiss");
  const said = `${short(from, 60)} does not answer: this is read from ${location.host} now. `;
  const asked = words.has("asked") ? [link("", {}, "What you asked for"), " may not have been done. "] : [];
  const note = el("p", { class: "moved", role: "status" }, said, asked, button);
  document.getElementById("notes").append(note);
}
