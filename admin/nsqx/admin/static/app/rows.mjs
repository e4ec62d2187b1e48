/** Filtering and ordering of table rows. Pure. */

// Kept: to make one for each comparison costs more than all else in a sort.
const NAMES = new Intl.Collator("en", { numeric: true });

/** Compare two values of a column: numbers, texts; what is not known comes last either way. */
export function compareValues(one, other, descending) {
  const missing = Number(one === null || one === undefined) - Number(other === null || other === undefined);
  if (missing !== 0) return missing;
  if (one === null || one === undefined) return 0;
  const order = typeof one === "string" ? NAMES.compare(one, other) : one - other;
  return descending ? -order : order;
}

/** Sorted copy of `rows` by the value of one column; equal ones stay in the order of their keys. */
export function sortRows(rows, valueOf, descending) {
  return rows
    .map((row) => [valueOf(row), row])
    .sort((a, b) => compareValues(a[0], b[0], descending) || (a[1].key < b[1].key ? -1 : 1))
    .map(([, row]) => row);
}

/**
 * Rows below their parents (a channel's topic, a topic's group), all sorted by the column.
 *
 * A parent stands where its own value puts it, and what is below it follows.
 */
export function sortTree(rows, valueOf, descending) {
  const below = new Map();
  for (const row of rows) {
    if (below.has(row.parent)) below.get(row.parent).push(row);
    else below.set(row.parent, [row]);
  }
  const branch = (parent) => sortRows(below.get(parent) ?? [], valueOf, descending)
    .flatMap((row) => (below.has(row.key) ? [row, ...branch(row.key)] : [row]));
  return branch(null);
}

/** Whether every word of the search is in the text, in any order, whatever the case. */
export function matches(text, search) {
  const lower = text.toLowerCase();
  return search.toLowerCase().split(/\s+/).every((word) => lower.includes(word));
}

/**
 * Rows in the order of `keys`, when these are the same rows; else null.
 *
 * Tables use it to stand still for a while although the numbers they are sorted by change.
 */
export function inOrder(rows, keys) {
  if (keys === null || rows.length !== keys.length) return null;
  const byKey = new Map(rows.map((row) => [row.key, row]));
  const ordered = keys.map((key) => byKey.get(key));
  return ordered.includes(undefined) ? null : ordered;
}

/**
 * Which rows of a long table to draw: those on screen and some more on both sides.
 *
 * @param {number} top where the first row is, in pixels below the upper edge of the screen
 */
export function visibleRange(total, rowHeight, top, screenHeight, overscan = 8) {
  const first = Math.floor(-top / rowHeight) - overscan;
  const last = Math.ceil((screenHeight - top) / rowHeight) + overscan;
  const clamp = (index) => Math.min(total, Math.max(0, index));
  return [clamp(first), clamp(last)];
}
