/**
 * What a tail shows: the newest messages first, and a mark wherever some are missing. Pure.
 *
 * Messages that are over the rate all the time are only counted. A mark is for a hole in time: the
 * reader held it, the tab was hidden, the connection broke.
 */

import { duration, plural } from "./format.mjs";

export const SHOWN_MAX = 500;
/** Portions come four times a second while there is something to show. */
const HOLE_SECONDS_MIN = 2;

export const EMPTY = { rows: [], held: [], waiting: 0, heldSince: null, seq: 0, t: null, seen: 0, dropped: 0, droppedBefore: 0, error: "" };

/** What `tail` becomes by a portion from the server. */
export function received(tail, { t, seq, messages, seen, dropped, error }, isPaused) {
  if (error !== undefined) return { ...tail, error };
  const isAnew = seq <= tail.seq;
  const next = { ...tail, t, seq, seen, dropped, error: "" };
  const marks = [];
  if (isAnew) {
    marks.push(mark(t, "The connection was interrupted; what was published meanwhile is not here."));
    next.droppedBefore = 0;
  } else if (tail.t !== null && t - tail.t > HOLE_SECONDS_MIN && dropped > tail.dropped) {
    marks.push(mark(t, `${plural(dropped - tail.dropped, "message")} of ${duration(t - tail.t)} left out.`));
  }
  const rows = [...messages.toReversed(), ...marks];
  if (isPaused) return { ...next, held: newest(rows, tail.held), waiting: tail.waiting + messages.length };
  return { ...next, rows: newest(rows, tail.rows) };
}

/** What `tail` becomes when the reader stops it at the time `t`. */
export function held(tail, t) {
  return { ...tail, heldSince: t, droppedBefore: tail.dropped };
}

/** What it becomes when it goes on: what came meanwhile, above a mark that says what is missing. */
export function resumed(tail, t) {
  if (tail.heldSince === null) return tail;
  const shown = tail.held.slice(0, SHOWN_MAX - 1); // with room for the mark
  const kept = shown.filter((row) => row.gap === undefined).length;
  const missing = tail.waiting - kept + Math.max(0, tail.dropped - tail.droppedBefore);
  const text = `Held for ${duration(Math.max(0, t - tail.heldSince))}: ${missing > 0 ? `${plural(missing, "message")} of then left out.` : "nothing is left out."}`;
  return { ...tail, rows: newest([...shown, mark(t, text)], tail.rows), held: [], waiting: 0, heldSince: null };
}

export function cleared(tail) {
  return { ...tail, rows: [], held: [], waiting: 0 };
}

function mark(t, gap) {
  return { id: `gap ${t}`, node: "", gap };
}

function newest(arrived, before) {
  return [...arrived, ...before].slice(0, SHOWN_MAX);
}
