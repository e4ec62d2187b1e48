/**
 * Values as they were written, for trees: JavaScript's own would round numbers beyond 2^53, make 1 of
 * 1.0 and keep one of two equal keys. Pure.
 */

const DEPTH_MAX = 200;

/** A number by its digits. */
export class Digits {
  constructor(text) {
    this.text = text;
  }
}

/** What has names: all pairs of name and value, in their order. */
export class Entries {
  constructor(pairs) {
    this.pairs = pairs;
  }
}

/** The tree of a JSON text: arrays, Entries, Digits, strings, true, false, null. Undefined if it is no JSON. */
export function parseJson(text) {
  try {
    JSON.parse(text); // so that what follows needs no grammar
    return readJson({ text, at: 0 }, 0);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) return undefined;
    throw error;
  }
}

function readJson(reader, depth) {
  if (depth > DEPTH_MAX) throw new RangeError("too deep");
  const first = next(reader);
  if (first === "{") return readObject(reader, depth);
  if (first === "[") return readList(reader, depth);
  if (first === '"') return readString(reader);
  if (first === "t") return word(reader, "true", true);
  if (first === "f") return word(reader, "false", false);
  if (first === "n") return word(reader, "null", null);
  const start = reader.at;
  while (reader.at < reader.text.length && "+-.0123456789eE".includes(reader.text[reader.at])) reader.at += 1;
  return new Digits(reader.text.slice(start, reader.at));
}

/** The next letter that is no space; it is not taken. */
function next(reader) {
  while (" \n\r\t".includes(reader.text[reader.at])) reader.at += 1;
  return reader.text[reader.at];
}

function readObject(reader, depth) {
  const pairs = [];
  reader.at += 1;
  while (next(reader) !== "}") {
    if (reader.text[reader.at] === ",") reader.at += 1;
    next(reader);
    const name = readString(reader);
    next(reader);
    reader.at += 1; // the colon
    pairs.push([name, readJson(reader, depth + 1)]);
  }
  reader.at += 1;
  return new Entries(pairs);
}

function readList(reader, depth) {
  const values = [];
  reader.at += 1;
  while (next(reader) !== "]") {
    if (reader.text[reader.at] === ",") reader.at += 1;
    values.push(readJson(reader, depth + 1));
  }
  reader.at += 1;
  return values;
}

function readString(reader) {
  const { text, at } = reader;
  let end = text.indexOf('"', at + 1);
  while (isEscaped(text, end)) end = text.indexOf('"', end + 1);
  reader.at = end + 1;
  return JSON.parse(text.slice(at, end + 1));
}

function isEscaped(text, at) {
  let before = at;
  while (text[before - 1] === "\\") before -= 1;
  return (at - before) % 2 === 1;
}

function word(reader, text, value) {
  reader.at += text.length;
  return value;
}
