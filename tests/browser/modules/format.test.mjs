import assert from "node:assert/strict";
import { test } from "node:test";

import { age, bytes, count, duration, growthRate, nodeText, percent, plural, rate, roughAge, shortCount, shortened } from "../../../admin/nsqx/admin/static/app/format.mjs";

test("what is not known is a dash, not a zero", () => {
  for (const format of [count, shortCount, rate, bytes, duration, age, percent]) {
    assert.equal(format(null), "–");
    assert.equal(format(undefined), "–");
  }
});

test("counts have thousands", () => {
  assert.equal(count(18204), "18,204");
  assert.equal(count(0), "0");
  assert.equal(plural(1, "node"), "1 node");
  assert.equal(plural(18204, "message"), "18,204 messages");
});

test("short counts keep four digits and then count in thousands and millions", () => {
  assert.equal(shortCount(9999), "9,999");
  assert.equal(shortCount(18204), "18.2k");
  assert.equal(shortCount(2000000), "2M");
  assert.equal(shortCount(2500000000), "2.5G");
});

test("rates show what is little, too", () => {
  assert.equal(rate(0), "0");
  assert.equal(rate(0.001), "<0.01");
  assert.equal(rate(0.04), "0.04");
  assert.equal(rate(12.34), "12.3");
  assert.equal(rate(12), "12.0");
  assert.equal(rate(120.6), "121");
  assert.equal(rate(12345), "12.3k");
});

test("a rough age has one unit", () => {
  assert.equal(roughAge(154), "2 min");
  assert.equal(roughAge(0.2), "<1 s");
  assert.equal(roughAge(null), "–");
});

test("what grows and what shrinks have a sign", () => {
  assert.equal(growthRate(3.04), "+3.0");
  assert.equal(growthRate(-120), "−120");
  assert.equal(growthRate(-0.001), "0");
});

test("sizes are binary", () => {
  assert.equal(bytes(7), "7 B");
  assert.equal(bytes(1536), "1.5 KiB");
  assert.equal(bytes(84503506944), "78.7 GiB");
});

test("durations have two units at most", () => {
  assert.equal(duration(0.0000021), "2 µs");
  assert.equal(duration(0.0021), "2 ms");
  assert.equal(duration(14), "14 s");
  assert.equal(duration(85), "1 min 25 s");
  assert.equal(duration(754), "12 min");
  assert.equal(duration(3720), "1 h 2 min");
  assert.equal(duration(90061), "1 d 1 h");
  assert.equal(duration(-3), "0 s");
});

test("an age below a second does not flicker", () => {
  assert.equal(age(0.4), "<1 s");
  assert.equal(age(-2), "<1 s");
  assert.equal(age(14.9), "14 s");
});

test("percents below ten have a digit more", () => {
  assert.equal(percent(0.1234), "12 %");
  assert.equal(percent(0.0512), "5.1 %");
  assert.equal(percent(0), "0 %");
  assert.equal(percent(1 / 0), "–");
});

test("a node is its address, with its host where that says more", () => {
  assert.equal(nodeText({ address: "nsqd-0:4151", hostname: "nsqd-0" }), "nsqd-0:4151");
  assert.equal(nodeText({ address: "10.0.0.5:4151", hostname: "nsqd-0" }), "10.0.0.5:4151 nsqd-0");
  assert.equal(nodeText({ address: "10.0.0.5:4151", hostname: "" }), "10.0.0.5:4151");
});

test("shortened names still differ at their end", () => {
  assert.equal(shortened("broker.example:4151", 30), "broker.example:4151");
  const [one, other] = ["4151", "4153"].map((port) => shortened(`ip-10-0-0-12.eu-central-1.internal:${port}`, 20));
  assert.deepEqual([one, other], ["ip-10-0-0…ernal:4151", "ip-10-0-0…ernal:4153"]);
});
