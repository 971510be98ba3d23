// Server-sent events by fetch: unlike an EventSource it can send the token in a header, and see a refusal's reason.

import { ending, endingOfBye, endingOfError, QuickimError } from "./errors.js";
import { dataOf, pathOf } from "./http.js";
import { Stream } from "./stream.js";

/** Cuts a text/event-stream into the data of its events. */
export class EventStreamParser {
  #rest = "";
  /** @type {string[]} */
  #data = [];

  /** The data of the events that `text` completes. @param {string} text @returns {string[]} */
  feed(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    const found = [];
    for (const line of lines) {
      if (line.startsWith("data:")) this.#data.push(line.slice(line[5] === " " ? 6 : 5));
      else if (line === "" && this.#data.length) found.push(this.#data.splice(0).join("\n"));
    }
    return found;
  }
}

export class SseStream extends Stream {
  #abort = new AbortController();
  #heardAt = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #watch;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #opening;

  /** @param {import("./stream.js").Options} options */
  constructor(options) {
    super("sse", options);
    void this.#run();
  }

  /** The server is never silent for so long, so this connection is dead. */
  probe() {
    if (this.isUp && Date.now() - this.#heardAt > this.options.times.silenceMs) {
      this.finish(ending({ reason: "the connection is silent" }));
    }
  }

  release() {
    clearTimeout(this.#opening);
    clearInterval(this.#watch);
    this.#abort.abort();
  }

  async #run() {
    try {
      const reader = await this.#open();
      if (this.over) return;
      this.#heardAt = Date.now();
      this.#watch = setInterval(() => this.probe(), this.options.times.silenceMs / 4);
      const parser = new EventStreamParser();
      const decoder = new TextDecoder();
      for (let chunk = await this.#first(reader); !chunk.done && !this.over; chunk = await reader.read()) {
        // While the app takes its time nothing is read, which is no silence of the server.
        this.#heardAt = Infinity;
        const text = decoder.decode(chunk.value, { stream: true });
        this.options.tap("in", "sse", text);
        for (const data of parser.feed(text)) await this.#take(data);
        this.#heardAt = Date.now();
      }
      this.finish(ending({ reason: "the stream ended", blocked: !this.isUp }));
    } catch (error) {
      if (error instanceof QuickimError) this.finish(endingOfError(error));
      else this.finish(ending({ reason: "the stream broke off", blocked: !this.isUp }));
    }
  }

  async #open() {
    const { token, times, tap } = this.options;
    const headers = { Authorization: `Bearer ${token}`, Accept: "text/event-stream" };
    this.#opening = setTimeout(
      () => this.finish(ending({ reason: "no stream in time", blocked: true })),
      times.openMs,
    );
    const { signal } = this.#abort;
    tap("out", "sse", `GET ${pathOf(this.address)}`);
    const response = await fetch(this.address, { headers, cache: "no-store", credentials: "omit", signal });
    if (!response.ok || !response.body || !response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
      await dataOf(response, (text) => tap("in", "sse", text));
      throw new QuickimError("http", "no event stream");
    }
    return response.body.getReader();
  }

  /** The first bytes: a proxy that collects a stream before it passes it on is of no use. @param {ReadableStreamDefaultReader<Uint8Array>} reader */
  async #first(reader) {
    const chunk = await reader.read();
    clearTimeout(this.#opening);
    if (!chunk.done && !this.over) {
      this.hasHeard = true;
      this.up();
    }
    return chunk;
  }

  /** @param {string} data */
  async #take(data) {
    if (this.over) return;
    const item = JSON.parse(data);
    const { sink } = this.options;
    // Reading stops here while the app is busy, and with it the server.
    if (!sink.hasRoom()) await sink.room();
    if (this.over) return;
    sink.item(item, false);
    if (item.Event === "bye") this.finish(endingOfBye(item));
  }
}
