import assert from "node:assert/strict";
import { test } from "node:test";

import { crossings, layout, linkPath, linkWidth, related } from "../../../admin/nsqx/admin/static/app/layout.mjs";

const thing = (id, column) => ({ id, column });
const link = (from, to) => ({ from, to });

/** Topics whose channels and clients are named in the opposite order: much to untangle. */
function tangled(size) {
  const indices = Array.from({ length: size }, (_, index) => index);
  return {
    things: [
      thing("n", "nodes"),
      ...indices.map((index) => thing(`t${index}`, "topics")),
      ...indices.toReversed().map((index) => thing(`c${index}`, "channels")),
      ...indices.map((index) => thing(`k${index}`, "clients")),
    ],
    links: indices.flatMap((index) => [link("n", `t${index}`), link(`t${index}`, `c${index}`), link(`c${index}`, `k${index}`)]),
  };
}

test("lines that need not cross do not", () => {
  const { things, links } = tangled(12);
  assert.equal(crossings(layout(things, links).places, links), 0);
});

test("nothing stands upon another, and all is inside", () => {
  const { things, links } = tangled(20);
  const { places, width, height } = layout(things, links);
  const boxes = [...places.values()];
  assert.equal(boxes.length, things.length);
  for (const box of boxes) {
    assert.ok(box.x >= 0 && box.y >= 0 && box.x + box.width <= width && box.y + box.height <= height);
    const same = boxes.filter((other) => other !== box && other.x === box.x);
    assert.ok(same.every((other) => Math.abs(other.y - box.y) >= box.height));
  }
});

test("directories are a rail above the nodes", () => {
  const { places } = layout([thing("l", "lookupds"), thing("n", "nodes")], [link("l", "n")]);
  assert.ok(places.get("l").y + places.get("l").height < places.get("n").y);
});

test("columns without things take no room", () => {
  const { places } = layout([thing("n", "nodes"), thing("t", "topics")], [link("n", "t")]);
  assert.ok(places.get("n").x < 40);
});

test("what belongs to nothing stands below the others and makes no gap", () => {
  const { things, links } = tangled(10);
  const { places, height } = layout([thing("a_lonely", "topics"), ...things, thing("lost", "channels")], links);
  const tops = ["t0", "t5", "t9"].map((id) => places.get(id).y);
  assert.ok(places.get("a_lonely").y > Math.max(...tops));
  assert.ok(height < layout(things, links).height + 100);
});

test("links to what is not drawn are left out", () => {
  assert.equal(layout([thing("n", "nodes")], [link("n", "gone")]).places.size, 1);
});

test("the same things stand at the same places", () => {
  const { things, links } = tangled(9);
  assert.deepEqual([...layout(things, links).places], [...layout(things, links).places]);
});

test("widths grow with the rate and stay within bounds", () => {
  assert.equal(linkWidth(0, 100), 1);
  assert.equal(linkWidth(null, 100), 1);
  assert.equal(linkWidth(100, 100), 8);
  assert.ok(linkWidth(1, 100) < linkWidth(50, 100));
});

test("what belongs to a topic is what flows to it and from it", () => {
  const links = [link("p", "n"), link("n", "a"), link("n", "b"), link("a", "a/x"), link("b", "b/x"), link("a/x", "k")];
  assert.deepEqual([...related("a", links)].sort(), ["a", "a/x", "k", "n", "p"]);
});

test("a line begins at the right edge and ends at the left one", () => {
  const path = linkPath({ x: 0, y: 100, width: 100, height: 20 }, { x: 200, y: 140, width: 100, height: 20 });
  assert.equal(path, "M100 110C150 110 150 150 200 150");
});

/** How often something was looked up while `work` ran: what it costs on any machine. */
function lookupsOf(work) {
  const { get } = Map.prototype;
  let count = 0;
  Map.prototype.get = function counted(key) {
    count += 1;
    return get.call(this, key);
  };
  try {
    work();
  } finally {
    Map.prototype.get = get;
  }
  return count;
}

test("the work grows with what is drawn, not with its square", () => {
  const [small, large] = [tangled(40), tangled(400)].map(({ things, links }) => lookupsOf(() => layout(things, links)));
  assert.ok(small > 1000);
  // A column is sorted: ten times as many take somewhat more than ten times as many looks.
  assert.ok(large < 20 * small, `${small} and ${large}`);
});
