/**
 * Numbers, times and sizes as people read them. Pure: no clock, no document.
 */

const COUNT = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const NOTHING = "–";
const SHORT_UNITS = [
  { from: 1e12, divisor: 1e12, letter: "T" },
  { from: 1e9, divisor: 1e9, letter: "G" },
  { from: 1e6, divisor: 1e6, letter: "M" },
  // Four digits are as short as "1.2k" and say more.
  { from: 1e4, divisor: 1e3, letter: "k" },
];

/** 18204 -> "18,204"; null -> "–". */
export function count(value) {
  return value === null || value === undefined ? NOTHING : COUNT.format(value);
}

/** For where there is little room: 18204 -> "18.2k", 950 -> "950". */
export function shortCount(value) {
  if (value === null || value === undefined) return NOTHING;
  const size = Math.abs(value);
  for (const { from, divisor, letter } of SHORT_UNITS) {
    if (size >= from) return `${trim(value / divisor)}${letter}`;
  }
  return COUNT.format(value);
}

/** A rate per second: 0 -> "0", 0.04 -> "0.04", 12 -> "12.0", 1234.5 -> "1,235". Below each other, points are in line. */
export function rate(value) {
  if (value === null || value === undefined) return NOTHING;
  if (value === 0) return "0";
  if (value < 0.01) return "<0.01";
  if (value < 1) return value.toFixed(2);
  if (value < 100) return value.toFixed(1);
  return shortCount(Math.round(value));
}

/** How fast something grows, with its sign: 3.04 -> "+3.0", -12 -> "−12.0". */
export function growthRate(value) {
  if (value === null || value === undefined) return NOTHING;
  if (Math.abs(value) < 0.01) return "0";
  return `${value < 0 ? "−" : "+"}${rate(Math.abs(value))}`;
}

/** Bytes: 84503506944 -> "78.7 GiB". */
export function bytes(value) {
  if (value === null || value === undefined) return NOTHING;
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let index = 0;
  let size = value;
  while (size >= 1024 && index < units.length - 1) {
    size /= 1024;
    index += 1;
  }
  return `${index === 0 ? size : trim(size)} ${units[index]}`;
}

/** Seconds, with the two largest units at most: 14 -> "14 s", 754 -> "12 min", 90061 -> "1 d 1 h". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return NOTHING;
  if (seconds < 0) return "0 s";
  if (seconds < 1) return seconds < 0.001 ? `${Math.round(seconds * 1e6)} µs` : `${Math.round(seconds * 1e3)} ms`;
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 600) return withRest(whole, 60, "min", 1, "s");
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return withRest(whole, 3600, "h", 60, "min");
  return withRest(whole, 86400, "d", 3600, "h");
}

/** How old something is. Below a second it would flicker without saying more. */
export function age(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return NOTHING;
  return seconds < 1 ? "<1 s" : duration(seconds);
}

/** The same with one unit, for where there is little room: 154 -> "2 min". */
export function roughAge(seconds) {
  return age(seconds).split(" ").slice(0, 2).join(" ");
}

/** 0.1234 -> "12 %"; under a tenth with one digit. */
export function percent(fraction) {
  if (fraction === null || fraction === undefined || !Number.isFinite(fraction)) return NOTHING;
  const value = fraction * 100;
  return `${value !== 0 && value < 10 ? trim(value) : Math.round(value)} %`;
}

/** Seconds since 1970 as local time: "14:05:09", with the date when it is not the day of `now`. */
export function clockTime(seconds, now) {
  if (seconds === null || seconds === undefined) return NOTHING;
  const date = new Date(seconds * 1000);
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits).join(":");
  return sameDay(date, new Date(now * 1000)) ? time : `${isoDay(date)} ${time}`;
}

/** All there is to say about a moment, for titles: "2026-11-24 14:05:09.123". */
export function exactTime(seconds) {
  const date = new Date(seconds * 1000);
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits).join(":");
  return `${isoDay(date)} ${time}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** plural(1, "node") -> "1 node"; plural(18204, "message") -> "18,204 messages". */
export function plural(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** At most so many letters. Names begin alike, and addresses end with a port: what is left out is in the middle. */
export function shortened(text, letters) {
  if (text.length <= letters) return text;
  const end = Math.ceil((letters - 1) / 2);
  return `${text.slice(0, letters - 1 - end)}…${text.slice(text.length - end)}`;
}

/** What a node's host calls itself, where its address does not say so. */
export function foreignHost({ address, hostname }) {
  return address.startsWith(`${hostname}:`) ? "" : hostname;
}

/** A node in a list of texts: its address, by which it is called everywhere, and its host. */
export function nodeText(node) {
  return `${node.address} ${foreignHost(node)}`.trim();
}

function trim(value) {
  return value.toFixed(1).replace(/\.0$/, "");
}

function withRest(seconds, unit, name, restUnit, restName) {
  const rest = Math.floor((seconds % unit) / restUnit);
  return `${Math.floor(seconds / unit)} ${name}${rest ? ` ${rest} ${restName}` : ""}`;
}

function twoDigits(value) {
  return String(value).padStart(2, "0");
}

function isoDay(date) {
  return [date.getFullYear(), twoDigits(date.getMonth() + 1), twoDigits(date.getDate())].join("-");
}

function sameDay(one, other) {
  return isoDay(one) === isoDay(other);
}
