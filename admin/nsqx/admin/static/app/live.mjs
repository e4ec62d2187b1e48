/**
 * The documents on screen, kept current.
 *
 * A worker has the connection and the documents (worker.mjs). It says what changed, once a second,
 * and all of it is drawn at once. Here is only what the page shows.
 */

import { apiUrl } from "./api.mjs";
import { applyDelta } from "./documents.mjs";
import { batch, signal, useEffect, useLayoutEffect, useMemo, useState } from "./html.mjs";

const LINGER_MS = 5000;
/** Without news for this long the clock goes on by itself. News bring their time: a second is drawn once. */
const QUIET_MS = 1300;
/** By so much the clock may be ahead of the news: they take a while. */
const CLOCK_SECONDS_MAX = 5;

/** "connecting", "live", "polling", "offline". */
export const connection = signal("connecting");

/** Whether the reader stopped the picture. */
export const paused = signal(false);

/** Who the reader is and what they may, once the server said so. */
export const me = signal(null);

/** The server's clock, in seconds since 1970, once a second. Until it is known, the browser's, which may be wrong. */
export const now = signal(Date.now() / 1000);

/** When the last word came from the server, by `now`. */
export const heardAt = signal(null);

/** kind -> what the worker shows of a large document, as wanted; null before it is there. */
const views = { home: signal(null), topology: signal(null) };

/** By how much the server's clock is ahead of this page's, which runs evenly. */
let clockOffset = Date.now() / 1000 - performance.now() / 1000;
let newsAt = 0;
let questions = 0;
/** @type {Worker} */
let worker = null;
/** name -> { state: signal, users, linger }. Without users it is kept for a moment, for who goes back and forth. */
const held = new Map();
/** key -> listener, for what is a stream rather than a document. */
const streams = new Map();
/** What was asked once: id -> function that takes the answer. */
const asked = new Map();

/**
 * The document `key` as { doc, t } that changes by itself; doc is undefined until it is there, and
 * null when it does not exist. "summary|totals,nodes" are two sections of it, which costs less.
 */
export function useDocument(name) {
  const state = useMemo(() => hold(name).state, [name]);
  useEffect(() => {
    const entry = hold(name);
    entry.users += 1;
    clearTimeout(entry.linger);
    return () => release(name, entry);
  }, [name]);
  return state.value;
}

/** What was shown last of a large document, or null. */
export function viewNow(kind) {
  return views[kind].value;
}

/**
 * A part of a large document, made in the worker: "home" is what home-rows.mjs shows of a request,
 * "topology" the model of the picture. Null until it is there.
 *
 * @param {"home" | "topology"} kind
 * @param {object} wanted
 */
export function useView(kind, wanted) {
  const text = JSON.stringify(wanted);
  useLayoutEffect(() => worker.postMessage({ view: { kind, wanted: JSON.parse(text) } }), [kind, text]);
  useLayoutEffect(() => () => {
    views[kind].value = null;
    worker.postMessage({ view: { kind, wanted: null } });
  }, [kind]);
  return views[kind].value;
}

/** The names of all topics and channels as they are now: [topics, channels]. */
export function useNames() {
  const [names, setNames] = useState([[], []]);
  const { doc } = useDocument("summary|nodes");
  const isKnown = doc !== undefined;
  useEffect(() => {
    if (!isKnown) return undefined;
    questions += 1;
    const id = questions;
    asked.set(id, setNames);
    worker.postMessage({ names: id });
    return () => asked.delete(id);
  }, [isKnown]);
  return { topics: names[0], channels: names[1], nodes: Object.values(doc?.nodes ?? {}) };
}

/** Hand the messages of `tail:...` to `listener` until the returned function is called. */
export function openStream(key, listener) {
  streams.set(key, listener);
  worker.postMessage({ stream: key });
  return () => {
    streams.delete(key);
    worker.postMessage({ endStream: key });
  };
}

export function setPaused(value) {
  paused.value = value;
  tellPause();
}

/** Begin. Called once. */
export function connect() {
  worker = new Worker(new URL("worker.mjs", import.meta.url), { type: "module" });
  worker.addEventListener("message", ({ data }) => batch(() => receive(data)));
  worker.postMessage({ start: new URL(apiUrl(""), location.href).href });
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", tellPause);
  addEventListener("online", () => worker.postMessage({ retry: true }));
}

function tick() {
  if (!document.hidden && performance.now() - newsAt > QUIET_MS) now.value = performance.now() / 1000 + clockOffset;
}

function hold(name) {
  let entry = held.get(name);
  if (entry === undefined) {
    entry = { state: signal({ doc: undefined, t: null }), users: 0, linger: 0 };
    held.set(name, entry);
    worker.postMessage({ hold: name });
  }
  return entry;
}

function release(name, entry) {
  entry.users -= 1;
  if (entry.users > 0) return;
  entry.linger = setTimeout(() => {
    held.delete(name);
    worker.postMessage({ release: name });
  }, LINGER_MS);
}

function receive(message) {
  if (message.t !== undefined) heard(message.t);
  if (message.connection !== undefined) connection.value = message.connection;
  if (message.me !== undefined) me.value = message.me;
  for (const [kind, view] of Object.entries(message.views ?? {})) views[kind].value = view;
  for (const change of message.documents ?? []) receiveDocument(change);
  if (message.stream !== undefined) streams.get(message.stream)?.(message.message);
  if (message.names !== undefined) asked.get(message.names)?.(message.value);
}

function receiveDocument({ name, t, full, delta }) {
  const state = held.get(name)?.state;
  if (state === undefined) return;
  if (full !== undefined) state.value = { doc: full, t: t ?? null };
  // Before it came in full there is nothing to change; it is on its way.
  else if (state.value.doc) state.value = { doc: applyDelta(state.value.doc, delta), t };
}

function heard(t) {
  newsAt = performance.now();
  clockOffset = t - newsAt / 1000;
  // Also backwards: a clock that is wrong would make all that is new look old.
  if (t > now.value || now.value - t > CLOCK_SECONDS_MAX || heardAt.value === null) now.value = t;
  heardAt.value = t;
}

function tellPause() {
  worker.postMessage({ pause: paused.value || document.hidden });
}
