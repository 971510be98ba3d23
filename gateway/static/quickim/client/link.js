// One client's connection over time: which protocol, when again, and when never again.
//
// Laws: one stream at a time, but for the moment of a change, in which the new one is up before the old one goes;
// whatever fails ends in a pause that grows, or in the one end; nothing here knows what a message is.

import { Rest } from "./backoff.js";
import { ending, endingOfError, QuickimError } from "./errors.js";

/** @typedef {import("./errors.js").Ending} Ending */
/** @typedef {import("./stream.js").Stream} Stream */
/** @typedef {"ws" | "sse" | "poll"} Protocol */
/** @typedef {{kind: "restart" | "better"} | {kind: "use", protocol: Protocol}} Wish */

/** A protocol that opened so many times without a word does not get through, whatever it claims. */
const MOST_SILENT_ENDS = 2;

export class Link {
  /** @type {Stream | null} */
  current = null;
  isOver = false;
  #rest = new Rest();
  /** @type {Stream | null} */
  #opening = null;
  /** @type {((wish: Wish) => void) | null} */
  #hear = null;
  /** @type {Map<Protocol, number>} */
  #silentEnds = new Map();
  /** @type {{protocol: Protocol, resolve: () => void, reject: (error: Error) => void} | null} */
  #wanted = null;
  #upgradeMs;
  #mustRestart = false;

  /**
   * @param {object} parts
   * @param {Protocol[]} parts.order the best first
   * @param {(protocol: Protocol) => Promise<Stream>} parts.open begins to open a stream; may throw
   * @param {(token: string) => Promise<boolean>} parts.renew takes a new token; false when there is none
    * @param {() => Promise<void>} parts.gate resolves when a connection is wanted
   * @param {() => Promise<void>} parts.settled resolves when the app has processed what came
   * @param {import("./backoff.js").Backoff} parts.backoff
   * @param {{firstMs: number, longestMs: number}} parts.upgrade pauses before a better protocol is tried again
   * @param {(state: string, more?: {protocol?: Protocol, retryInMs?: number, reason?: string}) => void} parts.tell
   * @param {(ending: Ending) => void} parts.end it is over for good
   * @param {(error: unknown) => void} parts.failed something of the app's failed
   */
  constructor(parts) {
    this.parts = parts;
    this.order = parts.order;
    this.#upgradeMs = parts.upgrade.firstMs;
  }

  /** Keeps a connection until `close`, or until the server says stop. */
  async run() {
    while (!this.isOver) {
      await this.parts.gate();
      if (this.isOver) return;
      this.#mustRestart = false;
      this.parts.tell("connecting");
      const opened = await this.#openFirst();
      const end = opened.stream ? await this.#stay(opened.stream) : opened.ending;
      if (this.isOver) return;
      if (end.stops) {
        this.#finish(end);
        return;
      }
      // Otherwise the next connection would bring again all that still waits.
      if (end.overflows) await this.parts.settled();
      if (end.asked) continue;
      const retryInMs = this.parts.backoff.next(end.leastMs);
      this.parts.tell("waiting", { retryInMs: Math.round(retryInMs), reason: end.reason });
      await this.#rest.sleep(retryInMs);
    }
  }

  /** Ends it, without a word. */
  close() {
    if (this.isOver) return;
    this.isOver = true;
    this.current?.finish(ending({ asked: true }));
    this.#opening?.finish(ending({ asked: true }));
    this.#reject("the client was closed");
    this.#rest.wake();
  }

  /** Something changed for the better: do not wait any longer. A connection that is there shows that it lives. */
  hurry() {
    this.parts.backoff.reset();
    this.#rest.wake();
    if (this.current) this.current.probe();
    else this.#opening?.finish(ending({ asked: true }));
  }

  /** Ends the connection, and begins anew from the present cursor when the gate lets it. */
  restart() {
    this.#mustRestart = true;
    this.#opening?.finish(ending({ asked: true }));
    this.#hear?.({ kind: "restart" });
    this.#rest.wake();
  }

