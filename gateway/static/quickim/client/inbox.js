// What came and waits for the app: handled one by one, in order, each when the one before is done.

/** @template T */
export class Inbox {
  /** @type {T[]} */
  #waiting = [];
  #isRunning = false;
  /** @type {(() => void)[]} */
  #watchers = [];

  /**
   * @param {(entry: T) => Promise<void>} handle must not throw
   * @param {number} limit entries that may wait
   */
  constructor(handle, limit) {
    this.handle = handle;
    this.limit = limit;
  }

  /** Whether another entry may be put in. */
  get hasRoom() {
    return this.#waiting.length < this.limit;
  }

  /** Append an entry; the caller has looked at `hasRoom`, or waited for it. @param {T} entry */
  put(entry) {
    this.#waiting.push(entry);
    if (!this.#isRunning) void this.#run();
  }

  /** Returns when another entry may be put in. */
  async room() {
    while (!this.hasRoom) await this.#changed();
  }

  /** Returns when everything was handled. */
  async idle() {
    while (this.#isRunning) await this.#changed();
  }

  /** Forget what waits; what is being handled goes on. */
  clear() {
    this.#waiting.length = 0;
  }

  async #run() {
    this.#isRunning = true;
    while (this.#waiting.length) {
      await this.handle(/** @type {T} */ (this.#waiting.shift()));
      this.#tell();
    }
    this.#isRunning = false;
    this.#tell();
  }

  #changed() {
    return new Promise((resolve) => this.#watchers.push(() => resolve(undefined)));
  }

  #tell() {
    for (const watcher of this.#watchers.splice(0)) watcher();
  }
}
