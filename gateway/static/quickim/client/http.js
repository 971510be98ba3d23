// Calls over HTTP: one envelope, one kind of error.

import { QuickimError } from "./errors.js";

/** Milliseconds of a Retry-After header; 0 without a number of seconds. @param {Response} response */
function retryAfterMs(response) {
  const seconds = Number(response.headers.get("Retry-After"));
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 0;
}

/** Path and query of an address. @param {string} address */
export function pathOf(address) {
  const { pathname, search } = new URL(address, "http://localhost");
  return pathname + search;
}

/**
 * What an answer's envelope holds. Throws QuickimError for a failure.
 * @param {Response} response @param {(text: string) => void} heard is shown it first @returns {Promise<any>}
 */
export async function dataOf(response, heard) {
  const text = await response.text();
  heard(text);
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // A page of somebody in between: told below.
  }
  const more = { status: response.status, retryAfterMs: retryAfterMs(response), detail: body?.detail ?? {} };
  if (typeof body?.code !== "number") {
    throw new QuickimError("http", `answered with status ${response.status}, not by quickim`, more);
  }
  if (body.code !== 0) throw new QuickimError(body.code, body.error, more);
  return body.data;
}

/**
 * Work that ends with its time, or with `signal`. Throws QuickimError "timeout" or "network" for whatever is no answer.
 * @template T
 * @param {number} ms
 * @param {AbortSignal | null} signal
 * @param {(options: RequestInit) => Promise<T>} work
 */
export async function within(ms, signal, work) {
  const limit = new AbortController();
  const end = () => limit.abort();
  const timer = setTimeout(end, ms);
  signal?.addEventListener("abort", end);
  if (signal?.aborted) end();
  try {
    return await work({ cache: "no-store", credentials: "omit", signal: limit.signal });
  } catch (cause) {
    if (cause instanceof QuickimError) throw cause;
    const isLate = limit.signal.aborted && !signal?.aborted;
    throw new QuickimError(isLate ? "timeout" : "network", isLate ? "no answer in time" : "no connection", { cause });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
  }
}

/**
 * One call of a public endpoint. Throws QuickimError.
 * @param {string} url
 * @param {string} token
 * @param {string} method
 * @param {object} params
 * @param {number} ms
 * @param {import("./stream.js").Tap} tap
 * @returns {Promise<any>}
 */
export function post(url, token, method, params, ms, tap) {
  const address = `${url}/${method}`;
  const body = JSON.stringify(params);
  tap("out", "http", `POST ${pathOf(address)} ${body}`);
  return within(ms, null, async (options) => {
    const headers = { Authorization: `Bearer ${token}` };
    const response = await fetch(address, { ...options, method: "POST", headers, body });
    return dataOf(response, (text) => tap("in", "http", text));
  });
}
