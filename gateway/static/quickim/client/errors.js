// What a call or a connection can fail with, and what its failure means for whoever tries again.

/** Close codes from here to 4999 say: stop, the same would be refused again. */
const FIRST_STOP_CODE = 4500;
const TOKEN_EXPIRED = 4002;
const TOKEN_REFUSED = 4501;
const TOKEN_REVOKED = 4503;
/** Another token may help: the app is asked for one, and without one it is over. */
const RENEWING = new Set([TOKEN_EXPIRED, TOKEN_REFUSED, TOKEN_REVOKED]);
const INVALID_TOKEN = 10101;
/** Statuses by which a server or a proxy says "later". */
const LATER = new Set([408, 425, 429]);

/**
 * A call that failed. `code` is the server's number, or a word when the server did not decide: "network" (nobody
 * knows whether it took effect), "timeout" (the same), "queue-full", "closed", "ended", "http" (somebody in between
 * answered: see `status`).
 */
export class QuickimError extends Error {
  /**
   * @param {number|string} code
   * @param {string} text
   * @param {{status?: number, detail?: Record<string, unknown>, retryAfterMs?: number, cause?: unknown}} [more]
   */
  constructor(code, text, { status = 0, detail = {}, retryAfterMs = 0, cause } = {}) {
    super(text, cause === undefined ? undefined : { cause });
    this.name = "QuickimError";
    this.code = code;
    this.status = status;
    this.detail = detail;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same call may be answered differently later; a send may then be repeated with its client_msg_id. */
  get isTemporary() {
    if (this.code === "network" || this.code === "timeout") return true;
    // Over a WebSocket there is no status; 10002 is the server's own failure, 10007 too many.
    return this.code === 10002 || this.code === 10007 || this.status >= 500 || LATER.has(this.status);
  }

  /** Whether the token was refused. */
  get isAboutTheToken() {
    return this.code === INVALID_TOKEN;
  }
}

/**
 * Why a connection ended or could not be opened.
 * @typedef {object} Ending
 * @property {number} code the close code, or the error code of an HTTP refusal; 0 when nobody said anything
 * @property {string} reason
 * @property {boolean} stops the server said: do not come back
 * @property {boolean} renews it was the token: a new one may be taken
 * @property {boolean} blocked no quickim server spoke: another protocol may get through
 * @property {boolean} asked it was ended on this side, to begin anew at once
 * @property {boolean} overflows the app was too slow: what came has to be processed first
 * @property {number} leastMs how long to wait at least before the next attempt
 */

/** @param {Partial<Ending>} fields @returns {Ending} */
export function ending(fields) {
  const nothing = { code: 0, reason: "", leastMs: 0 };
  return { ...nothing, stops: false, renews: false, blocked: false, asked: false, overflows: false, ...fields };
}

/** The end that a `bye` notice announces. @param {{Code: number, Reason: string, Reconnect: boolean, RetryAfterMs: number}} bye */
export function endingOfBye(bye) {
  const renews = RENEWING.has(bye.Code);
  const stops = !renews && (bye.Reconnect === false || bye.Code >= FIRST_STOP_CODE);
  return ending({ code: bye.Code, reason: bye.Reason, stops, renews, leastMs: Math.max(0, bye.RetryAfterMs || 0) });
}

/** The end of a WebSocket that was open and was told nothing else. @param {number} code @param {string} reason */
export function endingOfClose(code, reason) {
  const renews = RENEWING.has(code);
  // 1009: a frame of ours was too large, and it would be so again.
  const stops = !renews && ((code >= FIRST_STOP_CODE && code < 5000) || code === 1009);
  return ending({ code, reason: reason || "connection lost", stops, renews });
}

/** The end that a refused `/notify` over HTTP means. @param {QuickimError} error */
export function endingOfError(error) {
  const code = typeof error.code === "number" ? error.code : 0;
  const fields = { code, reason: error.message, leastMs: error.retryAfterMs };
  if (error.isAboutTheToken) return ending({ ...fields, renews: true });
  if (code && error.isTemporary) return ending(fields);
  // A page of a proxy, a lost network: no word of the server.
  return ending({ ...fields, stops: code !== 0, blocked: code === 0 });
}
