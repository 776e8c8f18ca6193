// The records of a cluster as this browser has been told of them. Pure.

export class Mirror {
  constructor() {
    this.id = "";
    this.at = 0; // when it was so, by the clock of the node that told it
    this.seenAt = 0; // when the scheduler looked, by its own
    this.kinds = new Map();
  }

  replace({ id, at, records }) {
    this.kinds.clear();
    this.#put(records);
    this.#now(id, at);
  }

  change({ id, at, put, gone }) {
    this.#put(put);
    for (const key of gone) this.kinds.get(kindOf(key))?.delete(key);
    this.#now(id, at);
  }

  #put(records) {
    for (const [key, record] of Object.entries(records)) {
      const kind = kindOf(key);
      if (!this.kinds.has(kind)) this.kinds.set(kind, new Map());
      this.kinds.get(kind).set(key, record);
    }
  }

  #now(id, at) {
    this.id = id;
    this.at = at;
    this.seenAt = this.get("cluster")?.at ?? 0;
  }

  get(key) {
    return this.kinds.get(kindOf(key))?.get(key) ?? null;
  }

  // [key, record] of each of a kind.
  of(kind) {
    return this.kinds.get(kind) ?? new Map();
  }

  rows(kind) {
    return [...this.of(kind).values()];
  }

  load(workerKey) {
    return this.get(`load${workerKey.slice("worker".length)}`);
  }

  records() {
    return Object.fromEntries([...this.kinds.values()].flatMap((one) => [...one]));
  }
}

export function kindOf(key) {
  const slash = key.indexOf("/");
  return slash < 0 ? key : key.slice(0, slash);
}
