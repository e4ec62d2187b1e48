import assert from "node:assert/strict";
import { test } from "node:test";

import { litBy, modelOf, sumOfKnown } from "../../../admin/nsqx/admin/static/app/topology-model.mjs";

const topic = (flags = [], rate = 1) => ({ in: rate, depth: 0, flags });

/** Two topics on one node, each with a producer, a channel and a client. */
function small() {
  return {
    lookupds: { l: { state: "ok" } },
    nodes: { "n:1": { state: "ok", hostname: "host", in: 2 } },
    topics: { a: topic(), b: topic(["no-producer"]) },
    channels: { "a/x": { out: 1, depth: 0, flags: [] }, "b/y": { out: 0, depth: 18204, flags: ["stuck"] } },
    producers: { "a@p": { topic: "a", host: "p", node: "n:1" }, "b@p": { topic: "b", host: "p", node: "n:1" } },
    clients: { "a/x@w": { channel: "a/x", host: "w", count: 3, in_flight: 0, ready: 1, out: 1 } },
    edges: {
      "l>n:1": { rate: null }, "n:1>a": { rate: 1 }, "n:1>b": { rate: 1 }, "a>a/x": { rate: 1 }, "b>b/y": { rate: 1 },
      "a/x>a/x@w": { rate: 1 }, "a@p>n:1": { rate: null }, "b@p>n:1": { rate: null },
    },
  };
}

const lit = (id) => {
  const model = modelOf(small(), "");
  return [...litBy(model.things.find((one) => one.id === id), model)].sort().join(" ");
};

test("everything is there, with its state and a word", () => {
  const { things, links } = modelOf(small(), "");
  assert.equal(things.length, 9);
  assert.equal(links.length, 8);
  const stuck = things.find((one) => one.id === "b/y");
  assert.deepEqual([stuck.label, stuck.level, stuck.note], ["y", "critical", "18.2k wait"]);
});

test("a search shows a topic and what belongs to it", () => {
  const ids = modelOf(small(), "a").things.map((one) => one.id);
  assert.deepEqual(ids.sort(), ["a", "a/x", "a/x@w", "a@p", "l", "n:1"]);
});

test("nodes are called by their addresses, whatever their host calls itself", () => {
  const nodes = () => modelOf(doc, "").things.filter((one) => one.column === "nodes").map((one) => one.label);
  const doc = small();
  assert.deepEqual(nodes(), ["n:1"]);
  doc.nodes["n:2"] = { ...doc.nodes["n:1"] };
  assert.deepEqual(nodes(), ["n:1", "n:2"]);
});

test("a topic in focus lights its own producers only", () => {
  assert.equal(lit("a"), "a a/x a/x@w a@p n:1");
});

test("a producer in focus lights its topic, not all that its node has", () => {
  assert.equal(lit("b@p"), "b b/y b@p n:1");
});

test("a directory in focus lights the nodes that registered there", () => {
  assert.equal(lit("l"), "l n:1");
});

test("a node in focus lights what flows through it", () => {
  assert.equal(lit("n:1"), "a a/x a/x@w a@p b b/y b@p n:1");
});

test("of many topics those in trouble are shown first, and the rest is counted", () => {
  const doc = small();
  for (let index = 0; index < 100; index += 1) doc.topics[`t${index}`] = topic([], 50);
  const { things, hiddenTopics } = modelOf(doc, "");
  assert.equal(hiddenTopics, 72);
  assert.ok(things.some((one) => one.id === "b"));
});

test("many clients become one number for each channel", () => {
  const doc = small();
  for (let index = 0; index < 100; index += 1) doc.clients[`a/x@w${index}`] = { channel: "a/x", host: `w${index}`, count: 2, out: 1 };
  const { things, links, collapsed } = modelOf(doc, "");
  assert.ok(collapsed);
  assert.deepEqual(things.filter((one) => one.column === "clients").map((one) => one.label), ["203 clients"]);
  assert.equal(links.find((link) => link.to === "a/x@*").rate, 101);
});

test("the rate of what is not known is not 0", () => {
  assert.equal(sumOfKnown([]), 0);
  assert.equal(sumOfKnown([null, null]), null);
  assert.equal(sumOfKnown([2, null]), 2);
  const doc = small();
  for (let index = 0; index < 50; index += 1) doc.clients[`a/x@w${index}`] = { channel: "a/x", host: `w${index}`, count: 1, in_flight: 0, ready: 1, out: null };
  delete doc.clients["a/x@w"];
  assert.equal(modelOf(doc, "").links.find((link) => link.key === "a/x>*").rate, null);
});
