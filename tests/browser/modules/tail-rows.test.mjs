import assert from "node:assert/strict";
import { test } from "node:test";

import { EMPTY, SHOWN_MAX, cleared, held, received, resumed } from "../../../admin/nsqx/admin/static/app/tail-rows.mjs";

const message = (id) => ({ id: String(id), node: "n" });
const portion = (seq, ids, more = {}) => ({ t: 100 + seq / 4, seq, messages: ids.map(message), seen: 0, dropped: 0, ...more });
const shown = (tail) => tail.rows.map((row) => row.gap ?? row.id);

test("the newest are first, and no more than that many", () => {
  const tail = received(received(EMPTY, portion(1, [1, 2]), false), portion(2, [3]), false);
  assert.deepEqual(shown(tail), ["3", "2", "1"]);
  const many = received(tail, portion(3, Array.from({ length: 900 }, (_, index) => index)), false);
  assert.equal(many.rows.length, SHOWN_MAX);
});

test("who goes on after a pause sees where it was and that nothing is missing", () => {
  let tail = held(received(EMPTY, portion(1, [1]), false), 100);
  tail = received(tail, portion(2, [2]), true);
  assert.deepEqual([shown(tail), tail.waiting], [["1"], 1]);
  assert.deepEqual(shown(resumed(tail, 112)), ["2", "Held for 12 s: nothing is left out.", "1"]);
});

test("what did not fit while it was held is counted, dropped by the server or not kept here", () => {
  let tail = held(received(EMPTY, portion(1, [1], { dropped: 5 }), false), 100);
  tail = received(tail, portion(2, Array.from({ length: SHOWN_MAX + 20 }, (_, index) => index), { dropped: 12 }), true);
  assert.equal(shown(resumed(tail, 101)).at(-1), "Held for 1 s: 28 messages of then left out.");
  const few = received(held(received(EMPTY, portion(1, [1], { dropped: 5 }), false), 100), portion(2, [2], { dropped: 12 }), true);
  assert.deepEqual(shown(resumed(few, 101)), ["2", "Held for 1 s: 7 messages of then left out.", "1"]);
});

test("a connection that was interrupted leaves a mark, and so does a tab that was hidden", () => {
  let tail = received(EMPTY, portion(9, [1]), false);
  tail = received(tail, portion(1, [2], { t: 200 }), false);
  assert.match(shown(tail)[1], /interrupted/);
  tail = received(tail, portion(2, [3], { t: 260, dropped: 40 }), false);
  assert.deepEqual(shown(tail).slice(0, 2), ["3", "40 messages of 1 min left out."]);
});

test("clearing takes the messages, not the counters", () => {
  const tail = cleared(received(EMPTY, portion(1, [1], { seen: 7 }), false));
  assert.deepEqual([shown(tail), tail.seen], [[], 7]);
});
