/**
 * The documents on screen, kept current.
 *
 * One WebSocket per tab carries the documents that some component shows (`useDocument`). After a
 * break it says what it has, and gets what changed since. Where no WebSocket passes, the same
 * documents are polled. A hidden tab gets nothing; it continues when it is looked at.
 */

import { getJson } from "./api.mjs";
import { applyEnvelope } from "./documents.mjs";
import { signal, useEffect, useMemo } from "./html.mjs";
import { BASE } from "./page-settings.mjs";

const SILENCE_SECONDS_MAX = 45;
const RETRY_SECONDS_MAX = 15;
/** How often a WebSocket may fail before it has worked, until polling takes over. */
const FAILURES_MAX = 2;
const LINGER_SECONDS = 5;

/** "connecting", "live", "polling", "offline". */
export const connection = signal("connecting");

/** Whether the reader stopped the picture. */
export const paused = signal(false);

/** Who the reader is and what they may, once the server said so. */
export const me = signal(null);

/** The server's clock, in seconds since 1970, once a second. */
export const now = signal(Date.now() / 1000);

/** When the last word came from the server, by `now`. */
export const heardAt = signal(null);

let clockOffset = 0;
let socket = null;
let boot = "";
let failures = 0;
let retryTimer = 0;
let silenceTimer = 0;
let pollTimer = 0;

/**
 * key -> { state: signal, users, linger, lost }. Without users it is kept for a moment, for who goes
 * back and forth. lost: a change did not fit, and it has to come in full.
 */
const held = new Map();
/** key without parameters -> listener, for what is a stream rather than a document. */
const streams = new Map();

/** The document `key` as { doc, t } that changes by itself; doc is undefined until it is there. */
export function useDocument(key) {
  const state = useMemo(() => hold(key).state, [key]);
  useEffect(() => {
    const entry = hold(key);
    entry.users += 1;
    clearTimeout(entry.linger);
    return () => release(key, entry);
  }, [key]);
  const value = state.value;
  return value === null ? { doc: undefined, t: null } : value;
}

/** Hand the messages of `tail:...` to `listener` until the returned function is called. */
export function openStream(key, listener) {
  streams.set(key, listener);
  send({ sub: [key] });
  return () => {
    streams.delete(key);
    send({ unsub: [key] });
  };
}

export function setPaused(value) {
  paused.value = value;
  tellPause();
}

/** Begin. Called once. */
export function connect() {
  setInterval(() => {
    if (!document.hidden) now.value = Date.now() / 1000 + clockOffset;
  }, 1000);
  document.addEventListener("visibilitychange", tellPause);
  addEventListener("online", openSocket);
  openSocket();
}

function hold(key) {
  let entry = held.get(key);
  if (entry === undefined) {
    entry = { state: signal(null), users: 0, linger: 0, lost: false };
    held.set(key, entry);
    send({ sub: [key] });
    if (connection.value === "polling") schedulePoll(0);
  }
  return entry;
}

function release(key, entry) {
  entry.users -= 1;
  if (entry.users > 0) return;
  entry.linger = setTimeout(() => {
    held.delete(key);
    send({ unsub: [key] });
  }, LINGER_SECONDS * 1000);
}

function openSocket() {
  clearTimeout(retryTimer);
  if (socket !== null && socket.readyState <= WebSocket.OPEN) return;
  const url = new URL(`${BASE}api/v2/ws`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const opened = new WebSocket(url);
  socket = opened;
  let worked = false;
  opened.onmessage = (event) => {
    if (!worked) {
      worked = true;
      failures = 0;
    }
    listenForSilence(opened);
    receive(JSON.parse(event.data));
  };
  opened.onclose = () => {
    if (socket !== opened) return;
    failures += 1;
    clearTimeout(silenceTimer);
    retryTimer = setTimeout(openSocket, retryDelay() * 1000);
    if (failures >= FAILURES_MAX) schedulePoll(0);
    else connection.value = "connecting";
  };
}

function retryDelay() {
  const delay = Math.min(RETRY_SECONDS_MAX, 0.25 * 2 ** failures);
  // Not every viewer at once when the server is back.
  return delay * (0.5 + Math.random() / 2);
}

function listenForSilence(opened) {
  clearTimeout(silenceTimer);
  silenceTimer = setTimeout(() => opened.close(), SILENCE_SECONDS_MAX * 1000);
}

function send(message) {
  // Before "hello" nothing is said; then everything that is held.
  if (socket?.readyState === WebSocket.OPEN && boot !== "" && connection.value === "live") {
    socket.send(JSON.stringify(message));
  }
}

function receive(message) {
  if (message.t !== undefined) heard(message.t);
  if (message.k === "hello") greet(message);
  else if (message.k === "error") receiveError(message);
  else if (streams.size > 0 && message.messages !== undefined) receiveStream(message);
  else if (message.seq !== undefined) receiveEnvelope(message);
}

function greet(hello) {
  clearTimeout(pollTimer);
  const have = hello.boot === boot ? sequences() : {};
  boot = hello.boot;
  connection.value = "live";
  me.value = hello.me;
  send({ sub: [...held.keys(), ...streams.keys()], have, boot });
  tellPause();
}

function sequences() {
  const known = [...held].filter(([, entry]) => entry.state.value !== null);
  return Object.fromEntries(known.map(([key, entry]) => [key, entry.state.value.seq]));
}

function receiveEnvelope(envelope) {
  const entry = held.get(envelope.k);
  if (entry === undefined || paused.value) return;
  const next = applyEnvelope(entry.state.value, envelope);
  entry.lost = next === null;
  if (next !== null) entry.state.value = next;
  else send({ resync: [envelope.k] });
}

function receiveStream(message) {
  for (const [key, listener] of streams) {
    if (key === message.k || key.startsWith(`${message.k}?`)) listener(message);
  }
}

function receiveError(message) {
  const listener = streams.get(message.key);
  if (listener !== undefined) listener({ error: message.detail || message.message });
  const entry = held.get(message.key);
  if (entry !== undefined) entry.state.value = { boot, seq: 0, t: now.value, doc: null };
}

function heard(t) {
  clockOffset = t - Date.now() / 1000;
  heardAt.value = t;
  if (t > now.value) now.value = t;
}

function tellPause() {
  send({ pause: paused.value || document.hidden });
}

function schedulePoll(seconds) {
  clearTimeout(pollTimer);
  pollTimer = setTimeout(poll, seconds * 1000);
}

async function poll() {
  if (connection.value === "live") return;
  if (!document.hidden && !paused.value) {
    try {
      if (me.value === null) me.value = await getJson("me");
      await pollDocuments();
      if (connection.value !== "live") connection.value = "polling";
    } catch {
      if (connection.value !== "live") connection.value = "offline";
    }
  }
  if (connection.value !== "live") schedulePoll(connection.value === "offline" ? 3 : 1);
}

async function pollDocuments() {
  const keys = [...held.keys()];
  if (keys.length === 0) return;
  const query = new URLSearchParams();
  for (const key of keys) {
    query.append("key", key);
    const { lost, state } = held.get(key);
    query.append("have", lost ? 0 : state.value?.seq ?? 0);
  }
  if (boot) query.set("boot", boot);
  const { t, documents } = await getJson(`poll?${query}`);
  heard(t);
  for (const envelope of documents) {
    boot = envelope.boot;
    receiveEnvelope(envelope);
  }
}
