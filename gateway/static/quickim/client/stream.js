// What the three protocols have in common: a stream opens or does not, brings items, and ends once.

/** @typedef {import("./errors.js").Ending} Ending */

/**
 * Where a stream puts what it brings.
 * @typedef {object} Sink
 * @property {() => boolean} hasRoom
 * @property {() => Promise<void>} room resolves when there is room
 * @property {() => Promise<void>} idle resolves when all of it was processed
 * @property {(item: Record<string, any>, isPolled: boolean) => void} item a message or a notice
 * @property {(cursor: string) => void} cursor all before it is covered by this cursor
 */

/**
 * Shown what goes over the wire, as text, and nothing else.
 * @typedef {(direction: "in" | "out", protocol: "ws" | "sse" | "poll" | "http", text: string) => void} Tap
 */

/**
 * What a stream needs to know.
 * @typedef {object} Options
 * @property {string} url of the server, without a slash at the end
 * @property {string} token
 * @property {string} ticket opens the stream once instead of the token; "" without one
 * @property {string} since
 * @property {Sink} sink
 * @property {{openMs: number, pollMs: number, silenceMs: number, answerMs: number}} times
 * @property {Tap} tap
 * @property {() => Promise<void>} mayPoll resolves when the next poll may go out
 */

export class Stream {
  /** @type {(ending: Ending | null) => void} */
  #settleOpened = () => {};
  /** @type {(ending: Ending) => void} */
  #settleEnded = () => {};

  /** @param {"ws" | "sse" | "poll"} protocol @param {Options} options */
  constructor(protocol, options) {
    this.protocol = protocol;
    this.options = options;
    /** @type {Ending | null} */
    this.over = null;
    this.isUp = false;
    /** Whether the server ever said anything. */
    this.hasHeard = false;
    /** null once it is up, or why it never was. @type {Promise<Ending | null>} */
    this.opened = new Promise((resolve) => { this.#settleOpened = resolve; });
    /** @type {Promise<Ending>} */
    this.ended = new Promise((resolve) => { this.#settleEnded = resolve; });
  }

  /** The address of `/notify` for this protocol. */
  get address() {
    const query = new URLSearchParams({ protoc: this.protocol });
    if (this.options.since) query.set("since", this.options.since);
    if (this.options.ticket) query.set("ticket", this.options.ticket);
    return `${this.options.url}/notify?${query}`;
  }

  /** It works. */
  up() {
    this.isUp = true;
    this.#settleOpened(null);
  }

  /** It is over; only the first reason counts. @param {Ending} ending */
  finish(ending) {
    if (this.over) return;
    this.over = ending;
    this.release();
    this.#settleOpened(ending);
    this.#settleEnded(ending);
  }

  /** Let go of the connection. */
  release() {}

  /** The network or the page woke up: end soon if the connection is dead. */
  probe() {}

  /** Call a method over it; undefined where a protocol cannot. @type {((method: string, params: object) => Promise<any>) | undefined} */
  call = undefined;
}
