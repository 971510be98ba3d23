// Sends wait here until each has its outcome: one after the other in a conversation, again and again with the same
// client_msg_id, so that each takes effect once, in the order in which they were given.

import { Backoff, Rest } from "./backoff.js";
import { QuickimError } from "./errors.js";

/** A crash of the server (500, unlike 503) may be this very message's fault: it must not hold up the others for ever. */
const MOST_CRASHES = 5;

/**
 * @typedef {object} Send
 * @property {{conversation_id: string, content: string, type: number, status: number, client_msg_id: string}} params
 * @property {(receipt: {MsgID: string, SendTime: number}) => void} resolve
 * @property {(error: QuickimError) => void} reject
 * @property {number} deadline milliseconds since the epoch
 */

/** An id of its own for each message; `crypto.randomUUID` exists on secure pages only. */
export function newClientMsgId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Sends {
  /** @type {Map<string, Send[]>} */
  #lanes = new Map();
  /** @type {Set<Rest>} */
  #rests = new Set();
  /** @type {QuickimError | null} */
  #over = null;

  /**
   * @param {object} parts
   * @param {(params: Send["params"]) => Promise<any>} parts.attempt throws QuickimError
   * @param {() => Backoff} parts.backoff
   * @param {number} parts.limit sends that may wait
   * @param {number} parts.timeoutMs how long one may wait for its outcome; Infinity: as long as it takes
   */
  constructor({ attempt, backoff, limit, timeoutMs }) {
    this.attempt = attempt;
    this.backoff = backoff;
    this.limit = limit;
    this.timeoutMs = timeoutMs;
  }

  /** Without an outcome yet, oldest first in each conversation. */
  get pending() {
    return [...this.#lanes.values()].flat().map((send) => ({ ...send.params }));
  }

  /** Resolves with the receipt, or rejects with a QuickimError. @param {Send["params"]} params @returns {Promise<any>} */
  send(params) {
    return new Promise((resolve, reject) => {
      if (this.#over) {
        reject(this.#over);
      } else if (this.pending.length >= this.limit) {
        reject(new QuickimError("queue-full", `${this.limit} sends wait already`));
      } else {
        const lane = this.#lanes.get(params.conversation_id);
        const send = { params, resolve, reject, deadline: Date.now() + this.timeoutMs };
        if (lane) {
          lane.push(send);
        } else {
          this.#lanes.set(params.conversation_id, [send]);
          void this.#run(params.conversation_id);
        }
      }
    });
  }

  /** There is a connection (again): whoever waits tries at once. */
  wake() {
    for (const rest of this.#rests) rest.wake();
  }

  /** No further attempts; what waits fails with `error`. @param {QuickimError} error */
  end(error) {
    this.#over = error;
    for (const send of [...this.#lanes.values()].flat()) send.reject(error);
    this.#lanes.clear();
    this.wake();
  }

  /** @param {string} conversation */
  async #run(conversation) {
    const lane = /** @type {Send[]} */ (this.#lanes.get(conversation));
    while (lane.length && !this.#over) {
      const send = lane[0];
      try {
        send.resolve(await this.#outcome(send));
      } catch (error) {
        send.reject(/** @type {QuickimError} */ (error));
      }
      lane.shift();
    }
    if (this.#lanes.get(conversation) === lane) this.#lanes.delete(conversation);
  }

  /** @param {Send} send */
  async #outcome(send) {
    const backoff = this.backoff();
    let crashes = 0;
    for (;;) {
      let failure;
      try {
        return await this.attempt(send.params);
      } catch (error) {
        failure = error instanceof QuickimError ? error : new QuickimError("network", String(error), { cause: error });
      }
      if (this.#over) throw this.#over;
      if (failure.status === 500) crashes += 1;
      if (!failure.isTemporary || crashes >= MOST_CRASHES) throw failure;
      const pause = backoff.next(failure.retryAfterMs);
      if (Date.now() + pause > send.deadline) throw failure;
      await this.#sleep(pause, failure.retryAfterMs);
    }
  }

  /** @param {number} ms @param {number} leastMs */
  async #sleep(ms, leastMs) {
    const rest = new Rest();
    // Who was told when to come back is not woken earlier.
    if (!leastMs) this.#rests.add(rest);
    await rest.sleep(ms);
    this.#rests.delete(rest);
  }
}
