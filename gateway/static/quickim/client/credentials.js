// The token: who holds it, when a new one is asked for, and whose it is.
//
// Laws: the app's callback is asked by one caller at a time; a token is renewed before it expires by its own length,
// as the clocks of browsers are wrong; whether a token is good is for the server to say.

const LONGEST_TIMER_MS = 24 * 3600 * 1000;
/** A token is renewed when a fifth of its life is left, but no earlier than that long before its end. */
const EARLIEST_MS = 60_000;

/** The claims of a token, unverified; {} when it cannot be read. @param {string} token @returns {Record<string, any>} */
export function claimsOf(token) {
  try {
    const text = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (character) => character.charCodeAt(0))));
  } catch {
    return {};
  }
}

/** How long this token lives from now on, in milliseconds, as far as can be told. @param {Record<string, any>} claims */
function lifeMs(claims) {
  if (typeof claims.exp !== "number") return Infinity;
  return (claims.exp - (typeof claims.iat === "number" ? claims.iat : Date.now() / 1000)) * 1000;
}

export class Credentials {
  #token = "";
  /** @type {Promise<boolean> | null} */
  #asking = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {string | (() => string | Promise<string>)} source a token, or what gives one
   * @param {{renewed: (token: string) => void, failed: (error: unknown) => void}} tell
   */
  constructor(source, tell) {
    this.source = source;
    this.tell = tell;
    if (typeof source === "string") this.#token = source;
  }

  /** Whether a new token can be had. */
  get canRenew() {
    return typeof this.source === "function";
  }

  /** The session that the token names; "" before there is one. */
  get session() {
    const { sid } = claimsOf(this.#token);
    return typeof sid === "string" ? sid : "";
  }

  /** The token to use. Throws what the app's callback throws. */
  async get() {
    if (!this.#token) await this.renew("");
    return this.#token;
  }

  /**
   * Ask for a new token in place of `refused`; false when there is no other. Throws what the app's callback throws.
   * @param {string} refused
   */
  async renew(refused) {
    if (!this.canRenew) return false;
    // Somebody else was faster.
    if (this.#token !== refused) return true;
    this.#asking ??= this.#ask().finally(() => { this.#asking = null; });
    return this.#asking;
  }

  /** No timer is left behind. */
  stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #ask() {
    const before = this.#token;
    const token = await /** @type {() => string | Promise<string>} */ (this.source)();
    if (typeof token !== "string" || !token) throw new TypeError("the token callback returned no token");
    this.#token = token;
    const life = lifeMs(claimsOf(token));
    // A life that is over by our clock says that the clock is wrong: the server will tell.
    if (life > 0 && life < Infinity) this.#renewIn(life - Math.min(life / 5, EARLIEST_MS));
    if (before) this.tell.renewed(token);
    return token !== before;
  }

  /** @param {number} ms */
  #renewIn(ms) {
    this.stop();
    const step = Math.min(ms, LONGEST_TIMER_MS);
    this.#timer = setTimeout(() => {
      if (ms > step) this.#renewIn(ms - step);
      else this.renew(this.#token).catch((error) => {
        this.tell.failed(error);
        this.#renewIn(Math.max(1000, EARLIEST_MS / 10));
      });
    }, step);
  }
}
