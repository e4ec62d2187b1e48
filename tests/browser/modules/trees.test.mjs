import assert from "node:assert/strict";
import { test } from "node:test";

import { Digits, Entries, parseJson } from "../../../admin/nsqx/admin/static/app/trees.mjs";

const digits = (text) => new Digits(text);

test("numbers are the digits that were sent", () => {
  const text = "[9007199254740993, 1.0, -0, 1e400, 0.10, 18446744073709551615]";
  assert.deepEqual(parseJson(text), ["9007199254740993", "1.0", "-0", "1e400", "0.10", "18446744073709551615"].map(digits));
});

test("equal keys are all there, in their order", () => {
  assert.deepEqual(parseJson('{"a":1, "b" : true,"a":{"__proto__":null}}'), new Entries([
    ["a", digits("1")], ["b", true], ["a", new Entries([["__proto__", null]])],
  ]));
  assert.deepEqual(parseJson('{"2":"x","1":"y"}').pairs.map(([key]) => key), ["2", "1"]);
});

test("strings with everything in them", () => {
  const values = ['"', "\\", '\\"', "a\\\\", "\u2028", "\ud83d\ude42", "", "]},:\n"];
  assert.deepEqual(parseJson(JSON.stringify(values)), values);
  assert.deepEqual(parseJson(' {"a\\"b" :\t"\\\\"} ').pairs, [['a"b', "\\"]]);
});

test("what is no JSON, or too deep, is none", () => {
  for (const text of ["", "{", "[1,]", "{a:1}", "1 2", "nul", "'a'"]) assert.equal(parseJson(text), undefined, text);
  assert.equal(parseJson("[".repeat(1000) + "]".repeat(1000)), undefined);
  assert.deepEqual(parseJson("[[],{}, []]"), [[], new Entries([]), []]);
});
