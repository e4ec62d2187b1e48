import assert from "node:assert/strict";
import { test } from "node:test";

import { inOrder, matches, sortRows, sortTree, visibleRange } from "../../../admin/nsqx/admin/static/app/rows.mjs";

const row = (key, value, parent = null) => ({ key, value, parent });
const keys = (rows) => rows.map((one) => one.key).join(" ");
const value = (one) => one.value;

test("rows without a value come last in both directions", () => {
  const rows = [row("a", null), row("b", 2), row("c", 1)];
  assert.equal(keys(sortRows(rows, value, false)), "c b a");
  assert.equal(keys(sortRows(rows, value, true)), "b c a");
});

test("equal rows are in the order of their names, and numbers in texts count", () => {
  assert.equal(keys(sortRows([row("y", 1), row("x", 1)], value, true)), "x y");
  assert.equal(keys(sortRows([row("b", "t10"), row("a", "t9")], value, false)), "a b");
});

test("channels follow their topic, both sorted", () => {
  const rows = [row("x/1", 1, "x"), row("x", 1), row("y/1", 5, "y"), row("x/2", 9, "x"), row("y", 5)];
  assert.equal(keys(sortTree(rows, value, true)), "y y/1 x x/2 x/1");
});

test("a tree can be deeper, and every level is sorted", () => {
  const rows = [row("x/1", 1, "x"), row("x", 1, "g"), row("g", 3), row("y", 2, "g"), row("z", 9)];
  assert.equal(keys(sortTree(rows, value, true)), "z g y x x/1");
});

test("a search finds its words in any order and case", () => {
  assert.ok(matches("Orders/billing", "bill ord"));
  assert.ok(!matches("orders/billing", "orders archive"));
});

test("an order holds for the same rows only", () => {
  const rows = [row("a"), row("b")];
  assert.equal(keys(inOrder(rows, ["b", "a"])), "b a");
  assert.equal(inOrder(rows, ["b", "c"]), null);
  assert.equal(inOrder(rows, ["b"]), null);
  assert.equal(inOrder(rows, null), null);
});

test("what is on the screen is drawn, and some rows more", () => {
  assert.deepEqual(visibleRange(2000, 34, 400, 900, 10), [0, 25]);
  assert.deepEqual(visibleRange(2000, 34, -34000, 900, 10), [990, 1037]);
  assert.deepEqual(visibleRange(20, 34, -34000, 900, 10), [20, 20]);
});
