import assert from "node:assert/strict";
import { test } from "node:test";

import { applyEnvelope } from "../../../admin/nsqx/admin/static/app/documents.mjs";

const full = () => ({ k: "summary", boot: "a", seq: 1, t: 10, full: { verdict: "ok", topics: { x: { depth: 1 }, y: { depth: 2 } } } });
const delta = { k: "summary", boot: "a", seq: 2, base: 1, t: 11, delta: { verdict: "bad", topics: { x: { depth: 5 }, y: null, z: { depth: 3 } } } };

test("a delta changes entries of maps and whole other sections", () => {
  const state = applyEnvelope(applyEnvelope(null, full()), delta);
  assert.deepEqual(state, { boot: "a", seq: 2, t: 11, doc: { verdict: "bad", topics: { x: { depth: 5 }, z: { depth: 3 } } } });
});

test("what changed is another object, or nobody would draw it again", () => {
  const before = applyEnvelope(null, full());
  const after = applyEnvelope(before, delta);
  assert.notEqual(after.doc, before.doc);
  assert.notEqual(after.doc.topics, before.doc.topics);
  assert.deepEqual(before.doc, full().full);
});

test("an entry that is not in the delta stays the same object", () => {
  const before = applyEnvelope(null, full());
  const { x, y } = before.doc.topics;
  const after = applyEnvelope(before, { ...delta, delta: { topics: { x: { depth: 9 } } } });
  assert.equal(after.doc.topics.y, y);
  assert.notEqual(after.doc.topics.x, x);
});

test("a delta to something else has to be asked for in full", () => {
  const state = applyEnvelope(null, full());
  assert.equal(applyEnvelope(null, delta), null);
  assert.equal(applyEnvelope(state, { ...delta, base: 7 }), null);
  assert.equal(applyEnvelope(state, { ...delta, boot: "b" }), null);
});

test("a document can go, and come back in full only", () => {
  const gone = applyEnvelope(applyEnvelope(null, full()), { ...delta, full: null });
  assert.equal(gone.doc, null);
  assert.equal(applyEnvelope(gone, { ...delta, base: 2, seq: 3 }), null);
  assert.deepEqual(applyEnvelope(gone, full()).doc, full().full);
});
