// A client of quickim for browsers: connects, comes back, resumes, and tells the app each message once and in order.
//
//   import { Client } from "/static/quickim/quickim.js";
//   const client = new Client(location.origin, () => fetchToken());
//   client.on("message", async (message) => { … });
//   await client.connect();
//
// An ES module without dependencies; it runs as it stands, with the folder client/ beside it. Types: quickim.d.ts.

import { Backoff } from "./client/backoff.js";
import { Calls } from "./client/calls.js";
import { Credentials } from "./client/credentials.js";
import { Delivery } from "./client/delivery.js";
import { QuickimError } from "./client/errors.js";
import { post } from "./client/http.js";
import { Link } from "./client/link.js";
import { Listeners } from "./client/listeners.js";
import { Page } from "./client/page.js";
import { PollStream } from "./client/poll.js";
import { newClientMsgId, Sends } from "./client/sends.js";
import { SseStream } from "./client/sse.js";
import { WebSocketStream } from "./client/websocket.js";

export { QuickimError } from "./client/errors.js";

/** @typedef {import("./client/link.js").Protocol} Protocol */

const STREAMS = { ws: WebSocketStream, sse: SseStream, poll: PollStream };
const PROTOCOLS = /** @type {Protocol[]} */ (Object.keys(STREAMS));
const DEFAULTS = {
  protocols: PROTOCOLS,
  cursor: "",
  useTicket: false,
  whenHidden: /** @type {"slow" | "pause" | "keep"} */ ("slow"),
  hiddenMs: 30_000,
  openMs: 10_000,
  pollMs: 60_000,
  silenceMs: 45_000,
  answerMs: 15_000,
  firstPauseMs: 250,
  longestPauseMs: 15_000,
  upgradeMs: 10_000,
  longestUpgradeMs: 300_000,
  maxPending: 100,
  sendMs: Infinity,
  maxWaiting: 1_000,
};

export class Client extends Calls {
  #options;
  #url;
  #state = "idle";
  /** @type {Protocol | null} */
  #protocol = null;
  #listeners = new Listeners();
  #credentials;
  #delivery;
  #sends;
  #page;
  /** @type {Link | null} */
  #link = null;

