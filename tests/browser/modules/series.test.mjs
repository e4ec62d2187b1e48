import assert from "node:assert/strict";
import { test } from "node:test";

import { appendRow, sparkLines, thinned } from "../../../admin/nsqx/admin/static/app/series.mjs";

const NAMES = ["in", "depth"];
const history = () => ({ times: [10], metrics: { in: [5], depth: [7] } });

test("a live point is added to each metric", () => {
  const { times, metrics } = appendRow(history(), { in: 6, depth: 8, nodes: 2, stale: 1 }, 11, NAMES);
  assert.deepEqual([times, metrics], [[10, 11], { in: [5, 6], depth: [7, 8] }]);
});

test("what silent nodes said last is no point of now", () => {
  for (const silent of [{ nodes: 2, stale: 2 }, { nodes: 2, nodes_up: 0 }]) {
    const { metrics } = appendRow(history(), { in: null, depth: 7, ...silent }, 11, NAMES);
    assert.deepEqual(metrics, { in: [5, null], depth: [7, null] });
  }
  const { metrics } = appendRow(history(), { in: 0, depth: 0, nodes: 0, nodes_up: 0 }, 11, NAMES);
  assert.deepEqual(metrics, { in: [5, 0], depth: [7, 0] });
});

test("a line has a gap where nothing is known, and does not fall to 0", () => {
  const lines = sparkLines([4, 4, null, null, 4]);
  assert.deepEqual(lines.map((points) => points.map(([x]) => x)), [["0.0", "25.0"], ["100.0"]]);
  assert.ok(lines.flat().every(([, y]) => Number(y) < 2));
});

test("the mean of nothing known is not known", () => {
  assert.deepEqual(thinned([1, 3, null, null, 5, null], 3), [2, null, 5]);
});
