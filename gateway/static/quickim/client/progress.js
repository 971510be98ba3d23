// Where a client stands: what it has processed, which cursor says so, and what is a repeat or a gap. Pure.
//
// Laws: every MsgId of a processed message is a sound cursor, and so is a poll's Cursor once all of its answer is
// processed; a repeat moves nothing; a conversation's Seq rises by one, unless the session left and joined again.

/** So many conversations, those that moved last, are remembered; repeats reach back ten seconds only. */
const REMEMBERED_CONVERSATIONS = 10_000;

/**
 * The lowest MsgId there is: for whoever was there before any message.
 */
export const BEFORE_ALL = "22222-2222-2222-222";
const MSG_ID = /^[2-9A-HJ-NP-Z]{5}-[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{3}$/;

export class Progress {
  /** @type {Map<string, {seq: number, mayJump: boolean}>} */
  #seen = new Map();
  #cursor;

  /**
   * @param {string} [cursor] where to go on; "" begins now
   * @param {number} [limit] how many conversations are remembered
   */
  constructor(cursor = "", limit = REMEMBERED_CONVERSATIONS) {
    this.#cursor = cursor;
    this.limit = limit;
    /** Where to come back to as long as nothing was processed. */
    this.start = "";
  }

  /** Where to go on; "" when that is not known. */
  get cursor() {
    return this.#cursor || this.start;
  }

  /** Whether anything was processed, or a cursor was given. */
  get hasBegun() {
    return this.#cursor !== "";
  }

  /** Whether this message was not processed before. @param {{ConversationID: string, Seq: number}} message */
  isNew(message) {
    const seen = this.#seen.get(message.ConversationID);
    return seen === undefined || message.Seq > seen.seq;
  }

  /** The Seq after which something is missing before this message; 0 when nothing is. @param {{ConversationID: string, Seq: number}} message */
  gapBefore(message) {
    const seen = this.#seen.get(message.ConversationID);
    return seen === undefined || seen.mayJump || message.Seq === seen.seq + 1 ? 0 : seen.seq;
  }

  /** A message was processed. @param {{ConversationID: string, Seq: number, MsgId: string}} message */
  done(message) {
    this.#seen.delete(message.ConversationID);
    this.#seen.set(message.ConversationID, { seq: message.Seq, mayJump: false });
    for (const oldest of this.#seen.keys()) {
      if (this.#seen.size <= this.limit) break;
      this.#seen.delete(oldest);
    }
    // Two streams may overlap for a moment; plain comparison of MsgIds is time order.
    if (!MSG_ID.test(this.#cursor) || message.MsgId > this.#cursor) this.#cursor = message.MsgId;
  }

  /** All of a poll's answer was processed. @param {string} cursor */
  doneUpTo(cursor) {
    this.#cursor = cursor;
  }

  /** The session joined this conversation (again): its next message may have any higher Seq. @param {string} conversation */
  joined(conversation) {
    const seen = this.#seen.get(conversation);
    if (seen !== undefined) seen.mayJump = true;
  }

  /** What was missed does not come: go on from `cursor` ("" when that is not known), with nothing seen. @param {string} cursor */
  restart(cursor) {
    this.#seen.clear();
    if (cursor) this.#cursor = cursor;
  }
}
