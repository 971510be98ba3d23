// Long polling: each answer is processed as a whole before the next poll goes out with its Cursor.

import { ending, endingOfBye, endingOfError, QuickimError } from "./errors.js";
import { dataOf, pathOf, within } from "./http.js";
import { Stream } from "./stream.js";

/** A poll that nobody has refused for so long is waiting for messages. */
const ACCEPTED_MS = 1_000;

export class PollStream extends Stream {
  #abort = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #accepted;

  /** @param {import("./stream.js").Options} options */
  constructor(options) {
    super("poll", options);
    void this.#run();
  }

  release() {
    clearTimeout(this.#accepted);
    this.#abort.abort();
  }

  async #run() {
    this.#accepted = setTimeout(() => this.up(), ACCEPTED_MS);
    try {
      while (!this.over) {
        await this.#once();
        await this.options.mayPoll();
      }
    } catch (error) {
      if (error instanceof QuickimError) {
        const how = endingOfError(error);
        this.finish({ ...how, blocked: how.blocked && !this.hasHeard });
      } else {
        this.finish(ending({ reason: "what came is no answer to a poll", blocked: true }));
      }
    }
  }

  async #once() {
    const { token, times, sink, tap } = this.options;
    const headers = { Authorization: `Bearer ${token}` };
    tap("out", "poll", `GET ${pathOf(this.address)}`);
    const answer = await within(times.pollMs, this.#abort.signal, async (options) =>
      dataOf(await fetch(this.address, { ...options, headers }), (text) => tap("in", "poll", text)),
    );
    clearTimeout(this.#accepted);
    this.hasHeard = true;
    this.up();
    let bye = null;
    for (const item of [...answer.Event, ...answer.Msg]) {
      if (item.Event === "bye") bye = item;
      if (!sink.hasRoom()) await sink.room();
      if (this.over) return;
      sink.item(item, true);
    }
    sink.cursor(answer.Cursor);
    this.options.since = answer.Cursor;
    if (bye) this.finish(endingOfBye(bye));
    else await sink.idle();
  }
}
