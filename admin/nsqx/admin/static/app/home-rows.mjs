/**
 * What the home page shows of all topics and channels: filtered, sorted, in groups, and of that the
 * part that is on screen. Pure, but for what it remembers between two looks: it runs in the worker.
 *
 * In a request `open` lists the groups whose topics are shown; rows `first` to `last` are on screen;
 * `busy` says that the pointer or the focus is among them. Then, and else for a few seconds, rows
 * keep their places although the numbers they are sorted by change: nothing moves away from under
 * a finger.
 */

/**
 * @typedef {{ q: string, state: string, show: string, group: string, open: string[], first: number,
 *   last: number, attention: number, busy: boolean, sort: { key: string, descending: boolean } }} HomeRequest
 */

import { CHANNEL_NUMBERS, TOPIC_NUMBERS } from "./numbers.mjs";
import { inOrder, matches, sortRows, sortTree } from "./rows.mjs";

const ORDER_MS = 5000;
const MOVERS_MAX = 3;
/** A backlog that changes by less than this a second, or a hundredth of its traffic, stands still. */
const MOVE_MIN = 0.2;
const MOVE_PART_MIN = 0.01;

/** Numbers that most rows do not have: each is a column once a row has some. */
export const SELDOM = [...new Set([TOPIC_NUMBERS, CHANNEL_NUMBERS].flatMap((table) => Object.keys(table).filter((name) => table[name].optional)))];

/** column -> what it is sorted by. */
export const VALUES = {
  name: (row) => row.key,
  state: (row) => -problemsOf(flagsOf(row)),
  depth: (row) => depthOf(row),
  oldest: ({ data }) => (data.oldest_at === null ? null : -data.oldest_at),
  in: ({ data }) => data.in,
  out: ({ data }) => data.out,
  in_flight: ({ data }) => data.in_flight,
  deferred: ({ data }) => data.deferred,
  requeues: ({ data }) => data.requeues,
  timeouts: ({ data }) => data.timeouts,
  clients: ({ data }) => data.clients,
  nodes: ({ data }) => data.nodes,
  ...Object.fromEntries(SELDOM.map((name) => [name, ({ data }) => data[name] ?? null])),
};

export class HomeRows {
  constructor() {
    /** The same array of the same objects for as long as the names are the same. */
    this.rows = [];
    this.byKey = new Map();
    this.order = { id: "", keys: null, at: 0 };
    this.moving = { at: -Infinity, keys: null };
  }

  /**
   * @param {{ topics: object, channels: object, attention: object[] }} doc the summary
   * @param {HomeRequest} request
   * @param {number} nowMs a clock that only goes forward
   * @returns {{ attention, problems, rows, first, total, found, all, topics, movers, others }} `attention` are the first of
   *   so many `problems`, as many as the request says: each of some hundred would be drawn anew each second; `rows` are those on screen, from the one
   *   numbered `first` of `total`; `found` of `all` topics and channels match; `others` are those of `SELDOM` that any has
   */
  show(doc, request, nowMs) {
    this.take(doc);
    const found = this.rows.filter((row) => isShown(row, request));
    const ordered = this.ordered(found, request, nowMs);
    const first = Math.min(request.first, Math.max(0, ordered.length - 1));
    return {
      attention: doc.attention.slice(0, request.attention),
      problems: doc.attention.length,
      rows: ordered.slice(first, Math.max(first, request.last)),
      first,
      total: ordered.length,
      found: found.length,
      all: this.rows.length,
      topics: Object.keys(doc.topics).length,
      movers: this.movers(nowMs),
      others: SELDOM.filter((name) => this.rows.some(({ data }) => data[name])),
    };
  }

  take({ topics, channels }) {
    let isSame = this.rows.length === Object.keys(topics).length + Object.keys(channels).length;
    for (const section of [topics, channels]) {
      for (const key in section) {
        const row = this.byKey.get(key);
        if (row === undefined) isSame = false;
        else row.data = section[key];
      }
    }
    if (isSame) return;
    this.rows = [
      ...Object.keys(topics).map((topic) => ({ key: topic, parent: null, level: 0, topic, channel: null, data: topics[topic] })),
      ...Object.keys(channels).map((key) => {
        const topic = key.slice(0, key.indexOf("/"));
        return { key, parent: topic, level: 1, topic, channel: key.slice(topic.length + 1), data: channels[key] };
      }),
    ];
    this.byKey = new Map(this.rows.map((row) => [row.key, row]));
  }

  ordered(found, request, nowMs) {
    const { q, state, show, group, open, sort, busy } = request;
    const id = JSON.stringify([q, state, show, group, open, sort]);
    const { order } = this;
    const rows = group === "" ? placed(found, show) : grouped(placed(found, show), show, q === "" && state === "" ? new Set(open) : null);
    // Names do not change places by themselves: as long as all are there, nothing is to be sorted.
    const isKept = busy || sort.key === "name" || nowMs - order.at < ORDER_MS;
    const kept = order.id === id && isKept ? inOrder(rows, order.keys) : null;
    if (kept !== null) return kept;
    const valueOf = VALUES[sort.key] ?? VALUES.name;
    const ordered = sortTree(rows, valueOf, sort.descending);
    this.order = { id, keys: ordered.map((row) => row.key), at: nowMs };
    return ordered;
  }

