// One user: his client, what he sees, and beside it what went over the wire.

import { Client, QuickimError } from "../quickim/quickim.js";
import { didCall, issued, listens, masked } from "./commands.js";
import { ask } from "./door.js";
import { append, element, say } from "./elements.js";
import { words } from "./words.js";

/** @typedef {"ws" | "sse" | "poll"} Protocol */

export const PROTOCOLS = /** @type {Protocol[]} */ (["ws", "sse", "poll"]);
const PLATFORM = 1;
const BURST = 20;
const MOST_LINES = 500;
const MOST_FRAMES = 200;
const MOST_FRAME_CHARACTERS = 4_000;
const template = /** @type {HTMLTemplateElement} */ (document.getElementById("pane"));
/** Where there is room for both, the frames stand beside the messages and cannot be folded away. */
const hasRoom = matchMedia("(min-width: 40rem)");
let count = 0;

export class Pane {
  room = "";
  #client;
  #listensOver = "";
  #closing = new AbortController();

  /**
   * @param {string} session
   * @param {Protocol} protocol
   * @param {{notice: (notice: any) => void, closed: (pane: Pane) => void, chose: () => void}} tell
   */
  constructor(session, protocol, tell) {
    this.session = session;
    this.protocol = protocol;
    this.tell = tell;
    this.element = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
    this.#client = new Client(location.origin, () => this.#token(), {
      protocols: [protocol, ...PROTOCOLS.filter((other) => other !== protocol)],
      // Several presses of "Send 20" on a slow machine.
      maxPending: 1_000,
    });
    this.#label();
    this.#obey();
    this.#listen();
  }

  /** Connects, and stays connected. */
  start() {
    this.#client.connect().catch((error) => this.#problem(error));
  }

  /** Shows that conversation, from its last messages on. @param {string} room */
  async enter(room) {
    this.room = room;
    this.#find(".log").replaceChildren();
    this.#problem(null);
    await this.read();
  }

  /** Whether this user can tell: a member reads the conversation's state. @returns {Promise<any>} */
  async detail() {
    return this.#client.detail(this.room).catch(() => null);
  }

  /** Adds what was said lately and is not shown yet; a stranger is shown nothing. */
  async read() {
    const { room } = this;
    if (!room) return;
    try {
      const messages = await this.#client.latest(room);
      if (room === this.room) for (const message of messages) this.#show(message);
    } catch (error) {
      if (/** @type {any} */ (error).code !== 90015) this.#problem(error);
    }
  }

  close() {
    this.#closing.abort();
    this.#client.close();
    this.element.remove();
  }

  /** @param {string} selector @returns {any} */
  #find(selector) {
    return this.element.querySelector(selector);
  }

  #label() {
    const number = count++;
    this.element.classList.add(`user${number % 4}`);
    this.element.dataset.session = this.session;
    this.#find("h2").textContent = this.session;
    this.#find("h2").id = `user-${number}`;
    this.element.setAttribute("aria-labelledby", `user-${number}`);
    this.#find(".face").textContent = [...this.session][0].toUpperCase();
    this.#find(".log").setAttribute("aria-label", words.messagesOf(this.session));
    this.#find(".frames").setAttribute("aria-label", words.framesOf(this.session));
    this.#find(".send input").setAttribute("aria-label", words.writeAs(this.session));
    this.#find(".close").setAttribute("aria-label", words.close(this.session));
    this.#find(".wire").open = hasRoom.matches;
    for (const radio of this.element.querySelectorAll("input[type=radio]")) {
      const choice = /** @type {HTMLInputElement} */ (radio);
      choice.name = `protocol-${number}`;
      choice.checked = choice.value === this.protocol;
      choice.onchange = () => this.#use(/** @type {Protocol} */ (choice.value));
    }
  }

  #obey() {
    const input = this.#find(".send input");
    this.#find(".send").onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      if (!input.value) return;
      this.#send(input.value);
      input.value = "";
    };
    this.#find(".burst").onclick = () => {
      for (let number = 1; number <= BURST; number += 1) this.#send(`${number}/${BURST}`);
    };
    this.#find(".join").onclick = () => this.#call(words.deeds.join(this.session), "join_conversation");
    this.#find(".leave").onclick = () => this.#call(words.deeds.leave(this.session), "leave_conversation");
    hasRoom.addEventListener(
      "change",
      ({ matches }) => { if (matches) this.#find(".wire").open = true; },
      { signal: this.#closing.signal },
    );
    this.#find(".close").onclick = () => this.tell.closed(this);
  }

  #listen() {
    const client = this.#client;
    client.on("message", (message) => {
      if (message.ConversationID === this.room) this.#show(message);
    });
    client.on("notice", (notice) => this.#onNotice(notice));
    client.on("reset", () => this.read());
    client.on("state", ({ state, protocol }) => {
      const said = words.states[/** @type {keyof typeof words.states} */ (state)];
      const place = this.#find(".state");
      place.textContent = protocol ? words.over(said, protocol) : said;
      this.element.dataset.state = state;
      this.element.dataset.protocol = protocol ?? "";
      if (protocol && protocol !== this.#listensOver) listens(this.session, protocol);
      this.#listensOver = protocol ?? this.#listensOver;
    });
    client.on("error", (error) => this.#problem(error));
    client.on("ended", ({ code, reason }) => this.#problem(new QuickimError(code, reason)));
    client.on("frame", ({ direction, protocol, text }) => this.#frame(direction, protocol, text));
  }

  async #token() {
    const token = await ask("get_token", { session: this.session, platform: PLATFORM });
    issued(this.session, PLATFORM, token);
    return token;
  }

  /** @param {Protocol} protocol */
  #use(protocol) {
    this.protocol = protocol;
    this.tell.chose();
    this.#problem(null);
    this.#client.use(protocol).catch((error) => {
      // A later choice is no problem of the earlier one.
      if (this.protocol === protocol) this.#problem(error);
    });
  }

  /** @param {string} content */
  #send(content) {
    if (!this.room) {
      this.#problem({ message: words.noRoom });
      return;
    }
    didCall(words.deeds.send(this.session), this.session, "send_msg", { conversation_id: this.room, content });
    this.#problem(null);
    this.#client.send(this.room, content).catch((error) => this.#problem(error));
  }

  /** @param {string} title @param {string} method */
  async #call(title, method) {
    if (!this.room) return;
    const params = { conversation_id: this.room };
    didCall(title, this.session, method, params);
    this.#problem(null);
    try {
      await this.#client.call(method, params);
    } catch (error) {
      this.#problem(error);
    }
  }

  /** @param {any} notice */
  #onNotice(notice) {
    if (notice.ConversationID !== this.room) return;
    const text = words.notices[/** @type {keyof typeof words.notices} */ (notice.Event)];
    if (text) {
      const who = (notice.Sessions ?? []).join(words.and);
      const line = element("p", { className: "line notice", textContent: text(who) });
      line.dataset.event = notice.Event;
      append(this.#find(".log"), line, null, MOST_LINES);
    }
    if (notice.Event === "message.redacted") this.#takeBack(notice.Target);
    if (notice.Event === "conversation.joined" && notice.Sessions?.includes(this.session)) void this.read();
    this.tell.notice(notice);
  }

  /** @param {any} message */
  #show(message) {
    const log = this.#find(".log");
    const lines = /** @type {HTMLElement[]} */ ([...log.querySelectorAll("[data-seq]")]);
    if (lines.some((line) => line.dataset.seq === String(message.Seq))) return;
    // History and the stream overlap: each message has its place by its number.
    const after = lines.find((line) => Number(line.dataset.seq) > message.Seq) ?? null;
    const isOwn = message.FromSession === this.session;
    const when = new Date(message.SendTime / 1_000);
    const line = element(
      "div",
      { className: isOwn ? "line own" : "line", title: message.MsgId },
      element("p", { className: "from", textContent: message.FromSession || words.system }),
      element("p", { className: "said", textContent: message.Redacted ? words.redacted : message.Content }),
      element("p", { className: "meta" },
        `#${message.Seq} `,
        element("time", { dateTime: when.toISOString(), textContent: when.toLocaleTimeString(document.documentElement.lang) }),
      ),
    );
    line.dataset.seq = message.Seq;
    line.dataset.msgId = message.MsgId;
    append(log, line, after, MOST_LINES);
  }

  /** @param {string} msgId */
  #takeBack(msgId) {
    const said = this.#find(`[data-msg-id="${CSS.escape(msgId)}"] .said`);
    if (said) said.textContent = words.redacted;
  }

  /** @param {"in" | "out"} direction @param {string} protocol @param {string} text */
  #frame(direction, protocol, text) {
    const cut = text.length > MOST_FRAME_CHARACTERS ? `${text.slice(0, MOST_FRAME_CHARACTERS)}…` : text;
    const mark = element("b", { textContent: `${direction === "in" ? "↓" : "↑"} ${protocol}` });
    const frame = element("p", { className: direction }, mark, ` ${masked(cut).trim()}`);
    append(this.#find(".frames"), frame, null, MOST_FRAMES);
  }

  /** @param {any} error null: none */
  #problem(error) {
    // What the door refused names its code itself; words for a code are the library's own.
    const isCoded = error instanceof QuickimError && typeof error.code === "number";
    say(this.#find(":scope > .problem"), isCoded ? `${error.code} ${error.message}` : error?.message ?? "");
  }
}
