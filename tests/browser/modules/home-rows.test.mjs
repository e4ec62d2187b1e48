import assert from "node:assert/strict";
import { test } from "node:test";

import { HomeRows } from "../../../admin/nsqx/admin/static/app/home-rows.mjs";

const numbers = { depth: 0, in: 0, out: 0, in_flight: 0, deferred: 0, requeues: 0, timeouts: 0, clients: 0, nodes: 1, oldest_at: null, flags: [] };
const topic = (changes = {}) => ({ ...numbers, total_depth: 0, ...changes });
const channel = (changes = {}) => ({ ...numbers, ...changes });

const doc = () => ({
  attention: [{ id: "a" }, { id: "b" }, { id: "c" }],
  topics: { audit: topic(), "etl.a": topic({ total_depth: 5, in: 2 }), "etl.b": topic({ total_depth: 7, in: 3, flags: ["growing"] }), "shop.x": topic() },
  channels: { "etl.a/c": channel({ depth: 5, in: 2, out: 1 }), "etl.b/c": channel({ depth: 7, in: 3, out: 9, flags: ["paused"] }) },
});

const request = (changes = {}) => ({ q: "", state: "", show: "", group: "", open: [], sort: { key: "name", descending: false }, first: 0, last: 50, attention: 2, busy: false, ...changes });

const shown = (changes, of = doc(), rows = new HomeRows(), at = 0) => rows.show(of, request(changes), at);
const keys = ({ rows }) => rows.map((row) => row.key).join(" ");

test("channels stand below their topics", () => {
  assert.equal(keys(shown({})), "audit etl.a etl.a/c etl.b etl.b/c shop.x");
});

test("of what needs attention the first are given, and how many there are", () => {
  const { attention, problems } = shown({});
  assert.deepEqual([attention.map(({ id }) => id), problems], [["a", "b"], 3]);
});

test("only the part on screen is given, with where it is", () => {
  const part = shown({ first: 2, last: 4 });
  assert.equal(keys(part), "etl.a/c etl.b");
  assert.deepEqual([part.first, part.total, part.found, part.all], [2, 6, 6, 6]);
});

test("what is asked for beyond the end is the end", () => {
  assert.equal(keys(shown({ first: 90, last: 120 })), "shop.x");
});

test("a number that is mostly 0 is told of where one has it, and added up for a family", () => {
  assert.deepEqual(shown({}).others, []);
  const of = doc();
  Object.assign(of.topics["etl.a"], { refused: 4 });
  Object.assign(of.topics["etl.b"], { refused: 1 });
  assert.deepEqual(shown({}, of).others, ["refused"]);
  const [first, second] = shown({ sort: { key: "refused", descending: true } }, of).rows;
  assert.deepEqual([first.key, second.key], ["etl.a", "etl.a/c"]);
  const family = shown({ group: "prefix" }, of).rows.find((row) => row.group);
  assert.equal(family.data.refused, 5);
});

test("a channel whose topic is not found stands alone", () => {
  const part = shown({ q: "etl c" });
  assert.equal(keys(part), "etl.a/c etl.b/c");
  assert.deepEqual(part.rows.map((row) => row.level), [0, 0]);
});

test("states and kinds of rows are filtered", () => {
  assert.equal(keys(shown({ state: "paused" })), "etl.b/c");
  assert.equal(keys(shown({ state: "problems" })), "etl.b");
  assert.equal(keys(shown({ show: "topics" })), "audit etl.a etl.b shop.x");
});

test("a group has the sums of its topics, and shows them when it is open", () => {
  const closed = shown({ group: "prefix" });
  assert.equal(keys(closed), "audit etl.* shop.x");
  const [, head] = closed.rows;
  assert.deepEqual(head.group, { prefix: "etl.", size: 2, problems: 1, isOpen: false, noun: "topic" });
  assert.deepEqual([head.data.total_depth, head.data.in], [12, 5]);
  const open = shown({ group: "prefix", open: ["etl."] });
  assert.equal(keys(open), "audit etl.* etl.a etl.a/c etl.b etl.b/c shop.x");
  assert.deepEqual(open.rows.map((row) => row.level), [0, 0, 1, 2, 1, 2, 0]);
});

test("who searches sees what is in groups", () => {
  assert.equal(keys(shown({ group: "prefix", q: "etl", show: "topics" })), "etl.* etl.a etl.b");
});

test("groups are sorted like topics, and so is what is in them", () => {
  const sort = { key: "depth", descending: true };
  assert.equal(keys(shown({ group: "prefix", open: ["etl."], show: "topics", sort })), "etl.* etl.b etl.a audit shop.x");
});

test("rows keep their places for some seconds, and while the reader is there", () => {
  const rows = new HomeRows();
  const changes = { show: "topics", sort: { key: "in", descending: true } };
  assert.equal(keys(shown(changes, doc(), rows, 0)), "etl.b etl.a audit shop.x");
  const later = doc();
  later.topics["etl.a"] = topic({ in: 99 });
  assert.equal(keys(shown(changes, later, rows, 3000)), "etl.b etl.a audit shop.x");
  assert.equal(keys(shown({ ...changes, busy: true }, later, rows, 60000)), "etl.b etl.a audit shop.x");
  assert.equal(keys(shown(changes, later, rows, 60001)), "etl.a etl.b audit shop.x");
  assert.equal(shown(changes, later, rows, 60001).rows[0].data.in, 99);
});

test("a new topic is in its place at once", () => {
  const rows = new HomeRows();
  shown({}, doc(), rows, 0);
  const more = doc();
  more.topics.birds = topic();
  assert.equal(keys(shown({ show: "topics" }, more, rows, 10)), "audit birds etl.a etl.b shop.x");
});

test("movers are the backlogs that change, and the topics with the most traffic", () => {
  const { filling, draining, busiest } = shown({}).movers;
  assert.deepEqual(filling, [{ key: "etl.a/c", topic: "etl.a", channel: "c", value: 1 }]);
  assert.deepEqual(draining, [{ key: "etl.b/c", topic: "etl.b", channel: "c", value: -6 }]);
  assert.deepEqual(busiest.map(({ key, value }) => [key, value]), [["etl.b", 3], ["etl.a", 2]]);
});

test("movers stay for some seconds, with their numbers of now", () => {
  const rows = new HomeRows();
  shown({}, doc(), rows, 0);
  const later = doc();
  later.channels["etl.a/c"] = channel({ depth: 5, in: 1, out: 1 });
  assert.deepEqual(shown({}, later, rows, 1000).movers.filling.map(({ value }) => value), [0]);
  assert.deepEqual(shown({}, later, rows, 6000).movers.filling, []);
});
