// The app's listeners: a failing one is told of, and disturbs nobody else.

const EVENTS = ["message", "notice", "reset", "state", "error", "ended", "frame"];

export class Listeners {
  /** @type {Map<string, Set<(event: any) => unknown>>} */
  #of = new Map(EVENTS.map((name) => [name, new Set()]));

  /** @param {string} name @param {(event: any) => unknown} listener @returns {() => void} */
  add(name, listener) {
    this.#named(name).add(listener);
    return () => this.remove(name, listener);
  }

  /** @param {string} name @param {(event: any) => unknown} listener */
  remove(name, listener) {
    this.#named(name).delete(listener);
  }

  /** Whether anybody listens. @param {string} name */
  has(name) {
    return this.#named(name).size > 0;
  }

  /** Calls all listeners at once and returns when each is done, however it ended. @param {string} name @param {unknown} event */
  async tell(name, event) {
    await Promise.all([...this.#named(name)].map((listener) => this.#call(name, listener, event)));
  }

  /** Something failed that nobody awaits. @param {unknown} error */
  failed(error) {
    if (this.#named("error").size) void this.tell("error", error);
    else report(error);
  }

  /** @param {string} name @param {(event: any) => unknown} listener @param {unknown} event */
  async #call(name, listener, event) {
    try {
      await listener(event);
    } catch (error) {
      // One who fails while he is told of a failure would be told of his own for ever.
      if (name === "error") report(error);
      else this.failed(error);
    }
  }

  /** @param {string} name */
  #named(name) {
    const listeners = this.#of.get(name);
    if (!listeners) throw new TypeError(`there is no event ${name}: there are ${EVENTS.join(", ")}`);
    return listeners;
  }
}

/** As an error that nobody caught; without such a place, it goes to the console. @param {unknown} error */
function report(error) {
  if (typeof reportError === "function") reportError(error);
  else console.error(error);
}
