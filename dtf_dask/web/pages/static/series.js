// How numbers went, put together from what is told piece by piece. Pure.

export class SeriesBuffer {
  constructor(pointsMax) {
    this.pointsMax = pointsMax;
    this.clear();
  }

  clear() {
    this.startS = 0;
    this.stepS = 1;
    this.values = {};
  }

  get length() {
    return Math.max(0, ...Object.values(this.values).map((one) => one.length));
  }

  // From when on it is to be told anew: the last points may not have been whole.
  get since() {
    return this.length ? this.startS + Math.max(0, this.length - 2) * this.stepS : 0;
  }

  // Points from their start on take the place of those that were there.
  add({ start_s: startS, step_s: stepS, values }) {
    const from = Math.round((startS - this.startS) / stepS);
    if (!this.length || stepS !== this.stepS || from < 0 || from > this.length) {
      this.startS = startS;
      this.stepS = stepS;
      this.values = Object.fromEntries(
        Object.entries(values).map(([name, points]) => [name, [...points]]),
      );
    } else {
      const before = this.values;
      this.values = {};
      for (const [name, points] of Object.entries(values)) {
        const kept = (before[name] ?? []).slice(0, from);
        while (kept.length < from) kept.push(null);
        this.values[name] = [...kept, ...points];
      }
    }
    const excess = this.length - this.pointsMax;
    if (excess > 0) {
      this.startS += excess * this.stepS;
      for (const name of Object.keys(this.values)) {
        this.values[name] = this.values[name].slice(excess);
      }
    }
  }

  times() {
    return Array.from({ length: this.length }, (_, at) => this.startS + at * this.stepS);
  }

  // As charts take them: what is not known is no number.
  of(name, factor = 1) {
    const found = this.values[name] ?? new Array(this.length).fill(null);
    return found.map((one) => (one === null ? NaN : one * factor));
  }

  // The mean of the last seconds that are known, without the one that is going on.
  lately(name, seconds = 10) {
    const found = (this.values[name] ?? []).slice(0, -1).filter((one) => one !== null);
    const last = found.slice(-Math.max(1, Math.round(seconds / this.stepS)));
    return last.length ? last.reduce((all, one) => all + one, 0) / last.length : null;
  }

  // Names of what there is of each class: class/NAME/what.
  classes(what) {
    return Object.keys(this.values)
      .filter((name) => name.startsWith("class/") && name.endsWith(`/${what}`))
      .map((name) => name.slice(6, -1 - what.length))
      .sort();
  }
}

// Areas one upon the other: of each name its lower and upper edge. Who is not known at
// a time at which others are was not there; where nobody is known there is a gap.
export function stacked(buffer, names, full) {
  const edges = {};
  const found = names.map((name) => buffer.of(full(name)));
  let base = Array.from({ length: buffer.length }, (_, i) =>
    found.some((one) => !Number.isNaN(one[i])) ? 0 : NaN,
  );
  found.forEach((points, at) => {
    const upper = points.map((one, i) => base[i] + (one || 0));
    edges[`low${at}`] = base;
    edges[`high${at}`] = upper;
    base = upper;
  });
  return edges;
}
