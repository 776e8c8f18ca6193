// What a page knows of the cluster, as it changes.

import { Link } from "./link.js";
import { Mirror } from "./mirror.js";

export class Live {
  // `changed` is called after each change, `go` with where to read from now on.
  constructor(changed, go) {
    this.mirror = new Mirror();
    this.coordinators = null;
    this.alerts = [];
    this.open = false;
    this.begun = false;
    this.lostAt = null;
    this.heardAt = performance.now();
    this.changed = changed;
    this.go = go;
    this.#follow();
  }

  #follow() {
    if (typeof SharedWorker === "undefined") {
      const link = new Link((told) => this.#hear(told));
      // Whoever makes this has to have it before it is told.
      queueMicrotask(() => this.#hear(link.state()));
      return;
    }
    const url = new URL("./feed_worker.js", import.meta.url);
    const connect = () => {
      this.port = new SharedWorker(url, { type: "module", name: "dtf" }).port;
      this.port.onmessage = ({ data }) => this.#hear(data);
    };
    connect();
    addEventListener("pagehide", () => this.port.postMessage("bye"));
    addEventListener("pageshow", (event) => event.persisted && connect());
  }

  #hear(told) {
    if (told.type === "state") {
      this.coordinators = told.coordinators;
      this.alerts = told.alerts;
      this.#line(told.line);
      if (told.snapshot.id) this.#records(told.snapshot, told.heardMsAgo);
    } else if (told.type === "snapshot" || told.type === "changes") {
      this.#records(told.told, told.heardMsAgo);
    } else if (told.type === "coordinators") {
      this.coordinators = told.told;
    } else if (told.type === "alerts") {
      this.alerts = told.told;
    } else if (told.type === "line") {
      this.#line(told);
    } else if (told.type === "go") {
      this.go(told.url);
    }
    this.changed();
  }

  #records(told, heardMsAgo) {
    if ("records" in told) this.mirror.replace(told);
    else this.mirror.change(told);
    this.begun = true;
    this.heardAt = performance.now() - heardMsAgo;
  }

  #line({ open, lostForMs }) {
    this.open = open;
    this.lostAt = open ? null : performance.now() - lostForMs;
  }

  get cluster() {
    return this.mirror.get("cluster");
  }

  // How old what is shown is, in seconds.
  get age() {
    return (performance.now() - this.heardAt) / 1000;
  }

  // Now, by the clock of who wrote the records.
  get now() {
    return this.mirror.seenAt ? this.mirror.seenAt + this.age : Date.now() / 1000;
  }
}

export async function api(path, query = {}) {
  const words = new URLSearchParams(
    Object.entries(query).filter(([, value]) => value !== "" && value != null),
  );
  const answer = await fetch(`/dtf/api/v1${path}?${words}`, { cache: "no-store" });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.detail ?? `it answers ${answer.status}`);
  return told;
}

// Asks again and again, until it is closed; what nobody sees is not asked for.
//
// `ask(current)` reads what there is: once `current()` is false it was asked for anew, or
// is not wanted any more.
export class Poll {
  constructor(ask, pauseMs, failed = () => {}) {
    this.ask = ask;
    this.pauseMs = pauseMs;
    this.failed = failed;
    this.turn = 0;
    this.now();
  }

  async now() {
    clearTimeout(this.timer);
    const turn = (this.turn += 1);
    const current = () => this.turn === turn;
    if (!document.hidden || turn === 1) {
      try {
        await this.ask(current);
      } catch (error) {
        // The line at the top says if nobody answers; it goes on when somebody does.
        if (current()) this.failed(error);
      }
    }
    if (current()) this.timer = setTimeout(() => this.now(), this.pauseMs());
  }

  close() {
    clearTimeout(this.timer);
    this.turn += 1;
  }
}

// Nobody can say whether it was done: it may be asked again, with the same id.
export class NoAnswer extends Error {}

// Have something done; the record of it.
export async function act(action, fields, id) {
  let answer;
  let told;
  try {
    answer = await fetch(`/dtf/api/v1/actions/${action}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": id },
      body: JSON.stringify(fields),
    });
    told = await answer.json();
  } catch {
    throw new NoAnswer("this node does not answer");
  }
  if (answer.status === 503) throw new NoAnswer(told.detail);
  if (!answer.ok) throw new Error(told.detail ?? `it answers ${answer.status}`);
  return told;
}

export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return [...bytes].map((one) => one.toString(16).padStart(2, "0")).join("");
}