  /** Puts `protocol` first and goes over to it; rejects when that cannot be opened now. @param {Protocol} protocol @returns {Promise<void>} */
  use(protocol) {
    this.order = [protocol, ...this.order.filter((other) => other !== protocol)];
    this.#silentEnds.delete(protocol);
    this.#reject("another protocol was asked for");
    if (this.isOver) return Promise.reject(new Error("the client is closed"));
    if (this.current?.protocol === protocol && !this.current.over) return Promise.resolve();
    const wanted = new Promise((resolve, reject) => {
      this.#wanted = { protocol, resolve: () => resolve(undefined), reject };
    });
    if (this.#hear) this.#hear({ kind: "use", protocol });
    else this.hurry();
    return wanted;
  }

  /** @returns {Promise<{stream: Stream, ending?: undefined} | {stream?: undefined, ending: Ending}>} */
  async #openFirst() {
    const working = this.order.filter((protocol) => (this.#silentEnds.get(protocol) ?? 0) < MOST_SILENT_ENDS);
    let last = ending({ reason: "no protocol is left" });
    for (const protocol of working.length ? working : this.order) {
      const opened = await this.#open(protocol);
      if (opened.stream || this.isOver) return opened;
      last = opened.ending;
      // Where the server itself answered, it would answer the same elsewhere.
      if (!last.blocked) break;
    }
    return { ending: last };
  }

  /** @param {Protocol} protocol @returns {Promise<{stream: Stream, ending?: undefined} | {stream?: undefined, ending: Ending}>} */
  async #open(protocol) {
    for (let isRenewed = false; ; isRenewed = true) {
      let stream;
      try {
        stream = await this.parts.open(protocol);
      } catch (error) {
        // A refused token was renewed by the call itself.
        if (error instanceof QuickimError) return { ending: withoutRenewal(endingOfError(error)) };
        if (!isBlocked(error)) this.parts.failed(error);
        return { ending: ending({ reason: "could not be opened", blocked: true }) };
      }
      this.#opening = stream;
      if (this.isOver) stream.finish(ending({ asked: true }));
      const end = await stream.opened;
      this.#opening = null;
      if (!end) return { stream };
      if (!end.renews) return { ending: end };
      // A token that was made just now and is refused all the same will not get better.
      if (isRenewed) return { ending: withoutRenewal(end) };
      const hindrance = await this.#renewed(stream.options.token, end);
      if (hindrance) return { ending: hindrance };
    }
  }

  /**
   * Null when there is another token than this one; else what becomes of it.
   * @param {string} token @param {Ending} end @returns {Promise<Ending | null>}
   */
  async #renewed(token, end) {
    try {
      return (await this.parts.renew(token)) ? null : withoutRenewal(end);
    } catch (error) {
      // The app's own back end may be away for a moment: try again after the pause.
      this.parts.failed(error);
      return ending({ reason: "no token" });
    }
  }

  /** @param {Stream} first @returns {Promise<Ending>} */
  async #stay(first) {
    /** @type {Stream} */
    let stream = first;
    for (;;) {
      this.current = stream;
      this.#connected(stream.protocol);
      const wish = await this.#nextWish(stream);
      if (wish === null) return this.#left(stream);
      if (wish.kind === "restart") {
        stream.finish(ending({ asked: true }));
        return this.#left(stream);
      }
      const better = await this.#changeTo(wish.kind === "use" ? [wish.protocol] : this.#betterThan(stream.protocol));
      if (better) {
        stream.finish(ending({ asked: true }));
        stream = better;
      } else {
        if (wish.kind === "use") this.#reject(`${wish.protocol} cannot be opened now`);
        this.#upgradeMs = Math.min(this.#upgradeMs * 2, this.parts.upgrade.longestMs);
        if (stream.over) return this.#left(stream);
      }
    }
  }

  /** What is wished for next; null when the stream ended. @param {Stream} stream @returns {Promise<Wish | null>} */
  async #nextWish(stream) {
    if (this.#mustRestart) return { kind: "restart" };
    if (this.#wanted) return { kind: "use", protocol: this.#wanted.protocol };
    const wished = new Promise((resolve) => { this.#hear = resolve; });
    const timer = this.#betterThan(stream.protocol).length
      ? setTimeout(() => this.#hear?.({ kind: "better" }), this.#upgradeMs * (0.5 + Math.random() / 2))
      : undefined;
    const wish = await Promise.race([wished, stream.ended.then(() => null)]);
    clearTimeout(timer);
    this.#hear = null;
    return wish;
  }

  /** @param {Protocol[]} protocols @returns {Promise<Stream | null>} */
  async #changeTo(protocols) {
    for (const protocol of protocols) {
      const { stream } = await this.#open(protocol);
      if (stream) return stream;
    }
    return null;
  }

  /** @param {Protocol} protocol */
  #betterThan(protocol) {
    return this.order.slice(0, this.order.indexOf(protocol));
  }

  /** @param {Protocol} protocol */
  #connected(protocol) {
    this.parts.tell("connected", { protocol });
    const wanted = this.#wanted;
    if (wanted?.protocol === protocol) {
      this.#wanted = null;
      wanted.resolve();
    }
  }

  /** @param {Stream} stream @returns {Promise<Ending>} */
  async #left(stream) {
    const end = await stream.ended;
    this.current = null;
    if (stream.hasHeard) {
      this.#silentEnds.delete(stream.protocol);
      if (stream.protocol === this.order[0]) this.#upgradeMs = this.parts.upgrade.firstMs;
    } else if (!end.asked) {
      this.#silentEnds.set(stream.protocol, (this.#silentEnds.get(stream.protocol) ?? 0) + 1);
    }
    if (!end.renews) return end;
    return (await this.#renewed(stream.options.token, end)) ?? end;
  }

  /** @param {string} why */
  #reject(why) {
    const wanted = this.#wanted;
    this.#wanted = null;
    wanted?.reject(new Error(why));
  }

  /** @param {Ending} end */
  #finish(end) {
    this.isOver = true;
    this.#reject("the connection ended for good");
    this.parts.end(end);
  }
}

/** There is no other token. @param {Ending} end @returns {Ending} */
function withoutRenewal(end) {
  return end.renews ? { ...end, stops: true } : end;
}

/** Whether the browser itself forbids a protocol, as mixed content or by its policy. @param {unknown} error */
function isBlocked(error) {
  return typeof DOMException !== "undefined" && error instanceof DOMException;
}