  /** Whose backlog changes the fastest, and who has the most traffic. The same ones for a few seconds. */
  movers(nowMs) {
    const { moving } = this;
    const isKept = nowMs - moving.at < ORDER_MS && Object.values(moving.keys).flat().every((key) => this.byKey.has(key));
    if (!isKept) this.moving = { at: nowMs, keys: moversOf(this.rows) };
    const listed = (keys, valueOf) => keys.map((key) => ({ ...named(this.byKey.get(key)), value: valueOf(this.byKey.get(key)) }));
    const { filling, draining, busiest } = this.moving.keys;
    return { filling: listed(filling, growth), draining: listed(draining, growth), busiest: listed(busiest, VALUES.in) };
  }
}

function named({ key, topic, channel }) {
  return { key, topic, channel };
}

function moversOf(rows) {
  const channels = rows.filter((row) => row.channel !== null && isMoving(row));
  const topics = rows.filter((row) => row.channel === null && row.data.in > 0);
  const first = (list, valueOf, descending) => sortRows(list, valueOf, descending).slice(0, MOVERS_MAX).map((row) => row.key);
  return {
    filling: first(channels.filter((row) => growth(row) > 0), growth, true),
    draining: first(channels.filter((row) => growth(row) < 0), growth, false),
    busiest: first(topics, VALUES.in, true),
  };
}

/** How many messages more wait with each second; of the last five seconds, as all rates. Null: not known. */
function growth({ data }) {
  return data.in === null || data.out === null ? null : data.in - data.out;
}

function isMoving(row) {
  const { depth, deferred, in: incoming, out } = row.data;
  if (growth(row) === null) return false;
  const speed = Math.abs(growth(row));
  return depth + deferred > 0 && speed >= MOVE_MIN && speed >= MOVE_PART_MIN * Math.max(incoming, out);
}

export function depthOf({ channel, data }) {
  return channel === null ? data.total_depth : data.depth;
}

function problemsOf(flags) {
  return flags.filter((flag) => flag !== "paused").length;
}

/** The flags of a row, and of the channels that it stands for. */
export function flagsOf({ data, channel, isAlone }) {
  if (channel !== null || !isAlone) return data.flags;
  return [...new Set([...data.flags, ...(data.channel_flags ?? [])])];
}

function isShown(row, { q, state, show }) {
  if (show === "topics" && row.channel !== null) return false;
  if (show === "channels" && row.channel === null) return false;
  const flags = flagsOf(show === "topics" ? { ...row, isAlone: true } : row);
  if (state === "problems" ? problemsOf(flags) === 0 : state !== "" && !flags.includes(state)) return false;
  return q === "" || matches(row.key, q);
}

/** Channels below their topics; alone where the topic is not shown, or the tree would lose them. */
function placed(rows, show) {
  if (show === "topics") return rows.map((row) => ({ ...row, isAlone: true }));
  const topics = new Set(rows.filter((row) => row.channel === null).map((row) => row.key));
  return rows.map((row) => (row.parent === null || topics.has(row.parent) ? row : { ...row, parent: null, level: 0 }));
}

/**
 * The rows with one more above all topics whose names begin alike, up to the first dot. Only the
 * groups in `open` show what is in them; null opens all.
 */
function grouped(rows, show, open) {
  const families = new Map();
  for (const row of rows) {
    const prefix = prefixOf(row.topic);
    if (row.parent !== null || prefix === "") continue;
    if (families.has(prefix)) families.get(prefix).push(row);
    else families.set(prefix, [row]);
  }
  for (const [prefix, members] of families) if (members.length < 2) families.delete(prefix);
  const familyOf = (row) => (families.has(prefixOf(row.topic)) ? prefixOf(row.topic) : null);
  const isOpen = (prefix) => open === null || open.has(prefix);
  const heads = [...families].map(([prefix, members]) => headRow(prefix, members, show, isOpen(prefix)));
  const below = rows.flatMap((row) => {
    const family = familyOf(row);
    if (family === null) return [row];
    if (!isOpen(family)) return [];
    return [{ ...row, parent: row.parent ?? headKey(family), level: row.level + 1 }];
  });
  return [...heads, ...below];
}

function prefixOf(topic) {
  return topic.slice(0, topic.indexOf(".") + 1);
}

/** A key that no topic can have. */
function headKey(prefix) {
  return `${prefix}*`;
}

function headRow(prefix, members, show, isOpen) {
  // The sum of what is known; of nothing known it is not known either.
  const sum = (valueOf) => {
    const known = members.map(valueOf).filter((value) => value !== null);
    return known.length === 0 ? null : known.reduce((total, value) => total + value, 0);
  };
  const oldest = members.map(({ data }) => data.oldest_at).filter((at) => at !== null);
  const flags = [...new Set(members.flatMap(({ data }) => [...data.flags, ...(data.channel_flags ?? [])]))];
  const data = { flags, nodes: null, oldest_at: oldest.length ? Math.min(...oldest) : null, total_depth: sum(depthOf) };
  for (const name of ["in", "out", "in_flight", "deferred", "requeues", "timeouts", "clients", ...SELDOM]) data[name] = sum((row) => row.data[name] ?? null);
  const problems = members.filter((row) => problemsOf(flagsOf({ ...row, isAlone: true })) > 0).length;
  return { key: headKey(prefix), parent: null, level: 0, topic: prefix, channel: null, data, group: { prefix, size: members.length, problems, isOpen, noun: show === "channels" ? "channel" : "topic" } };
}
