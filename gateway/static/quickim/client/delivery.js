// From the streams to the app: each message once, in order, the next when the listeners of the one before are done.
//
// Law: the cursor moves when a message's listeners have returned, and by nothing else but a poll's Cursor and a reset.

import { Inbox } from "./inbox.js";
import { BEFORE_ALL, Progress } from "./progress.js";

/** Conversations that are looked at to find where the session stands: one, unless the newest are empty. */
const MOST_LOOKED_AT = 10;

export class Delivery {
  /** Whether a connection began "now": without a place to come back to, the next one would begin later. */
  #hasBegunNow = false;
  /** @type {string[]} */
  #joinedInAnswer = [];
  /** @type {Inbox<() => Promise<void>>} */
  #inbox;

  /**
   * @param {object} parts
   * @param {string} parts.cursor
   * @param {number} parts.limit entries that may wait
   * @param {import("./listeners.js").Listeners} parts.listeners
   * @param {import("./calls.js").Calls} parts.calls
   * @param {() => string} parts.session whose messages these are
   */
  constructor({ cursor, limit, listeners, calls, session }) {
    this.listeners = listeners;
    this.calls = calls;
    this.session = session;
    this.progress = new Progress(cursor);
    this.#inbox = new Inbox((work) => work(), limit);
  }

  /** Go on from `cursor`; what waits is dropped, as it may lie before it. @param {string} cursor */
  goOnFrom(cursor) {
    this.progress = new Progress(cursor);
    this.#hasBegunNow = false;
    this.#inbox.clear();
  }

  /** Nothing more is told. */
  stop() {
    this.#inbox.clear();
  }

  /** Everything that came was told. */
  settled() {
    return this.#inbox.idle();
  }

  /**
   * Where a stream of this protocol is to begin. Before the very first, finds where the session stands: a stream
   * begins now without a cursor, but one that breaks before its first message needs a place to come back to.
   * Throws QuickimError.
   * @param {"ws" | "sse" | "poll"} protocol
   */
  async beginning(protocol) {
    const { progress } = this;
    if (!progress.cursor && !this.#hasBegunNow) {
      progress.start = await this.#position().catch((error) => {
        // Where calls do not get through, a WebSocket may: without a place to come back to.
        if (error.isTemporary || error.code === "http") return "";
        throw error;
      });
    }
    // A poll is a chain: already its first link needs one.
    return this.#hasBegunNow || progress.hasBegun || protocol === "poll" ? progress.cursor : "";
  }

  /** A stream is up. */
  async begun() {
    const { progress } = this;
    const isLost = this.#hasBegunNow && !progress.cursor;
    this.#hasBegunNow = true;
    // Between two streams that both began "now" there may be anything.
    if (isLost) await this.listeners.tell("reset", { conversation: null, after: 0, before: 0 });
  }

  /** Where a stream puts what it brings. @returns {import("./stream.js").Sink} */
  sink() {
    const { progress } = this;
    /** @param {() => Promise<void>} work */
    const put = (work) => this.#inbox.put(async () => {
      // The app has set another cursor since.
      if (progress === this.progress) await work();
    });
    return {
      hasRoom: () => this.#inbox.hasRoom,
      room: () => this.#inbox.room(),
      idle: () => this.#inbox.idle(),
      item: (item, isPolled) => put(() => ("MsgId" in item ? this.#message(item) : this.#notice(item, isPolled))),
      cursor: (cursor) => put(async () => {
        progress.doneUpTo(cursor);
        // An answer tells notices apart from messages: which came first is not known.
        for (const conversation of this.#joinedInAnswer.splice(0)) progress.joined(conversation);
      }),
    };
  }

  /** @param {any} message */
  async #message(message) {
    const { progress } = this;
    if (!progress.isNew(message)) return;
    const after = progress.gapBefore(message);
    if (after) {
      const { ConversationID: conversation, Seq: before } = message;
      await this.listeners.tell("reset", { conversation, after, before });
    }
    await this.listeners.tell("message", message);
    progress.done(message);
  }

  /** @param {any} notice @param {boolean} isPolled */
  async #notice(notice, isPolled) {
    if (notice.Event === "reset") {
      // First where it goes on, then the app reads history: what is committed in between is in both, not in neither.
      this.progress.restart(isPolled ? "" : await this.#position().catch(() => ""));
      await this.listeners.tell("reset", { conversation: null, after: 0, before: 0 });
      return;
    }
    if (notice.Event === "conversation.joined" && notice.Sessions?.includes(this.session())) {
      this.progress.joined(notice.ConversationID);
      if (isPolled) this.#joinedInAnswer.push(notice.ConversationID);
    }
    await this.listeners.tell("notice", notice);
  }

  /** The newest MsgId of all conversations; "" when that takes too long to find. */
  async #position() {
    const conversations = await this.calls.conversations();
    for (const conversation of conversations.slice(0, MOST_LOOKED_AT)) {
      // The session may leave in this moment.
      const msgId = await this.calls.lastMsgId(conversation).catch((/** @type {any} */ error) => {
        if (error.isTemporary) throw error;
        return "";
      });
      if (msgId) return msgId;
    }
    return conversations.length > MOST_LOOKED_AT ? "" : BEFORE_ALL;
  }
}
