// Elements made of values. Whatever comes from a cluster becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";

// el("td", {class: "number", onclick: f, "aria-label": "x"}, "text", child, null)
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  return fill(made, attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(made.style, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((one) => one !== null && one !== undefined));
  return made;
}

// Set only what differs: what stands still can be selected and read out.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setChildren(element, ...children) {
  element.replaceChildren(...children.flat().filter((one) => one != null));
}

export function card(title, ...children) {
  const id = `card-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  const attributes = { class: "card", "aria-labelledby": id };
  return el("section", attributes, el("h2", { id }, title), ...children);
}

// A link within these pages: the query is {name: value}.
export function link(page, query, ...children) {
  return el("a", { href: address(page, query) }, ...children);
}

export function address(page, query = {}) {
  const words = new URLSearchParams(
    Object.entries(query).filter(([, value]) => value !== "" && value != null),
  ).toString();
  return `/dtf/${page}${words ? `?${words}` : ""}`;
}

// The name of a test or a task; where lines may end in it, rather than within a word.
export function breakable(name) {
  const [first, ...others] = name.split(/(?<=::|\/)|(?=\[)/);
  return [first, ...others.flatMap((part) => [el("wbr"), part])];
}

// A bar with its value in words.
export function meter(share, words, kind = "") {
  const part = Math.max(0, Math.min(1, share || 0));
  const bar = el("span", { class: `bar ${kind}`, style: { width: `${100 * part}%` } });
  return el(
    "span",
    { class: "meter" },
    el("span", { class: "track", "aria-hidden": "true" }, bar),
    el("span", { class: "words" }, words),
  );
}
