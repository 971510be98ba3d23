// The server's side door for this page: what a product's back end does by /inner, POSTed to /playground.
//
// Only this server's own page may (gateway/playground/admission.py): the browser itself says who asks, in `Origin`.

import { words } from "./words.js";

const NOT_ALLOWED = 10003;
export const NOT_FOUND = 90014;

export class Refused extends Error {
  /** @param {number} code 0 when there was no answer @param {string} message */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** The API key for the door, if one is needed: kept here and nowhere else. */
let key = "";

/** @param {string} text */
export function setKey(text) {
  key = text;
}

/** Whether commands need a key as well. */
export function hasKey() {
  return key !== "";
}

/** What the deed answers. Throws Refused. @param {string} deed @param {object} params @returns {Promise<any>} */
export async function ask(deed, params) {
  /** @type {Record<string, string>} */
  const headers = { "Content-Type": "application/json" };
  if (key) headers["X-Api-Key"] = key;
  let answer;
  try {
    const body = JSON.stringify(params);
    const response = await fetch(`/playground/${deed}`, { method: "POST", headers, body, credentials: "omit" });
    answer = await response.json();
  } catch {
    throw new Refused(0, words.offline);
  }
  if (answer.code === NOT_ALLOWED) throw new Refused(answer.code, words.refused);
  if (answer.code !== 0) throw new Refused(answer.code, `${answer.code} ${answer.error}`);
  return answer.data;
}
