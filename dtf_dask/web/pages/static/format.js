// Numbers and times as people read them. Pure.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const FOUR_DIGITS = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
export const NOTHING = "–";

export function count(n) {
  return n === null || n === undefined ? NOTHING : WHOLE.format(n);
}

export function counted(n, word) {
  return `${count(n)} ${word}${n === 1 ? "" : "s"}`;
}

export function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return NOTHING;
  if (perSecond >= 100) return count(perSecond);
  return perSecond >= 10 ? perSecond.toFixed(0) : perSecond.toFixed(1);
}

// A number that nobody here knows the unit of.
export function figure(n) {
  return n === null || n === undefined ? NOTHING : FOUR_DIGITS.format(n);
}

export function percent(share) {
  return share === null || share === undefined
    ? NOTHING
    : `${Math.round(100 * share)} %`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NOTHING;
  if (seconds < 0) return `-${duration(-seconds)}`;
  if (seconds === 0) return "0 s";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.round(seconds / 3600);
  return hours < 48 ? `${hours} h` : `${Math.round(seconds / 86400)} d`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(n) {
  if (n === null || n === undefined) return NOTHING;
  let unit = 0;
  while (n >= 1024 && unit < UNITS.length - 1) {
    n /= 1024;
    unit += 1;
  }
  return `${n < 10 && unit ? n.toFixed(1) : Math.round(n)} ${UNITS[unit]}`;
}

// Null where nobody says it.
export function degrees(celsius) {
  return celsius === null || celsius === undefined ? null : `${Math.round(celsius)} °C`;
}

// What stays on one line.
export function unbroken(text) {
  return text.replaceAll(" ", "\u00a0");
}

const two = (n) => String(n).padStart(2, "0");

export function clock(at) {
  const time = new Date(at * 1000);
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

export function moment(at) {
  if (!at) return NOTHING;
  const time = new Date(at * 1000);
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  return `${day} ${two(time.getHours())}:${two(time.getMinutes())}`;
}

// Bokeh's time axes have no zone: what they are given is read as UTC.
export function axisTime(at) {
  return at * 1000 - new Date(at * 1000).getTimezoneOffset() * 60000;
}

// One line, with what would move the text or hide in it made visible.
export function plain(text) {
  return String(text).replace(
    /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    (odd) => (odd === "\n" ? "⏎" : `\\x${odd.codePointAt(0).toString(16)}`),
  );
}

export function short(text, chars = 80) {
  const found = plain(String(text).slice(0, 4 * chars));
  return found.length > chars ? `${found.slice(0, chars - 1)}…` : found;
}

// The end of a test's name says more than its beginning.
export function shortEnd(text, chars = 80) {
  const found = plain(String(text).slice(-4 * chars));
  return found.length > chars ? `…${found.slice(1 - chars)}` : found;
}
