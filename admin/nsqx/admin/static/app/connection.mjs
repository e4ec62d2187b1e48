/**
 * The connection to the server, in a worker: one WebSocket per tab, and the documents it carries.
 *
 * After a break it says what it has, and gets what changed since. Where no WebSocket passes, the
 * same documents are polled. A hidden tab gets nothing; it continues when it is looked at.
 */

import { applyEnvelope } from "./documents.mjs";

/** The server says something each two seconds. */
const SILENCE_SECONDS_MAX = 12;
const RETRY_SECONDS_MAX = 15;
/** How often a WebSocket may fail before it has worked, until polling takes over. */
const FAILURES_MAX = 2;
/** Nobody waits longer for an answer to a poll. */
const POLL_SECONDS_MAX = 30;

export class Connection {
  /**
   * @param {string} api the URL below which the API is, with a slash at its end
   * @param {object} listener
   * @param {(changes: { connection?: string, me?: object, t?: number }) => void} listener.onState
   * @param {(key: string, state: object, envelope: object) => void} listener.onDocument a document changed
   * @param {(key: string, message: object) => void} listener.onStream
   */
  constructor(api, listener) {
    this.api = api;
    this.listener = listener;
    /** "connecting", "live", "polling", "offline". */
    this.state = "connecting";
    /** key -> { state: { boot, seq, t, doc } or null, lost }. lost: a change did not fit, and it has to come in full. */
    this.held = new Map();
    this.streams = new Set();
    this.me = null;
    this.boot = "";
    this.paused = false;
    this.socket = null;
    this.failures = 0;
    this.retryTimer = 0;
    this.silenceTimer = 0;
    this.pollTimer = 0;
  }

  /** Keep a document current. */
  hold(key) {
    if (this.held.has(key)) return;
    this.held.set(key, { state: null, lost: false });
    this.send({ sub: [key] });
    if (this.state === "polling") this.schedulePoll(0);
  }

  release(key) {
    this.held.delete(key);
    this.send({ unsub: [key] });
  }

  /** What is known of a document; null before it is there. */
  known(key) {
    return this.held.get(key)?.state ?? null;
  }

  openStream(key) {
    this.streams.add(key);
    this.send({ sub: [key] });
  }

  closeStream(key) {
    this.streams.delete(key);
    this.send({ unsub: [key] });
  }

  /** Whether nothing is wanted at present, and how it is then. */
  setPaused(paused) {
    this.paused = paused;
    this.send({ pause: paused });
  }

  open() {
    clearTimeout(this.retryTimer);
    if (this.socket !== null && this.socket.readyState <= WebSocket.OPEN) return;
    const opened = new WebSocket(`${this.api.replace(/^http/, "ws")}ws`);
    this.socket = opened;
    opened.onmessage = (event) => {
      this.failures = 0;
      this.listenForSilence(opened);
      this.receive(JSON.parse(event.data));
    };
    opened.onclose = () => {
      if (this.socket !== opened) return;
      this.failures += 1;
      clearTimeout(this.silenceTimer);
      this.retryTimer = setTimeout(() => this.open(), this.retryDelay() * 1000);
      if (this.failures >= FAILURES_MAX) this.schedulePoll(0);
      else this.setState("connecting");
    };
  }

  retryDelay() {
    const delay = Math.min(RETRY_SECONDS_MAX, 0.25 * 2 ** this.failures);
    // Not every viewer at once when the server is back.
    return delay * (0.5 + Math.random() / 2);
  }

  listenForSilence(opened) {
    clearTimeout(this.silenceTimer);
    this.silenceTimer = setTimeout(() => opened.close(), SILENCE_SECONDS_MAX * 1000);
  }

  setState(state) {
    if (this.state === state) return;
    this.state = state;
    this.listener.onState({ connection: state });
  }

  send(message) {
    // Before "hello" nothing is said; then everything that is held.
    if (this.socket?.readyState === WebSocket.OPEN && this.state === "live") this.socket.send(JSON.stringify(message));
  }

  receive(message) {
    if (message.k === "hello") this.greet(message);
    else if (message.k === "error") this.receiveError(message);
    else if (message.messages !== undefined) this.receiveStream(message);
    else if (message.seq !== undefined) this.receiveEnvelope(message);
    else if (message.t !== undefined) this.listener.onState({ t: message.t });
  }

  greet(hello) {
    clearTimeout(this.pollTimer);
    const have = hello.boot === this.boot ? this.sequences() : {};
    this.boot = hello.boot;
    this.me = hello.me;
    this.state = "live";
    this.listener.onState({ connection: "live", me: hello.me });
    this.send({ sub: [...this.held.keys(), ...this.streams], have, boot: this.boot });
    this.send({ pause: this.paused });
  }

  sequences() {
    const known = [...this.held].filter(([, entry]) => entry.state !== null);
    return Object.fromEntries(known.map(([key, entry]) => [key, entry.state.seq]));
  }

  receiveEnvelope(envelope) {
    const entry = this.held.get(envelope.k);
    if (entry === undefined || this.paused) {
      this.listener.onState({ t: envelope.t });
      return;
    }
    const next = applyEnvelope(entry.state, envelope);
    entry.lost = next === null;
    if (next === null) {
      this.send({ resync: [envelope.k] });
    } else {
      entry.state = next;
      this.listener.onDocument(envelope.k, next, envelope);
    }
  }

  receiveStream(message) {
    for (const key of this.streams) {
      if (key === message.k || key.startsWith(`${message.k}?`)) this.listener.onStream(key, message);
    }
  }

  receiveError(message) {
    if (this.streams.has(message.key)) this.listener.onStream(message.key, { error: message.detail || message.message });
    const entry = this.held.get(message.key);
    if (entry === undefined) return;
    entry.state = { boot: this.boot, seq: 0, t: null, doc: null };
    this.listener.onDocument(message.key, entry.state, { full: null });
  }

  schedulePoll(seconds) {
    clearTimeout(this.pollTimer);
    this.pollTimer = setTimeout(() => this.poll(), seconds * 1000);
  }

  async poll() {
    if (this.state === "live") return;
    if (!this.paused) {
      try {
        if (this.me === null) {
          this.me = await this.getJson("me");
          this.listener.onState({ me: this.me });
        }
        await this.pollDocuments();
        if (this.state !== "live") this.setState("polling");
      } catch {
        if (this.state !== "live") this.setState("offline");
      }
    }
    if (this.state !== "live") this.schedulePoll(this.state === "offline" ? 3 : 1);
  }

  async pollDocuments() {
    if (this.held.size === 0) return;
    const query = new URLSearchParams();
    for (const [key, { lost, state }] of this.held) {
      query.append("key", key);
      query.append("have", lost ? 0 : state?.seq ?? 0);
    }
    if (this.boot) query.set("boot", this.boot);
    const { t, documents } = await this.getJson(`poll?${query}`);
    for (const envelope of documents) {
      this.boot = envelope.boot;
      this.receiveEnvelope(envelope);
    }
    this.listener.onState({ t });
  }

  async getJson(path) {
    const response = await fetch(this.api + path, { signal: AbortSignal.timeout(POLL_SECONDS_MAX * 1000) });
    if (!response.ok) throw new Error(`status ${response.status}`);
    return response.json();
  }
}
