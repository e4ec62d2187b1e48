/**
 * Documents as the server sends them: whole, and then what changed (docs/admin-api.md). Pure.
 *
 * An entry that did not change stays the same object, so that a row is drawn again only when its
 * numbers are others. Sections are changed in place, and the document around them is a new one: to
 * copy thousands of entries each second costs more than to draw those on the screen.
 */

/** Sections that a delta changes entry by entry. */
const MAPS = new Set([
  "lookupds", "nodes", "topics", "channels", "clients", "producers", "edges", "registrations",
]);

/**
 * What `envelope` makes of `state` ({ boot, seq, t, doc } or null); null when it does not follow
 * from it, and the document has to be asked for in full. The document of `state` is used up.
 */
export function applyEnvelope(state, envelope) {
  const { boot, seq, t } = envelope;
  if ("full" in envelope) return { boot, seq, t, doc: envelope.full };
  if (state === null || state.boot !== boot || state.seq !== envelope.base || state.doc === null) return null;
  return { boot, seq, t, doc: applyDelta(state.doc, envelope.delta) };
}

function applyDelta(doc, delta) {
  const next = { ...doc };
  for (const [section, value] of Object.entries(delta)) {
    next[section] = MAPS.has(section) && value !== null ? mergeMap(doc[section] ?? {}, value) : value;
  }
  return next;
}

function mergeMap(entries, changes) {
  for (const key in changes) {
    if (changes[key] === null) delete entries[key];
    else entries[key] = changes[key];
  }
  return entries;
}
