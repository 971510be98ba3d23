// What was done on the page, as commands for a terminal; a token stands there only for who asks to see it.

import { hasKey } from "./door.js";
import { element } from "./elements.js";
import { words } from "./words.js";

const MOST = 30;
const place = /** @type {HTMLElement} */ (document.getElementById("commands"));
const base = document.body.dataset.base ?? location.origin;
/** The present token of each session, kept in memory. @type {Map<string, string>} */
const tokens = new Map();

/** Anything as one word of a shell. @param {string} text */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** The shell variable of each session, given once: two names may come down to the same letters. @type {Map<string, string>} */
const variables = new Map();

/** The shell variable that holds a session's token. @param {string} session */
function variable(session) {
  let name = variables.get(session);
  if (!name) {
    const letters = session.toUpperCase().replace(/[^A-Z0-9]+/g, "_").replace(/^_|_$/g, "");
    const plain = letters ? `TOKEN_${letters}` : "TOKEN";
    const taken = new Set(variables.values());
    name = plain;
    for (let number = 2; taken.has(name); number += 1) name = `${plain}_${number}`;
    variables.set(session, name);
  }
  return name;
}

/** Tokens that a text happens to hold are not shown. @param {string} text */
export function masked(text) {
  for (const token of tokens.values()) text = text.replaceAll(token, "•••");
  return text;
}

/** A new token; its command comes once, as the others refer to its variable. @param {string} session @param {number} platform @param {string} token */
export function issued(session, platform, token) {
  const isFirst = !tokens.has(session);
  tokens.set(session, token);
  if (!isFirst) return;
  const ask = inner("get_token", { session, platform });
  show(words.deeds.token(session), () => `${variable(session)}=$(${ask} | sed 's/.*"data":"//; s/".*//')`, "");
}

/** A deed of the product's back end. @param {string} title @param {string} deed @param {object} params */
export function didInner(title, deed, params) {
  show(title, () => inner(deed, params), "");
}

/** A call of a session. @param {string} title @param {string} session @param {string} method @param {object} params */
export function didCall(title, session, method, params) {
  show(title, (token) => `curl -s ${base}/${method} -H "Authorization: Bearer ${token}" -d ${quoted(JSON.stringify(params))}`, session);
}

/** A session listens. @param {string} session @param {string} protocol */
export function listens(session, protocol) {
  show(
    words.deeds.listen(session, protocol),
    (token) =>
      protocol === "ws"
        ? `.venv/bin/python -m websockets "${base.replace(/^http/, "ws")}/notify?token=${token}"`
        : `curl -s${protocol === "sse" ? "N" : ""} "${base}/notify?protoc=${protocol}" -H "Authorization: Bearer ${token}"`,
    session,
  );
}

/** @param {string} deed @param {object} params */
function inner(deed, params) {
  const key = hasKey() ? ` -H "X-Api-Key: $KEY"` : "";
  return `curl -s ${base}/inner/${deed}${key} -d ${quoted(JSON.stringify(params))}`;
}

/** @param {string} title @param {(token: string) => string} command @param {string} session whose token it needs; "" for none */
function show(title, command, session) {
  const hidden = command(session && `$${variable(session)}`);
  const pre = element("pre", { textContent: hidden, tabIndex: 0 });
  const copy = element("button", { type: "button", textContent: words.copy, onclick: () => void copyText(pre, copy) });
  const buttons = element("span", { className: "buttons" }, copy);
  copy.setAttribute("aria-label", `${words.copy}: ${title}`);
  if (session) {
    const reveal = element("button", { type: "button", textContent: words.show });
    reveal.setAttribute("aria-pressed", "false");
    reveal.onclick = () => {
      const isShown = reveal.getAttribute("aria-pressed") === "true";
      reveal.setAttribute("aria-pressed", String(!isShown));
      reveal.textContent = isShown ? words.show : words.hide;
      pre.textContent = isShown ? hidden : command(tokens.get(session) ?? "");
    };
    buttons.prepend(reveal);
  }
  place.prepend(element("li", {}, element("strong", { textContent: title }), buttons, pre));
  while (place.childElementCount > MOST) place.lastElementChild?.remove();
}

/** @param {HTMLElement} pre @param {HTMLElement} button */
async function copyText(pre, button) {
  try {
    await navigator.clipboard.writeText(pre.textContent ?? "");
    button.textContent = words.copied;
  } catch {
    // Without https or permission there is no clipboard: select, so that one key does the rest.
    getSelection()?.selectAllChildren(pre);
    button.textContent = words.selected;
  }
  setTimeout(() => { button.textContent = words.copy; }, 1500);
}
