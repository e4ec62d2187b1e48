import assert from "node:assert/strict";
import { test } from "node:test";

import { channelPath, nodePath, parseSort, parseUrl, topicPath, withQuery } from "../../../admin/nsqx/admin/static/app/url.mjs";

test("each page has its path", () => {
  const pages = { "/": "home", "/topics": "home", "/nodes": "nodes", "/lookup": "registry", "/nothing": "missing", "/topics/a/b/c": "missing" };
  for (const [path, page] of Object.entries(pages)) assert.equal(parseUrl("/", path, "").page, page, path);
});

test("a base path stands before all of them", () => {
  const { page, params } = parseUrl("/nsq/", "/nsq/topics/orders", "");
  assert.deepEqual([page, params], ["topic", { topic: "orders" }]);
  assert.equal(parseUrl("/nsq/", "/nsq", "").page, "home");
});

test("names with signs come back as they were", () => {
  const path = channelPath("audit.log", "search#ephemeral");
  assert.equal(path, "/topics/audit.log/search%23ephemeral");
  assert.deepEqual(parseUrl("/", path, "").params, { topic: "audit.log", channel: "search#ephemeral" });
});

test("a channel may be called as a tab is", () => {
  const [path, search] = channelPath("orders", "messages").split("?");
  assert.equal(parseUrl("/", path, search).page, "channel");
  assert.equal(parseUrl("/", topicPath("orders", "messages"), "").page, "messages");
});

test("addresses of nodes stay legible", () => {
  assert.equal(nodePath("127.0.0.1:4151"), "/nodes/127.0.0.1:4151");
  assert.deepEqual(parseUrl("/", "/nodes/127.0.0.1:4151", "").params, { node: "127.0.0.1:4151" });
});

test("a path that is no right encoding is no crash", () => {
  assert.equal(parseUrl("/", "/topics/%E0%A4%A", "").params.topic, "%E0%A4%A");
});

test("changes of the query add, replace and remove", () => {
  assert.equal(withQuery({ q: "a", sort: "-depth" }, { q: "b c", sort: null }), "?q=b+c");
  assert.equal(withQuery({ q: "a" }, { q: "" }), "");
});

test("a minus sorts downwards", () => {
  assert.deepEqual(parseSort("-depth", "name"), { key: "depth", descending: true });
  assert.deepEqual(parseSort(undefined, "name"), { key: "name", descending: false });
});
