/** Columns and figures of the numbers in the table of numbers. */

import { bytes, count } from "./format.mjs";
import { html } from "./html.mjs";
import { Figure, counted } from "./ui.mjs";

/**
 * @param {Record<string, {title: string, unit: string, help: string, optional: boolean}>} numbers
 * @param {string} name of the number in a row
 * @param {string} [wide] the least width of the window in which it is shown
 */
export function numberColumn(numbers, name, wide) {
  const { title, unit } = numbers[name];
  const cell = unit === "bytes" ? ({ data }) => bytes(data[name]) : ({ data }) => counted(data[name]);
  return { key: name, title, number: true, wide, value: ({ data }) => data[name], cell };
}

/** A column for each number that most rows do not have, and one of these has. */
export function otherColumns(numbers, rows) {
  const names = Object.keys(numbers).filter((name) => numbers[name].optional && rows.some(({ data }) => data[name]));
  return names.map((name) => numberColumn(numbers, name, "tablet"));
}

/** A figure for each number that most rows do not have, and this one has. */
export function OtherFigures({ numbers, row }) {
  const names = Object.keys(numbers).filter((name) => numbers[name].optional && row[name]);
  return names.map((name) => html`<${Figure} key=${name} label=${numbers[name].title.toLowerCase()}>${count(row[name])}<//>`);
}
