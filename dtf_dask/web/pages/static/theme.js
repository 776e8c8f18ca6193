// Light or dark: as the system says, until somebody chooses.

const KEPT = "dtf-theme";
const ORDER = ["auto", "light", "dark"];
const dark = matchMedia("(prefers-color-scheme: dark)");
const told = new Set();

export function chosen() {
  try {
    const kept = localStorage.getItem(KEPT);
    return ORDER.includes(kept) ? kept : "auto";
  } catch {
    return "auto";
  }
}

export function choose(word) {
  const theme = ORDER.includes(word) ? word : "auto";
  try {
    localStorage.setItem(KEPT, theme);
  } catch {
    // Without a place to keep it, it holds for this page.
  }
  apply(theme);
}

export function next() {
  choose(ORDER[(ORDER.indexOf(chosen()) + 1) % ORDER.length]);
}

export function apply(word = chosen()) {
  const isDark = word === "dark" || (word === "auto" && dark.matches);
  const { dataset } = document.documentElement;
  const theme = isDark ? "dark" : "light";
  if (dataset.theme === theme) return;
  dataset.theme = theme;
  for (const one of told) one();
}

// Called after the colours have changed, until the function it gives is called.
export function onTheme(call) {
  told.add(call);
  return () => told.delete(call);
}

// A colour of style.css, as of now.
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

dark.addEventListener("change", () => apply());
