// Reads the events of a node, and finds another node when that one is gone.

import { CHECK_MS, Following } from "./following.js";
import { Mirror } from "./mirror.js";

export const API = "/dtf/api/v1";
const TICK_MS = 100;
const ASK_MS = 2000; // what is wrong, and how far the coordinators are

export class Link {
  // `tell` is called with {type, ...}: "snapshot", "changes", "coordinators", "alerts",
  // "line" (open or lost since when), "go" (to another node).
  constructor(tell) {
    this.mirror = new Mirror();
    this.coordinators = null;
    this.alerts = [];
    this.line = { open: false, lostForMs: 0 };
    this.heardAt = 0; // when the scheduler's look was told, by this clock
    this.tell = tell;
    this.following = new Following(performance.now());
    this.asking = false;
    this.askedAt = -ASK_MS;
    this.#connect();
    setInterval(() => this.#handle({ type: "tick" }), TICK_MS);
  }

  // What a page that opens now has to know.
  state() {
    return {
      type: "state",
      snapshot: {
        id: this.mirror.id,
        at: this.mirror.at,
        records: this.mirror.records(),
      },
      coordinators: this.coordinators,
      alerts: this.alerts,
      line: this.line,
      heardMsAgo: performance.now() - this.heardAt,
    };
  }

  #connect() {
    const { id } = this.mirror;
    const since = id ? `?since=${encodeURIComponent(id)}` : "";
    const source = new EventSource(`${API}/events${since}`);
    this.source?.close();
    this.source = source;
    const on = (name, hear) =>
      source.addEventListener(name, (event) => {
        if (source !== this.source) return;
        hear(JSON.parse(event.data), event.lastEventId);
        this.#handle({ type: "heard" });
      });
    on("snapshot", (told, id) => this.#records("snapshot", told, id));
    on("changes", (told, id) => this.#records("changes", told, id));
    on("reset", () => {});
    on("coordinators", (told) => this.#standing(told));
    source.onopen = () => {
      if (source === this.source) this.#handle({ type: "heard" });
    };
    source.onerror = () => {
      if (source === this.source) this.#handle({ type: "broken" });
    };
  }

  #records(type, told, id) {
    told = { ...told, id };
    const before = this.mirror.seenAt;
    if (type === "snapshot") this.mirror.replace(told);
    else this.mirror.change(told);
    if (this.mirror.seenAt !== before) {
      // How long ago it was when it was told; between two clocks, so never less than 0.
      const old = type === "snapshot" ? this.mirror.at - this.mirror.seenAt : 0;
      this.heardAt = performance.now() - 1000 * Math.max(0, old);
    }
    const heardMsAgo = performance.now() - this.heardAt;
    this.tell({ type, told, heardMsAgo });
  }

  #standing(told) {
    this.coordinators = told;
    this.tell({ type: "coordinators", told });
  }

  #handle(event) {
    const now = performance.now();
    for (const one of this.following.handle(event, now)) this.#act(one);
    const open = !this.following.lost;
    const lostAt = this.following.lostAt;
    const lostForMs = lostAt === null ? 0 : now - lostAt;
    if (open !== this.line.open) this.tell({ type: "line", open, lostForMs });
    this.line = { open, lostForMs };
    if (open && now - this.askedAt > ASK_MS && !this.asking) this.#ask(now);
  }

  #act(todo) {
    if (todo === "connect") this.#connect();
    else if (todo === "disconnect") this.source?.close();
    else if (todo === "check") this.#check();
    else if (todo === "probe") this.#probe();
    else this.tell({ type: "go", url: todo.go });
  }

  async #check() {
    const found = await asked("/coordinators", CHECK_MS);
    if (found !== null) this.#standing(found);
    this.#handle({ type: found === null ? "unanswered" : "answered" });
  }

  async #ask(now) {
    this.asking = true;
    this.askedAt = now;
    const limitMs = 4 * CHECK_MS;
    const [alerts, standing] = await Promise.all([
      asked("/alerts", limitMs),
      asked("/coordinators", limitMs),
    ]);
    this.asking = false;
    if (standing !== null) this.#standing(standing);
    if (alerts !== null) {
      this.alerts = alerts.items;
      this.tell({ type: "alerts", told: alerts.items });
    }
  }

  async #probe() {
    const tag = this.mirror.id.split(":")[2] ?? "";
    const urls = elsewhere(this.mirror, self.location.origin);
    const answers = urls.map(async (url) => {
      // What it says is not for this page to read; that it is of the cluster is all.
      await fetch(`${url}/dtf/here?cluster=${encodeURIComponent(tag)}`, {
        mode: "no-cors",
        cache: "no-store",
        credentials: "omit",
        signal: AbortSignal.timeout(CHECK_MS),
      });
      return url;
    });
    try {
      this.#handle({ type: "there", url: await Promise.any(answers) });
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 2 * TICK_MS));
      this.#handle({ type: "nobody" });
    }
  }
}

// Where the other nodes of the cluster serve, that do.
export function elsewhere(mirror, own) {
  const places = mirror.rows("coordinator").map((one) => `http://${one.web}`);
  const found = places.filter((one) => URL.canParse(one)).map((one) => new URL(one).origin);
  return [...new Set(found)].filter((one) => one !== own).sort();
}

async function asked(path, limitMs) {
  try {
    const answer = await fetch(API + path, {
      cache: "no-store",
      signal: AbortSignal.timeout(limitMs),
    });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}
