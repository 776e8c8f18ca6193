"use strict";
// Only the rows near the window are in the document, so that 10,000 cases cost as
// little as 50. Everything that comes from a test reaches the page as textContent.
(() => {
  const run = JSON.parse(document.getElementById("run").textContent);
  const { cases, outcomes } = run;
  const byId = (id) => document.getElementById(id);
  const list = byId("list"), search = byId("search"), sort = byId("sort");
  const chips = [...document.querySelectorAll(".chips button")];
  const severity = Object.fromEntries(run.urgency.map((name, at) => [name, at]));
  const narrow = matchMedia("(max-width: 640px)");
  const OVERSCAN = 12;

  const haystack = cases.map((c) => `${c.id} ${c.why} ${c.worker}`.toLowerCase());
  const open = new Set();      // indices into cases
  const heights = new Map();   // what an open row measured beyond a closed one
  let shown = [];              // indices into cases, filtered and sorted
  let drawn = "";              // what is in the document now
  let current = -1;            // position in shown that the keyboard is at

  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const above = make("li", "pad"), below = make("li", "pad");
  above.ariaHidden = below.ariaHidden = "true";
  list.append(above, below);
  const rowHeight = () => (narrow.matches ? 81 : 45);

  // ---- which rows, in which order
  const orders = {
    worst: (a, b) => severity[cases[a].outcome] - severity[cases[b].outcome]
      || cases[b].flaky - cases[a].flaky || a - b,
    slow: (a, b) => cases[b].s - cases[a].s || a - b,
    fast: (a, b) => cases[a].s - cases[b].s || a - b,
    name: (a, b) => (cases[a].id < cases[b].id ? -1 : 1),
    run: (a, b) => a - b,
  };
  function select() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = chips.filter((c) => c.getAttribute("aria-pressed") === "true")
      .map((c) => c.dataset.outcome);
    shown = [];
    for (let at = 0; at < cases.length; at++) {
      const { outcome, flaky } = cases[at];
      if (wanted.length && !wanted.includes(outcome)
          && !(flaky && wanted.includes("flaky"))) continue;
      if (words.every((word) => haystack[at].includes(word))) shown.push(at);
    }
    shown.sort(orders[sort.value]);
    current = -1;
    byId("none").hidden = shown.length > 0 || !cases.length;
    list.hidden = !shown.length;
    byId("shown").textContent = shown.length === cases.length
      ? `${cases.length.toLocaleString("en")} cases`
      : `${shown.length.toLocaleString("en")} of ${cases.length.toLocaleString("en")} cases`;
    draw(true);
  }

  // ---- where a row is
  const extra = (upTo) => {
    let sum = 0;
    if (open.size) for (let p = 0; p < upTo; p++) if (open.has(shown[p])) sum += heights.get(shown[p]) || 0;
    return sum;
  };
  function positionAt(y) {
    const height = rowHeight();
    if (!open.size) return Math.max(0, Math.floor(y / height));
    let top = 0;
    for (let p = 0; p < shown.length; p++) {
      top += height + (open.has(shown[p]) ? heights.get(shown[p]) || 0 : 0);
      if (top > y) return p;
    }
    return Math.max(0, shown.length - 1);
  }
  function draw(force) {
    const top = scrollY - (list.getBoundingClientRect().top + scrollY);
    const from = Math.max(0, positionAt(Math.max(0, top)) - OVERSCAN);
    const to = Math.min(shown.length, positionAt(Math.max(0, top + innerHeight)) + OVERSCAN + 1);
    const now = `${from}:${to}`;
    if (!force && now === drawn) return;
    drawn = now;
    above.style.height = `${from * rowHeight() + extra(from)}px`;
    below.style.height = `${(shown.length - to) * rowHeight() + extra(shown.length) - extra(to)}px`;
    // Rows that stay are not touched: one that left the document would lose the focus,
    // and a list that is empty for a moment would move the window.
    const kept = new Map();
    for (const li of [...list.children]) {
      if (li === above || li === below) continue;
      const p = Number(li.dataset.p);
      if (force || p < from || p >= to) li.remove(); else kept.set(p, li);
    }
    let next = above.nextSibling;
    for (let p = from; p < to; p++) {
      let li = kept.get(p);
      if (li) next = li.nextSibling;
      else {
        li = row(shown[p]);
        place(li, p);
        list.insertBefore(li, next);
        if (open.has(shown[p])) heights.set(shown[p], li.lastChild.offsetHeight);
      }
    }
    if (!list.querySelector('.case[tabindex="0"]') && from < to) above.nextSibling.firstChild.tabIndex = 0;
  }
  function place(li, p) {
    li.dataset.p = p;
    li.setAttribute("aria-posinset", p + 1);
    li.setAttribute("aria-setsize", shown.length);
    li.firstChild.tabIndex = p === current ? 0 : -1;
  }
  function focusRow(p) {
    const button = list.querySelector(`li[data-p="${p}"] > .case`);
    if (!button) return;
    // One stop for the Tab key in the whole list; the arrow keys move within it.
    for (const other of list.querySelectorAll('.case[tabindex="0"]')) other.tabIndex = -1;
    button.tabIndex = 0;
    button.focus({ preventScroll: true });
  }

  // ---- a row
  function row(at) {
    const c = cases[at], li = make("li", c.outcome), button = make("button", "case");
    li.dataset.at = at;
    button.type = "button";
    button.title = c.id;
    button.setAttribute("aria-expanded", open.has(at));
    const word = make("span", "word");
    word.append(glyph(outcomes[c.outcome].glyph), ` ${c.outcome}`);
    const name = make("span", "name"), cut = c.id.indexOf("::");
    if (cut > 0) name.append(make("span", "path", c.id.slice(0, cut + 2)));
    name.append(make("span", "test", cut > 0 ? c.id.slice(cut + 2) : c.id));
    const tags = make("span", "tags");
    if (c.flaky) {
      const tag = make("span", "tag flaky", `${outcomes.flaky.glyph} flaky`);
      tags.append(tag);
    } else if (c.detail) tags.append(make("span", "tag plain", c.detail));
    button.append(word, name, tags, make("span", "time", c.time));
    li.append(button);
    if (open.has(at)) { li.classList.add("open"); li.append(body(c)); }
    return li;
  }
  function glyph(text) {
    const node = make("span", "glyph", text);
    node.ariaHidden = "true";
    return node;
  }
  function body(c) {
    const node = make("div", "body");
    node.append(make("div", "id name", c.id));
    const several = c.attempts.length > 1;
    [...c.attempts].reverse().forEach((a) => {
      const part = make("section", a.outcome);
      if (several) {
        const head = make("h3", "", `Attempt ${a.n} `);
        const word = make("span", "tag");
        word.textContent = `${outcomes[a.outcome].glyph} ${a.outcome}`;
        head.append(word);
        part.append(head);
      }
      if (a.why) part.append(make("div", "why name", a.why));
      part.append(facts(a.facts));
      text(part, "Traceback", a.traceback, true);
      text(part, "Standard output", a.stdout, !good(a));
      text(part, "Standard error", a.stderr, !good(a));
      text(part, "Log", a.log, false);
      if (a.properties.length) {
        const more = fold("Properties", `${a.properties.length}`, true);
        more.append(table(a.properties));
        part.append(more);
      }
      if (a.artifacts.length) part.append(artifacts(a.artifacts));
      node.append(part);
    });
    node.addEventListener("toggle", () => measure(node), true);
    return node;
  }
  const good = (a) => a.outcome === "passed" || a.outcome === "skipped";
  function measure(node) {
    const at = Number(node.parentNode && node.parentNode.dataset.at);
    if (!Number.isNaN(at)) heights.set(at, node.offsetHeight);
  }
  function fold(title, note, isOpen) {
    const node = make("details"), head = make("summary", "", `${title} `);
    head.append(make("small", "", note));
    node.append(head);
    node.open = isOpen;
    return node;
  }
  function text(part, title, value, isOpen) {
    if (!value) return;
    const lines = value.split("\n");
    const count = lines.length - (lines[lines.length - 1] === "" ? 1 : 0);
    const node = fold(title, `${count} ${count === 1 ? "line" : "lines"}`, isOpen);
    const pre = make("pre");
    pre.tabIndex = 0; // so that the keyboard can scroll it
    pre.setAttribute("aria-label", title);
    if (title === "Traceback") {
      lines.forEach((line, at) => {
        pre.append(make("span", /^(E |>)/.test(line) ? "e" : "", line), at < lines.length - 1 ? "\n" : "");
      });
    } else pre.textContent = value;
    node.append(pre);
    part.append(node);
  }
  function table(pairs) {
    const node = make("table");
    for (const [name, value] of pairs) {
      const tr = make("tr"), th = make("th", "", name);
      th.scope = "row";
      tr.append(th, make("td", "", value));
      node.append(tr);
    }
    return node;
  }
  function facts(pairs) {
    const node = make("dl", "facts");
    for (const [name, value] of pairs) {
      const pair = make("div");
      pair.append(make("dt", "", name), make("dd", "", value));
      node.append(pair);
    }
    return node;
  }
  function artifacts(found) {
    const node = fold("Artifacts", `${found.length}`, true), rows = make("table");
    for (const { name, size, href, digest } of found) {
      const tr = make("tr"), td = make("td");
      if (href) { const a = make("a", "", name); a.href = href; a.rel = "noreferrer"; td.append(a); }
      else td.append(name);
      const sum = make("td", "", `sha256 ${digest.slice(0, 12)}`);
      sum.title = digest;
      tr.append(td, make("td", "", size), sum);
      rows.append(tr);
    }
    node.append(rows);
    return node;
  }

  // ---- what the reader does
  function toggle(li) {
    const at = Number(li.dataset.at);
    if (open.delete(at)) heights.delete(at); else open.add(at);
    const fresh = row(at), hadFocus = li.contains(document.activeElement);
    current = Number(li.dataset.p);
    place(fresh, current);
    li.replaceWith(fresh);
    if (hadFocus) fresh.firstChild.focus({ preventScroll: true });
    if (open.has(at)) heights.set(at, fresh.lastChild.offsetHeight);
    const hash = open.has(at) ? `#case=${encodeURIComponent(cases[at].id)}` : "#";
    try { history.replaceState(null, "", hash); } catch { /* some viewers forbid it */ }
    draw(false);
  }
  function go(p) {
    current = Math.min(shown.length - 1, Math.max(0, p));
    const y = list.getBoundingClientRect().top + scrollY + current * rowHeight() + extra(current);
    const head = document.querySelector(".tools").offsetHeight;
    if (y < scrollY + head) scrollTo(0, y - head);
    else if (y + rowHeight() > scrollY + innerHeight) scrollTo(0, y + rowHeight() - innerHeight);
    draw(false);
    focusRow(current);
  }
  list.addEventListener("click", (event) => {
    const button = event.target.closest(".case");
    if (button) toggle(button.parentNode);
  });
  list.addEventListener("focusin", (event) => {
    if (event.target.matches(".case")) current = Number(event.target.parentNode.dataset.p);
  });
  list.addEventListener("keydown", (event) => {
    if (!event.target.matches(".case")) return;
    const page = Math.max(1, Math.floor(innerHeight / rowHeight()) - 4);
    const to = { ArrowDown: current + 1, ArrowUp: current - 1, Home: 0, End: shown.length - 1,
      PageDown: current + page, PageUp: current - page }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(to);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" && document.activeElement !== search) { event.preventDefault(); search.focus(); search.select(); }
    if (event.key === "Escape" && document.activeElement === search) { search.value = ""; select(); }
    if (event.key === "ArrowDown" && document.activeElement === search && shown.length) { event.preventDefault(); go(0); }
  });
  let timer = 0;
  search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(select, 60); });
  sort.addEventListener("change", select);
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", chip.getAttribute("aria-pressed") !== "true");
      select();
    });
  }
  byId("clear").addEventListener("click", () => {
    search.value = "";
    for (const chip of chips) chip.setAttribute("aria-pressed", "false");
    select();
    search.focus();
  });
  let frame = 0;
  const later = () => { frame = frame || requestAnimationFrame(() => { frame = 0; draw(false); }); };
  addEventListener("scroll", later, { passive: true });
  addEventListener("resize", () => { drawn = ""; later(); });

  // A link to one case, as a CI message carries it.
  const wanted = /^#case=(.*)$/.exec(location.hash);
  let start = -1;
  if (wanted) {
    try { start = cases.findIndex((c) => c.id === decodeURIComponent(wanted[1])); } catch { /* no such case */ }
  }
  if (start >= 0) open.add(start);
  select();
  if (start >= 0) go(shown.indexOf(start));
})();
