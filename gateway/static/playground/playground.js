// The playground: users side by side in one conversation, and above them what the product's back end may do.
//
// The browser remembers the conversation, the users and their protocols; tokens and keys live as long as the page.

import { didInner } from "./commands.js";
import { ask, NOT_FOUND, setKey } from "./door.js";
import { element, say } from "./elements.js";
import { Pane, PROTOCOLS } from "./pane.js";
import { words } from "./words.js";

const KEPT = "quickim playground";
/** A browser opens six connections to a server: a stream or a poll each, and some for calls. */
const MOST_USERS = 4;
const CONVERSATION_TYPE = 1;
const FIRST = { room: "", people: [{ session: "alice", protocol: "ws" }, { session: "bob", protocol: "sse" }] };

/** @param {string} id @returns {any} */
const byId = (id) => document.getElementById(id);

/** @type {Pane[]} */
const panes = [];
/** @type {string[]} */
let members = [];
let room = "";
let isArchived = false;
let isLooking = false;
let mustLookAgain = false;

/** @returns {{room: string, people: {session: string, protocol: string}[]}} */
function remembered() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT) ?? "");
    if (typeof kept.room === "string" && kept.people.length) return kept;
  } catch {
    // Nothing was kept, or the browser keeps nothing.
  }
  return FIRST;
}

function remember() {
  const people = panes.map(({ session, protocol }) => ({ session, protocol }));
  try {
    localStorage.setItem(KEPT, JSON.stringify({ room, people }));
  } catch {
    // The browser keeps nothing: the page begins anew next time.
  }
}

/** Does something, and says what went wrong. @param {() => Promise<unknown>} deed */
async function attempt(deed) {
  try {
    await deed();
    say(byId("problem"), "");
  } catch (error) {
    say(byId("problem"), /** @type {Error} */ (error).message);
  }
}

/** As the product's back end. @param {string} title @param {string} deed @param {object} params */
async function act(title, deed, params) {
  didInner(title, deed, params);
  return ask(deed, params);
}

/** @param {string} session @param {string} protocol */
function addUser(session, protocol) {
  const known = PROTOCOLS.find((name) => name === protocol) ?? "ws";
  const pane = new Pane(session, known, { notice: onNotice, closed: removeUser, chose: remember });
  panes.push(pane);
  byId("panes").append(pane.element);
  pane.start();
  return pane;
}

/** @param {Pane} pane */
function removeUser(pane) {
  panes.splice(panes.indexOf(pane), 1);
  pane.close();
  remember();
  showMembers();
  byId("name").focus();
}

async function create() {
  const sessions = panes.map((pane) => pane.session);
  const params = { conversation_type: CONVERSATION_TYPE, sessions };
  const { ConversationId } = await act(words.deeds.create(), "create_conversation", params);
  await open(ConversationId);
}

/** Shows a conversation to everybody here. Throws Refused. @param {string} id */
async function open(id) {
  members = await membersOf(id);
  room = id;
  byId("room").value = id;
  isArchived = false;
  remember();
  showMembers();
  await Promise.all(panes.map((pane) => pane.enter(id)));
  const reader = panes.find((pane) => members.includes(pane.session));
  const detail = await reader?.detail();
  if (room === id && detail) showArchived(detail.IsArchive);
}

/** @param {string} id @returns {Promise<string[]>} */
async function membersOf(id) {
  const { Members } = await ask("get_conversation_members", { conversation_id: id });
  return Members.map((/** @type {{SessionId: string}} */ member) => member.SessionId);
}

/** @param {any} notice */
function onNotice(notice) {
  if (notice.Event === "conversation.archived") showArchived(true);
  if (notice.Event === "conversation.unarchived") showArchived(false);
  if (notice.Event === "conversation.joined" || notice.Event === "conversation.left") void look();
}

/** Who is a member now: once at a time, however many notices come. */
async function look() {
  mustLookAgain = true;
  if (isLooking) return;
  isLooking = true;
  while (mustLookAgain) {
    mustLookAgain = false;
    const asked = room;
    await attempt(async () => {
      const found = await membersOf(asked);
      if (asked === room) members = found;
    });
    showMembers();
  }
  isLooking = false;
}

/** @param {boolean} now */
function showArchived(now) {
  isArchived = now;
  byId("archived").hidden = !now;
  byId("archive").setAttribute("aria-pressed", String(now));
}

function showMembers() {
  const strangers = panes.map((pane) => pane.session).filter((session) => !members.includes(session));
  const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.member;
  const rows = [
    ...members.map((session) => memberRow(session, words.kick, words.kickWho(session), "kickout_conversation", words.deeds.kick(session))),
    ...strangers.map((session) => memberRow(session, words.admit, words.admitWho(session), "join_conversation", words.deeds.admit(session))),
  ];
  byId("members").replaceChildren(...rows);
  // Who pressed a button finds himself on its successor, not at the top of the page.
  if (focused !== undefined) rows.map((row) => row.lastElementChild).find((button) => button.dataset.member === focused)?.focus();
}

/** @param {string} session @param {string} text @param {string} label @param {string} deed @param {string} title */
function memberRow(session, text, label, deed, title) {
  const button = element("button", { type: "button", textContent: text });
  button.setAttribute("aria-label", label);
  button.dataset.member = session;
  button.onclick = () => attempt(async () => {
    await act(title, deed, { conversation_id: room, sessions: [session] });
    await look();
  });
  const isMember = members.includes(session);
  return element("li", { className: isMember ? "" : "stranger" }, element("span", { textContent: session }), button);
}

async function begin() {
  const kept = remembered();
  if (!panes.length) for (const { session, protocol } of kept.people.slice(0, MOST_USERS)) addUser(session, protocol);
  if (!kept.room) return create();
  try {
    await open(kept.room);
  } catch (error) {
    if (/** @type {any} */ (error).code !== NOT_FOUND) throw error;
    await create();
  }
}

byId("create").onclick = () => attempt(create);
byId("archive").onclick = () => attempt(async () => {
  if (!room) throw new Error(words.noRoom);
  const is_archive = !isArchived;
  const title = is_archive ? words.deeds.archive() : words.deeds.unarchive();
  await act(title, "set_archive_conversations", { conversation_ids: [room], is_archive });
  showArchived(is_archive);
});
byId("open").onsubmit = (/** @type {Event} */ event) => {
  event.preventDefault();
  const id = byId("room").value.trim();
  if (id) void attempt(() => open(id));
};
byId("add").onsubmit = (/** @type {Event} */ event) => {
  event.preventDefault();
  const session = byId("name").value.trim();
  if (!session) return;
  if (panes.length >= MOST_USERS) say(byId("problem"), words.full);
  else if (panes.some((pane) => pane.session === session)) say(byId("problem"), words.twice(session));
  else {
    byId("name").value = "";
    const pane = addUser(session, "poll");
    remember();
    showMembers();
    void attempt(() => pane.enter(room));
  }
};
byId("key").onsubmit = (/** @type {Event} */ event) => {
  event.preventDefault();
  setKey(byId("key-text").value.trim());
  // Whoever was refused without the key begins again with it.
  for (const pane of panes.splice(0)) pane.close();
  void attempt(begin);
};
if (byId("key").hidden) void attempt(begin);
else byId("key-text").focus();
