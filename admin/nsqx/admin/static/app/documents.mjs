/**
 * Documents as the server sends them: whole, and then what changed (docs/admin-api.md). Pure.
 *
 * What did not change stays the same object, and what did becomes another one: components and rows
 * are drawn again only when they are given other objects.
 */

/** Sections that a delta changes entry by entry. */
const MAPS = new Set([
  "lookupds", "nodes", "topics", "channels", "clients", "producers", "edges", "registrations",
]);

/**
 * What `envelope` makes of `state` ({ boot, seq, t, doc } or null); null when it does not follow
 * from it, and the document has to be asked for in full.
 */
export function applyEnvelope(state, envelope) {
  const { boot, seq, t } = envelope;
  if ("full" in envelope) return { boot, seq, t, doc: envelope.full };
  if (state === null || state.boot !== boot || state.seq !== envelope.base || state.doc === null) return null;
  return { boot, seq, t, doc: applyDelta(state.doc, envelope.delta) };
}

/** The document that `delta` makes of `doc`. */
export function applyDelta(doc, delta) {
  const next = { ...doc };
  for (const [section, value] of Object.entries(delta)) {
    next[section] = MAPS.has(section) && value !== null ? mergeMap(doc[section] ?? {}, value) : value;
  }
  return next;
}

function mergeMap(entries, changes) {
  const next = { ...entries };
  for (const key in changes) {
    if (changes[key] === null) delete next[key];
    else next[key] = changes[key];
  }
  return next;
}
