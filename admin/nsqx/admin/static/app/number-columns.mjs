/** Columns and figures of the numbers in the table of numbers. */

import { bytes, count, duration } from "./format.mjs";
import { html } from "./html.mjs";
import { RATE_TITLES } from "./numbers.mjs";
import { Figure, counted, rated } from "./ui.mjs";

/**
 * @param {Record<string, {title: string, unit: string, help: string, optional: boolean}>} numbers
 * @param {string} name of the number in a row
 * @param {string} [wide] the least width of the window in which it is shown
 */
export function numberColumn(numbers, name, wide) {
  const { title, unit, help } = numbers[name];
  const show = { bytes, seconds: duration }[unit] ?? counted;
  return { key: name, title, hint: help, number: true, wide, value: ({ data }) => data[name], cell: ({ data }) => show(data[name]) };
}

/** The column of a rate: what flows a second. What goes out is made of several numbers. */
export function rateColumn(name, wide) {
  return { key: name, title: rateTitle(name), number: true, wide, value: ({ data }) => data[name], cell: ({ data }) => rated(data[name]) };
}

export function rateTitle(name) {
  return `${RATE_TITLES[name] ?? "Out"} /s`;
}

/** A column for each number that most rows do not have, and one of these has. */
export function otherColumns(numbers, rows) {
  const names = Object.keys(numbers).filter((name) => numbers[name].optional && rows.some(({ data }) => data[name]));
  return names.map((name) => numberColumn(numbers, name, "tablet"));
}

/** A figure for each number that most rows do not have, and this one has. */
export function OtherFigures({ numbers, row, level = undefined }) {
  const names = Object.keys(numbers).filter((name) => numbers[name].optional && row[name]);
  return names.map((name) => html`<${Figure} key=${name} label=${numbers[name].title.toLowerCase()} level=${level}>${count(row[name])}<//>`);
}
