// Pauses between attempts: doubling up to a limit, with randomness, so that clients do not come back all at once.

/** Pure: it counts, the caller waits. */
export class Backoff {
  #limitMs = 0;

  /** @param {{firstMs?: number, longestMs?: number, random?: () => number}} [options] */
  constructor({ firstMs = 250, longestMs = 15_000, random = Math.random } = {}) {
    this.firstMs = firstMs;
    this.longestMs = longestMs;
    this.random = random;
  }

  /** The next pause in milliseconds: `leastMs`, and then half to all of the present limit. @param {number} [leastMs] */
  next(leastMs = 0) {
    this.#limitMs = Math.min(Math.max(this.#limitMs * 2, this.firstMs), this.longestMs);
    return leastMs + (0.5 + this.random() / 2) * this.#limitMs;
  }

  /** Something worked: the next pause is the shortest again. */
  reset() {
    this.#limitMs = 0;
  }
}

/** The longest that browsers' timers hold. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** A pause that can be cut short by `wake`. */
export class Rest {
  /** @type {(() => void) | null} */
  #wake = null;

  /** @param {number} ms @returns {Promise<void>} */
  async sleep(ms) {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.min(ms, LONGEST_TIMER_MS));
      this.#wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
    this.#wake = null;
  }

  /** Whoever sleeps goes on at once. */
  wake() {
    this.#wake?.();
  }
}
