import assert from "node:assert/strict";
import { test } from "node:test";

import { asCommands, bytesOf, decodeMsgpack, hexDump, packing, viewsOf, withBytes } from "../../../admin/nsqx/admin/static/app/bodies.mjs";
import { Digits, Entries } from "../../../admin/nsqx/admin/static/app/trees.mjs";

const raw = (...values) => Uint8Array.from(values);
const text = (value) => new TextEncoder().encode(value);
const names = (data) => viewsOf(data).map(([name]) => name);

test("JSON is shown as a tree first", () => {
  assert.deepEqual(names(text('{"a":1}')), ["json", "text", "hex"]);
  assert.deepEqual(viewsOf(text('{"a":1}'))[0], ["json", new Entries([["a", new Digits("1")]])]);
});

test("a number or a word is text, though it is JSON", () => {
  assert.deepEqual(names(text("42")), ["text", "hex"]);
  assert.deepEqual(names(text("")), ["text", "hex"]);
});

test("MessagePack is found among bytes that are no text", () => {
  assert.deepEqual(names(raw(0x81, 0xa1, 0x61, 0xc3)), ["msgpack", "hex"]);
  assert.deepEqual(names(raw(0xff, 0xfe)), ["hex"]);
});

test("MessagePack of every size", () => {
  assert.deepEqual(decodeMsgpack(raw(0x93, 0x01, 0xff, 0xc0)), [1, -1, null]);
  assert.deepEqual(decodeMsgpack(raw(0x92, 0xcd, 0x01, 0x00, 0xd1, 0xff, 0x00)), [256, -256]);
  assert.deepEqual(decodeMsgpack(raw(0x91, 0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0)), [1.5]);
  assert.deepEqual(decodeMsgpack(raw(0x91, 0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)), [new Digits("18446744073709551615")]);
  assert.deepEqual(decodeMsgpack(raw(0x91, 0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0)), [new Digits("1.0")]);
  assert.deepEqual(decodeMsgpack(raw(0x91, 0xc4, 0x02, 0x00, 0xff)), ["bytes 00 ff"]);
});

test("MessagePack that is cut off, has more behind it or is endlessly deep is none", () => {
  assert.equal(decodeMsgpack(raw(0x92, 0x01)), undefined);
  assert.equal(decodeMsgpack(raw(0xa5, 0x61)), undefined);
  assert.equal(decodeMsgpack(raw(0x01, 0x01)), undefined);
  assert.equal(decodeMsgpack(raw(0xdd, 0xff, 0xff, 0xff, 0xff)), undefined);
  assert.equal(decodeMsgpack(new Uint8Array(1000).fill(0x91)), undefined);
});

test("a key of __proto__ is a key", () => {
  const value = decodeMsgpack(raw(0x81, 0xa9, ...text("__proto__"), 0x01));
  assert.deepEqual(value, new Entries([["__proto__", 1]]));
  assert.equal({}.polluted, undefined);
});

test("bytes in a dump stand above their letters", () => {
  assert.equal(hexDump(text("hello")), `0000  68 65 6c 6c 6f${" ".repeat(33)}  hello`);
  assert.match(hexDump(new Uint8Array(5000)), /and 904 bytes more$/);
});

test("packed bodies are recognised by their first bytes", () => {
  assert.equal(packing(raw(0x1f, 0x8b, 8)), "gzip");
  assert.equal(packing(raw(0x78, 0x9c, 1)), "zlib");
  assert.equal(packing(text("xyz")), "");
  assert.equal(packing(raw()), "");
});

test("base64 becomes bytes", () => {
  assert.deepEqual(bytesOf({ body: "AP8=", encoding: "base64" }), raw(0, 255));
});

test("commands quote what a shell would take for its own", () => {
  const [[, curl], [, python]] = asCommands("orders", { body: "it's $HOME", encoding: "text" }, "http://n:4151");
  assert.equal(curl, "printf %s 'it'\\''s $HOME' | curl --data-binary @- 'http://n:4151/pub?topic=orders'");
  assert.equal(python, 'await nsq.publish("orders", "it\'s $HOME".encode())');
});

test("what no shell can be given goes as base64, and bytes never as letters", () => {
  const message = { body: "a\0b", encoding: "text" };
  assert.match(asCommands("t", message, "http://n:4151")[0][1], /^echo YQBi \| base64 -d \| curl /);
  assert.match(asCommands("t", { body: "/w==", encoding: "base64" }, "http://n:4151")[1][1], /b64decode\("\/w=="\)/);
});

test("a whole body takes the place of its first part, to the byte", () => {
  const cut = { id: "1", body: "x", encoding: "text", size: 3, truncated: true };
  assert.deepEqual(withBytes(cut, text("\ufeffxy")), { ...cut, body: "\ufeffxy", size: 5, truncated: false });
  const data = new Uint8Array(100_000).fill(0xff);
  const whole = withBytes(cut, data);
  assert.equal(whole.encoding, "base64");
  assert.deepEqual(bytesOf(whole), data);
});
