// The WebSocket: messages and notices come, calls go and are answered by their id.

import { QuickimError, ending, endingOfBye, endingOfClose } from "./errors.js";
import { Stream } from "./stream.js";

/** Calls that may wait for their answer on one socket. */
const MOST_CALLS = 256;

export class WebSocketStream extends Stream {
  /** @type {Map<number, {resolve: (data: any) => void, reject: (error: QuickimError) => void, timer: ReturnType<typeof setTimeout>}>} */
  #calls = new Map();
  #lastCall = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #watch;
  #hasHeardLately = false;
  /** @type {WebSocket} */
  #socket;

  /** @param {import("./stream.js").Options} options */
  constructor(options) {
    super("ws", options);
    // Browsers cannot set headers here, and a token in an address would end up in logs; a ticket is spent by then.
    const protocols = options.ticket ? ["quickim"] : ["quickim", `bearer.${options.token}`];
    this.#socket = new WebSocket(this.address.replace(/^http/, "ws"), protocols);
    this.#socket.onopen = () => this.#onOpen();
    this.#socket.onmessage = ({ data }) => this.#onText(data);
    this.#socket.onclose = ({ code, reason }) =>
      this.finish(this.isUp ? endingOfClose(code, reason) : ending({ code, reason: "no WebSocket", blocked: true }));
    this.#timer = setTimeout(
      () => this.finish(ending({ reason: "no WebSocket in time", blocked: true })),
      options.times.openMs,
    );
    this.call = (/** @type {string} */ method, /** @type {object} */ params) => this.#call(method, params);
  }

  /** Ends the connection soon if nothing comes any more. */
  probe() {
    if (this.isUp && !this.over) this.#ask();
  }

  release() {
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
    const socket = this.#socket;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    for (const { reject, timer } of this.#calls.values()) {
      clearTimeout(timer);
      reject(new QuickimError("network", "the connection was lost before the answer"));
    }
    this.#calls.clear();
  }

  #onOpen() {
    clearTimeout(this.#timer);
    this.up();
    // Some proxies take the upgrade and let nothing through: an answer to this shows that they do not.
    this.#ask();
    this.#watch = setInterval(() => {
      if (!this.#hasHeardLately) this.#ask();
      this.#hasHeardLately = false;
    }, this.options.times.silenceMs / 2);
  }

  #ask() {
    // Whatever comes in the meantime is as good as the answer.
    this.#hasHeardLately = false;
    this.#call("ping", {}).catch((error) => {
      if (error.code === "timeout" && !this.#hasHeardLately) this.finish(ending({ reason: "the connection is silent" }));
    });
  }

  /** @param {unknown} text */
  #onText(text) {
    this.options.tap("in", "ws", String(text));
    let item;
    try {
      item = JSON.parse(/** @type {string} */ (text));
    } catch {
      item = null;
    }
    if (item === null || typeof item !== "object") {
      this.finish(ending({ reason: "this is no quickim server", blocked: true }));
      return;
    }
    this.hasHeard = this.#hasHeardLately = true;
    if ("code" in item) {
      this.#settle(item);
    } else if (!this.options.sink.hasRoom()) {
      // The app is slower than the stream. What does not fit is not kept: the cursor brings it when there is room.
      this.finish(ending({ reason: "the app is too slow", asked: true, overflows: true }));
    } else {
      this.options.sink.item(item, false);
      if (item.Event === "bye") this.finish(endingOfBye(item));
    }
  }

  /** @param {string} method @param {object} params @returns {Promise<any>} */
  #call(method, params) {
    return new Promise((resolve, reject) => {
      if (this.over || !this.isUp || this.#calls.size >= MOST_CALLS) {
        reject(new QuickimError("network", "no connection"));
        return;
      }
      const id = ++this.#lastCall;
      const timer = setTimeout(() => {
        this.#calls.delete(id);
        reject(new QuickimError("timeout", "no answer in time"));
      }, this.options.times.answerMs);
      this.#calls.set(id, { resolve, reject, timer });
      const text = JSON.stringify({ id, method, params });
      this.#socket.send(text);
      this.options.tap("out", "ws", text);
    });
  }

  /** @param {Record<string, any>} answer */
  #settle(answer) {
    const call = this.#calls.get(answer.id);
    if (!call) return;
    this.#calls.delete(answer.id);
    clearTimeout(call.timer);
    if (answer.code === 0) call.resolve(answer.data);
    else call.reject(new QuickimError(answer.code, answer.error, { detail: answer.detail }));
  }
}
