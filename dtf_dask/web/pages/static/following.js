// Which node to read from: this one, or another when it does not answer. Pure.
//
// `handle` is given what happened and the time in ms, and answers what is to be done:
// "connect" (read events here), "check" (ask whether this node is there), "probe" (see
// which of the others is), or {go: url} (read there from now on).

export const SILENT_MS = 1200; // with less to be told, a node is asked
export const CHECK_MS = 900; // an answer takes no longer
export const PATIENCE_MS = 600; // a web process that died alone is back at once, mostly
export const RETRY_MS = 250;
export const GOING_MS = 4000; // another node's page is loaded meanwhile, mostly

export class Following {
  constructor(now) {
    this.state = "connecting";
    this.since = now; // when the state began
    this.heardAt = now;
    this.lostAt = null;
    this.checkingSince = null;
    this.probingSince = null;
    this.triedAt = now;
    this.goneAt = null;
  }

  get lost() {
    return this.state !== "open";
  }

  handle(event, now) {
    switch (event.type) {
      case "heard":
        this.heardAt = now;
        this.lostAt = null;
        this.checkingSince = null;
        this.#become("open", now);
        return [];
      case "broken": // the stream, or it never came
        return this.#broken(now);
      case "answered": // a check
        this.heardAt = now;
        this.checkingSince = null;
        return [];
      case "unanswered":
        this.checkingSince = null;
        return this.#broken(now - PATIENCE_MS, now);
      case "there": // another node
        this.probingSince = null;
        if (!this.lost || this.lostAt === null) return [];
        // To be told again would stop what is being loaded.
        this.goneAt = now;
        return [{ go: event.url }];
      case "nobody":
        this.probingSince = null;
        return [];
      case "tick":
        return this.#tick(now);
      default:
        throw new Error(`no event: ${event.type}`);
    }
  }

  #tick(now) {
    if (this.state === "open") {
      const silent = now - this.heardAt > SILENT_MS;
      if (!silent || this.checkingSince !== null) return [];
      this.checkingSince = now;
      return ["check"];
    }
    const todo = [];
    if (this.state === "lost" && now - this.triedAt >= RETRY_MS) {
      this.triedAt = now;
      this.#become("connecting", now);
      todo.push("connect");
    } else if (this.state === "connecting" && now - this.since > 4 * CHECK_MS) {
      return this.#broken(now);
    }
    if (
      this.lostAt !== null &&
      now - this.lostAt >= PATIENCE_MS &&
      this.probingSince === null &&
      (this.goneAt === null || now - this.goneAt >= GOING_MS)
    ) {
      this.probingSince = now;
      todo.push("probe");
    }
    return todo;
  }

  #broken(since, now = since) {
    this.lostAt ??= since;
    this.#become("lost", now);
    return ["disconnect"];
  }

  #become(state, now) {
    if (this.state !== state) this.since = now;
    this.state = state;
  }
}
