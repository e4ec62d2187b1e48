/** What is in the body of a message, for people: JSON, MessagePack, text or bytes. Pure. */

import { Digits, Entries, parseJson } from "./trees.mjs";

const TREE_DEPTH_MAX = 40;

/** The bytes of a message as the API gives it. */
export function bytesOf({ body, encoding }) {
  if (encoding !== "base64") return new TextEncoder().encode(body);
  return Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
}

/** What the bytes were packed with: "gzip", "zlib", or "" for nothing that a browser can unpack. */
export function packing(data) {
  if (data[0] === 0x1f && data[1] === 0x8b) return "gzip";
  const isZlib = (data[0] & 0x0f) === 8 && data.length > 2 && ((data[0] << 8) | data[1]) % 31 === 0;
  return isZlib && [0x01, 0x5e, 0x9c, 0xda].includes(data[1]) ? "zlib" : "";
}

/** A message with its whole body, as the API would give it. */
export function withBytes(message, data) {
  const text = decodeText(data);
  const whole = text === null ? { body: base64Of(data), encoding: "base64" } : { body: text, encoding: "text" };
  return { ...message, ...whole, size: data.length, truncated: false };
}

function base64Of(data) {
  let letters = "";
  // In pieces: arguments of a call are few.
  for (let at = 0; at < data.length; at += 32768) letters += String.fromCharCode(...data.subarray(at, at + 32768));
  return btoa(letters);
}

/** The views that suit: [["json", value], ["text", "..."], ["hex", "..."]], the best one first. */
export function viewsOf(data) {
  const views = [];
  const text = decodeText(data);
  const json = text === null ? undefined : parseJson(text);
  if (json instanceof Entries || Array.isArray(json)) views.push(["json", json]);
  if (text === null) {
    const unpacked = decodeMsgpack(data);
    if (unpacked instanceof Entries || Array.isArray(unpacked)) views.push(["msgpack", unpacked]);
  } else {
    views.push(["text", text]);
  }
  views.push(["hex", hexDump(data)]);
  return views;
}

export function decodeText(data) {
  try {
    // A mark at the begin is a part of the body, too.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    return null;
  }
}

