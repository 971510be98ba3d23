// The page around a client: whether it is seen, whether there is a network. Outside a browser: seen, and online.

import { Rest } from "./backoff.js";

const hasPage = typeof document !== "undefined";

export class Page {
  /** @type {(() => void)[]} */
  #detach = [];
  #rest = new Rest();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #isAsleep = false;
  /** @type {(() => void)[]} */
  #sleepers = [];

  /**
   * @param {object} parts
   * @param {"slow" | "pause" | "keep"} parts.whenHidden
   * @param {number} parts.hiddenMs how long hidden before it pauses, and the pause between two polls while hidden
   * @param {() => void} parts.woke seen again, or online again
   * @param {() => void} parts.slept the page has been hidden for long enough: connections are to end
   * @param {() => void} parts.offline the browser says that the network is gone
   */
  constructor(parts) {
    this.parts = parts;
  }

  /** Listens to the browser until `stop`. */
  start() {
    if (!hasPage || this.#detach.length) return;
    const listen = (/** @type {EventTarget} */ target, /** @type {string} */ name, /** @type {(event: Event) => void} */ listener) => {
      target.addEventListener(name, listener);
      this.#detach.push(() => target.removeEventListener(name, listener));
    };
    listen(document, "visibilitychange", () => this.#onVisibility());
    listen(window, "online", () => this.#wake());
    listen(window, "offline", () => this.parts.offline());
    // A page that the browser had frozen may come back with dead connections.
    listen(window, "pageshow", (event) => /** @type {PageTransitionEvent} */ (event).persisted && this.#wake());
    if (document.hidden) this.#onVisibility();
  }

  /** Listens no more; nobody waits any longer. */
  stop() {
    for (const detach of this.#detach.splice(0)) detach();
    clearTimeout(this.#timer);
    this.#wake(true);
  }

  /** Resolves when a connection is wanted. */
  async awake() {
    while (this.#isAsleep) await new Promise((resolve) => this.#sleepers.push(() => resolve(undefined)));
  }

  /** Resolves when the next poll may go out. */
  async mayPoll() {
    if (this.parts.whenHidden !== "keep" && hasPage && document.hidden) await this.#rest.sleep(this.parts.hiddenMs);
  }

  #onVisibility() {
    clearTimeout(this.#timer);
    if (!document.hidden) {
      this.#wake();
    } else if (this.parts.whenHidden === "pause") {
      this.#timer = setTimeout(() => {
        this.#isAsleep = true;
        this.parts.slept();
      }, this.parts.hiddenMs);
    }
  }

  #wake(isSilent = false) {
    this.#isAsleep = false;
    this.#rest.wake();
    for (const sleeper of this.#sleepers.splice(0)) sleeper();
    if (!isSilent) this.parts.woke();
  }
}
