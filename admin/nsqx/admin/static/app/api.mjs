/** Requests to the dashboard's own API (docs/admin-api.md). */

import { BASE } from "./page-settings.mjs";

const SECONDS_MAX = 30;

/** What the server refused, with its words for people. */
export class ApiError extends Error {
  constructor(status, code, detail, body = null) {
    super(detail || code || `status ${status}`);
    /** All that was answered. */
    this.body = body;
    this.status = status;
    this.code = code;
  }
}

export function apiUrl(path) {
  return `${BASE}api/v2/${path}`;
}

export async function getJson(path) {
  return answer(await send(path, {}));
}

/** The bytes that are there, whatever they are. */
export async function getBytes(path) {
  const response = await send(path, {});
  if (!response.ok) return answer(response);
  return new Uint8Array(await response.arrayBuffer().catch(() => { throw new ApiError(0, "NO_ANSWER", "The answer broke off"); }));
}

/** A change. The header proves that no other site's form sent it. */
export async function postJson(path, body) {
  return answer(await send(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-NSQX-Request": "1" },
    body: JSON.stringify(body),
  }));
}

/** Text that no two changes share, so that a repeated request is not a repeated change. */
export function idempotencyKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function send(path, options) {
  try {
    return await fetch(apiUrl(path), { ...options, signal: AbortSignal.timeout(SECONDS_MAX * 1000) });
  } catch (error) {
    const slow = error instanceof DOMException && error.name === "TimeoutError";
    throw new ApiError(0, "NO_ANSWER", slow ? `No answer in ${SECONDS_MAX} s` : "The dashboard's server does not answer");
  }
}

async function answer(response) {
  let body;
  try {
    body = await response.json();
  } catch {
    throw new ApiError(response.status, "NO_JSON", `The server answered with status ${response.status}`);
  }
  if (!response.ok) throw new ApiError(response.status, body.message, body.detail, body);
  return body;
}