/** "0000  68 65 6c 6c 6f                                   hello", 16 bytes a line, the first 4 KiB. */
export function hexDump(data, bytesMax = 4096) {
  const lines = [];
  for (let at = 0; at < Math.min(data.length, bytesMax); at += 16) {
    const part = [...data.slice(at, at + 16)];
    const hex = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = part.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${at.toString(16).padStart(4, "0")}  ${hex.padEnd(47)}  ${text}`);
  }
  if (data.length > bytesMax) lines.push(`and ${data.length - bytesMax} bytes more`);
  return lines.join("\n");
}

/** One MessagePack value that is the whole of `data`; undefined if it is not that. */
export function decodeMsgpack(data) {
  const reader = { view: new DataView(data.buffer, data.byteOffset, data.byteLength), at: 0 };
  try {
    const value = readValue(reader, 0);
    return reader.at === data.length ? value : undefined;
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) return undefined;
    throw error;
  }
}

function readValue(reader, depth) {
  if (depth > TREE_DEPTH_MAX) throw new RangeError("too deep");
  const tag = take(reader, "Uint8", 1);
  if (tag < 0x80) return tag;
  if (tag < 0x90) return readMap(reader, tag & 0x0f, depth);
  if (tag < 0xa0) return readArray(reader, tag & 0x0f, depth);
  if (tag < 0xc0) return readText(reader, tag & 0x1f);
  if (tag >= 0xe0) return tag - 0x100;
  return readTagged(reader, tag, depth);
}

function readTagged(reader, tag, depth) {
  switch (tag) {
    case 0xc0: return null;
    case 0xc2: return false;
    case 0xc3: return true;
    case 0xc4: return readBinary(reader, take(reader, "Uint8", 1));
    case 0xc5: return readBinary(reader, take(reader, "Uint16", 2));
    case 0xc6: return readBinary(reader, take(reader, "Uint32", 4));
    case 0xca: return fraction(take(reader, "Float32", 4));
    case 0xcb: return fraction(take(reader, "Float64", 8));
    case 0xcc: return take(reader, "Uint8", 1);
    case 0xcd: return take(reader, "Uint16", 2);
    case 0xce: return take(reader, "Uint32", 4);
    case 0xcf: return exact(take(reader, "BigUint64", 8));
    case 0xd0: return take(reader, "Int8", 1);
    case 0xd1: return take(reader, "Int16", 2);
    case 0xd2: return take(reader, "Int32", 4);
    case 0xd3: return exact(take(reader, "BigInt64", 8));
    case 0xd9: return readText(reader, take(reader, "Uint8", 1));
    case 0xda: return readText(reader, take(reader, "Uint16", 2));
    case 0xdb: return readText(reader, take(reader, "Uint32", 4));
    case 0xdc: return readArray(reader, take(reader, "Uint16", 2), depth);
    case 0xdd: return readArray(reader, take(reader, "Uint32", 4), depth);
    case 0xde: return readMap(reader, take(reader, "Uint16", 2), depth);
    case 0xdf: return readMap(reader, take(reader, "Uint32", 4), depth);
    default: throw new RangeError("an extension, or nothing");
  }
}

function take(reader, kind, size) {
  const value = reader.view[`get${kind}`](reader.at);
  reader.at += size;
  return value;
}

/** Numbers that JavaScript would round are shown as their digits. */
function exact(big) {
  return big >= Number.MIN_SAFE_INTEGER && big <= Number.MAX_SAFE_INTEGER ? Number(big) : new Digits(String(big));
}

/** 1 as a number with a point is not the integer. */
function fraction(value) {
  return Number.isInteger(value) && Math.abs(value) < 1e21 ? new Digits(`${Object.is(value, -0) ? "-0" : value}.0`) : value;
}

function readBytes(reader, size) {
  const { view, at } = reader;
  if (at + size > view.byteLength) throw new RangeError("ends too early");
  reader.at += size;
  return new Uint8Array(view.buffer, view.byteOffset + at, size);
}

function readText(reader, size) {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(readBytes(reader, size));
}

function readBinary(reader, size) {
  return `bytes ${[...readBytes(reader, size)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ")}`;
}

function readArray(reader, size, depth) {
  const values = [];
  for (let index = 0; index < size; index += 1) values.push(readValue(reader, depth + 1));
  return values;
}

function readMap(reader, size, depth) {
  const pairs = [];
  for (let index = 0; index < size; index += 1) pairs.push([nameOf(readValue(reader, depth + 1)), readValue(reader, depth + 1)]);
  return new Entries(pairs);
}

/** A key as text. Keys may be numbers, and more. */
function nameOf(key) {
  return key instanceof Digits ? key.text : typeof key === "object" && key !== null ? JSON.stringify(key) : String(key);
}

/** Text safe between single quotes of a shell. */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** How to publish the same message again, in the words of several tools. The body has to be whole. */
export function asCommands(topic, message, server) {
  const decoded = decodeText(bytesOf(message));
  // No argument of a program has a NUL in it.
  const text = decoded === null || decoded.includes("\0") ? null : decoded;
  const base64 = text === null ? base64Of(bytesOf(message)) : "";
  const url = `${server}/pub?topic=${encodeURIComponent(topic)}`;
  const python = text === null
    ? `base64.b64decode(${JSON.stringify(base64)})`
    : `${JSON.stringify(text)}.encode()`;
  const pipe = text === null ? `echo ${base64} | base64 -d | ` : `printf %s ${quoted(text)} | `;
  return [
    ["curl", `${pipe}curl --data-binary @- ${quoted(url)}`],
    ["Python", `await nsq.publish(${JSON.stringify(topic)}, ${python})`],
    ["to_nsq", `${pipe}to_nsq --topic ${quoted(topic)} --nsqd-tcp-address HOST:4150`],
  ];
}