  /**
   * @param {string} url of the server, as `https://im.example.com`
   * @param {string | (() => string | Promise<string>)} token a token, or a function that gets one from the app's back end
   * @param {Partial<typeof DEFAULTS>} [options]
   */
  constructor(url, token, options = {}) {
    super();
    const unknown = Object.keys(options).filter((name) => !(name in DEFAULTS));
    if (unknown.length) throw new TypeError(`unknown option ${unknown.join(", ")}`);
    this.#options = { ...DEFAULTS, ...options };
    const { protocols, cursor, maxWaiting, maxPending, sendMs, whenHidden, hiddenMs } = this.#options;
    if (!protocols.length || protocols.some((name) => !PROTOCOLS.includes(name))) {
      throw new TypeError(`protocols are ${PROTOCOLS.join(", ")}`);
    }
    this.#url = url.replace(/\/+$/, "");
    this.#credentials = new Credentials(token, {
      renewed: (renewed) => this.#hand(renewed),
      failed: (error) => this.#listeners.failed(error),
    });
    this.#delivery = new Delivery({
      cursor,
      limit: maxWaiting,
      listeners: this.#listeners,
      calls: this,
      session: () => this.session,
    });
    this.#sends = new Sends({
      attempt: (params) => this.call("send_msg", params),
      backoff: () => this.#newBackoff(),
      limit: maxPending,
      timeoutMs: sendMs,
    });
    this.#page = new Page({
      whenHidden,
      hiddenMs,
      woke: () => {
        this.#link?.hurry();
        this.#sends.wake();
      },
      slept: () => {
        this.#link?.restart();
        this.#tell("paused");
      },
      offline: () => this.#link?.current?.probe(),
    });
  }

  /** "idle", "connecting", "connected", "waiting", "paused", "closed" or "ended". */
  get state() {
    return this.#state;
  }

  /** The protocol of the present connection; null without one. */
  get protocol() {
    return this.#protocol;
  }

  /** The session that the token names; "" before there is one. */
  get session() {
    return this.#credentials.session;
  }

  /** Where to go on after a restart of the app; "" as long as that is not known. */
  get cursor() {
    return this.#delivery.progress.cursor;
  }

  /** Go on from there: what comes after it is told, whether or not it was told before. */
  set cursor(cursor) {
    this.#delivery.goOnFrom(cursor);
    this.#link?.restart();
  }

  /** The sends without an outcome yet: an app may keep them and send them again after a restart. */
  get pending() {
    return this.#sends.pending;
  }

  /** Call `listener` for each event of this name; returns what ends that. @param {string} name @param {(event: any) => unknown} listener */
  on(name, listener) {
    return this.#listeners.add(name, listener);
  }

  /** No longer call `listener`. @param {string} name @param {(event: any) => unknown} listener */
  off(name, listener) {
    this.#listeners.remove(name, listener);
  }

  /** Connect, and stay connected until `close`. Resolves with the first connection; rejects when there will be none. */
  connect() {
    if (this.#state === "closed" || this.#state === "ended") {
      return Promise.reject(new QuickimError(this.#state, `the client is ${this.#state}`));
    }
    const connected = this.#state === "connected" ? Promise.resolve() : this.#connected();
    if (!this.#link) {
      this.#link = this.#newLink();
      this.#page.start();
      void this.#link.run();
    }
    return connected;
  }

  /** Disconnect for good. What waits to be sent fails with "closed": see `pending`. */
  close() {
    if (this.#state === "closed") return;
    const wasEnded = this.#state === "ended";
    this.#stop(new QuickimError("closed", "the client is closed"));
    if (!wasEnded) this.#tell("closed");
  }

  /** Go over to another protocol while messages flow, and prefer it from now on. @param {Protocol} protocol */
  use(protocol) {
    if (!PROTOCOLS.includes(protocol)) return Promise.reject(new TypeError(`protocols are ${PROTOCOLS.join(", ")}`));
    if (!this.#link) return Promise.reject(new QuickimError("closed", "connect first"));
    return this.#link.use(protocol);
  }

  /**
   * Send a message; it takes effect once, however often the connection breaks meanwhile.
   * @param {string} conversation
   * @param {string} content
   * @param {{type?: number, status?: number, clientMsgId?: string}} [more]
   */
  send(conversation, content, { type = 0, status = 0, clientMsgId = newClientMsgId() } = {}) {
    return this.#sends.send({ conversation_id: conversation, content, type, status, client_msg_id: clientMsgId });
  }

  /**
   * Call a public endpoint once, over the WebSocket if there is one, else over HTTP. Rejects with a QuickimError.
   * @param {string} method @param {Record<string, unknown>} [params] @returns {Promise<any>}
   */
  async call(method, params = {}) {
    const stream = this.#link?.current;
    if (stream?.call && !stream.over) return stream.call(method, params);
    const token = await this.#credentials.get();
    try {
      return await post(this.#url, token, method, params, this.#options.answerMs, this.#tap);
    } catch (error) {
      if (!(error instanceof QuickimError && error.isAboutTheToken)) throw error;
      if (!(await this.#credentials.renew(token))) throw error;
      return post(this.#url, await this.#credentials.get(), method, params, this.#options.answerMs, this.#tap);
    }
  }

  /** Resolves with the next connection; rejects when there will be none. @returns {Promise<void>} */
  #connected() {
    return new Promise((resolve, reject) => {
      const off = this.on("state", ({ state, code = state, reason }) => {
        if (state === "connected") resolve();
        else if (state === "closed" || state === "ended") reject(new QuickimError(code, reason));
        else return;
        off();
      });
    });
  }

  /** @type {import("./client/stream.js").Tap} */
  #tap = (direction, protocol, text) => {
    if (this.#listeners.has("frame")) void this.#listeners.tell("frame", { direction, protocol, text });
  };

  #newBackoff() {
    return new Backoff({ firstMs: this.#options.firstPauseMs, longestMs: this.#options.longestPauseMs });
  }

  #newLink() {
    const { protocols, upgradeMs, longestUpgradeMs } = this.#options;
    const backoff = this.#newBackoff();
    return new Link({
      order: [...protocols],
      open: (protocol) => this.#open(protocol, backoff),
      renew: (refused) => this.#credentials.renew(refused),
      gate: () => this.#page.awake(),
      settled: () => this.#delivery.settled(),
      backoff,
      upgrade: { firstMs: upgradeMs, longestMs: longestUpgradeMs },
      tell: (state, more) => this.#tell(state, more),
      end: ({ code, reason }) => {
        this.#stop(new QuickimError("ended", `the server ended it: ${reason}`, { detail: { code, reason } }));
        this.#tell("ended", { code, reason });
        void this.#listeners.tell("ended", { code, reason });
      },
      failed: (error) => this.#listeners.failed(error),
    });
  }

  /** @param {Protocol} protocol @param {Backoff} backoff */
  async #open(protocol, backoff) {
    const since = await this.#delivery.beginning(protocol);
    // The other protocols send the token in a header.
    const ticket = protocol === "ws" && this.#options.useTicket ? (await this.call("ticket")).Ticket : "";
    const token = await this.#credentials.get();
    const sink = this.#delivery.sink();
    const { item } = sink;
    sink.item = (received, isPolled) => {
      // Who is sent away at once has not got through.
      if (received.Event !== "bye") backoff.reset();
      item(received, isPolled);
    };
    const { openMs, pollMs, silenceMs, answerMs } = this.#options;
    return new STREAMS[protocol]({
      url: this.#url,
      token,
      ticket,
      since,
      sink,
      times: { openMs, pollMs, silenceMs, answerMs },
      tap: this.#tap,
      mayPoll: () => this.#page.mayPoll(),
    });
  }

  /** A new token is there: a WebSocket lives on with it, others take it when they ask again. @param {string} token */
  #hand(token) {
    const stream = this.#link?.current;
    stream?.call?.("refresh", { token }).catch((error) => {
      if (!error.isTemporary) this.#listeners.failed(error);
    });
  }

  /** @param {QuickimError} error what still waits to be sent fails with */
  #stop(error) {
    this.#link?.close();
    this.#page.stop();
    this.#credentials.stop();
    this.#sends.end(error);
    if (error.code === "closed") this.#delivery.stop();
  }

  /** @param {string} state @param {{protocol?: Protocol, retryInMs?: number, code?: number, reason?: string}} [more] */
  #tell(state, more = {}) {
    this.#state = state;
    this.#protocol = more.protocol ?? null;
    if (state === "connected") {
      this.#sends.wake();
      void this.#delivery.begun();
    }
    void this.#listeners.tell("state", { state, protocol: this.#protocol, retryInMs: 0, reason: "", ...more });
  }
}
