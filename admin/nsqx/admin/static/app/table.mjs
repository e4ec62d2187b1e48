/**
 * Tables of live rows.
 *
 * Only the rows on screen are drawn. Although the numbers change each second, rows keep their
 * places for a few seconds, and for as long as the pointer or the focus is among them: nothing
 * moves away from under a finger.
 */

import { html, memo, useLayoutEffect, useRef, useState } from "./html.mjs";
import { Icon } from "./icons.mjs";
import { density } from "./page-settings.mjs";
import { inOrder, sortRows, visibleRange } from "./rows.mjs";

const ORDER_SECONDS = 5;
/** Up to here all rows are drawn, and the browser's own search finds them. */
const ALL_ROWS_MAX = 60;

/**
 * @param {object} props
 * @param {Array<{key, title, value?, still?, cell, number?, wide?}>} props.columns `value` makes it
 *   sortable; `still`: a row's value never changes;
 *   `wide` is the least width of the window in which it is shown: "phone" (always), "tablet", "desk"
 * @param {Array<{key, data, className?}>} props.rows in any order; a row with the same data is not
 *   drawn again
 * @param {{key, descending}} props.sort
 * @param {(key: string) => void} props.onSort
 * @param {Function} [props.arrange] instead of sorting the rows by the column
 * @param {string} props.orderKey what else must put the rows in order anew when it changes
 */
export function DataTable({ caption, columns, rows, sort, onSort, arrange = sortRows, orderKey = "", empty }) {
  const body = useRef(null);
  const order = useRef({ id: "", rows: null, ordered: null, keys: null, at: 0 });
  const busy = useRef({ hovered: false, focusedKey: null });
  const column = columns.find((one) => one.key === sort.key && one.value) ?? columns[0];
  const id = `${orderKey} ${column.key} ${sort.descending}`;
  const ordered = stableOrder(order.current, busy.current, id, rows, column.still, () => arrange(rows, column.value, sort.descending));
  const [first, last] = useVisibleRange(body, ordered.length);
  useKeptFocus(body, busy.current);

  if (rows.length === 0) return html`<p class="empty">${empty ?? "Nothing to show"}</p>`;
  const height = rowHeight();
  return html`<div class="table-wrap"><table class="data" aria-rowcount=${ordered.length + 1}>
    <caption class="visually-hidden">${caption}</caption>
    <thead><tr aria-rowindex="1">
      ${columns.map((one) => html`<${HeadCell} key=${one.key} column=${one} sorted=${one === column} descending=${sort.descending} onSort=${onSort} />`)}
    </tr></thead>
    <tbody ref=${body}
      onPointerEnter=${() => { busy.current.hovered = true; }}
      onPointerLeave=${() => { busy.current.hovered = false; }}
      onFocusIn=${(event) => { busy.current.focusedKey = event.target.closest("tr")?.dataset.key ?? null; }}
      onFocusOut=${(event) => { if (event.relatedTarget !== null) busy.current.focusedKey = null; }}>
      <${Spacer} key="-before" height=${first * height} columns=${columns.length} />
      ${ordered.slice(first, last).map((row, index) => html`<${Row} key=${row.key} row=${row} data=${row.data} columns=${columns} index=${first + index + 2} />`)}
      <${Spacer} key="-after" height=${(ordered.length - last) * height} columns=${columns.length} />
    </tbody>
  </table></div>`;
}

/** What `sort=` becomes when a head is pressed: numbers begin with the largest, names with A. */
export function nextSort(columns, sort, key) {
  if (sort.key === key) return `${sort.descending ? "" : "-"}${key}`;
  return columns.find((column) => column.key === key)?.number ? `-${key}` : key;
}

function HeadCell({ column, sorted, descending, onSort }) {
  const classes = `${column.number ? "number" : ""} ${column.wide ?? "phone"}`;
  if (!column.value) return html`<th scope="col" class=${classes}>${column.title}</th>`;
  const direction = descending ? "descending" : "ascending";
  return html`<th scope="col" class=${classes} aria-sort=${sorted ? direction : null}>
    <button type="button" class="sort" title=${column.hint} onClick=${() => onSort(column.key)}>${column.title}</button>
  </th>`;
}

const Row = memo(({ row, columns, index }) => html`<tr class=${row.className ?? ""} data-key=${row.key} aria-rowindex=${index}>
  ${columns.map((column, position) => html`<${position === 0 ? "th" : "td"} key=${column.key} scope=${position === 0 ? "row" : undefined}
    class="${column.number ? "number" : ""} ${column.wide ?? "phone"}">${column.cell(row)}<//>`)}
</tr>`);

/** Room for the rows that are not drawn. */
function Spacer({ height, columns }) {
  if (height <= 0) return null;
  return html`<tr class="spacer" aria-hidden="true"><td colspan=${columns} style=${{ height: `${height}px` }}></td></tr>`;
}

function stableOrder(order, busy, id, rows, still, arrange) {
  const held = busy.hovered || busy.focusedKey !== null || (still && order.rows === rows);
  const fresh = performance.now() - order.at < ORDER_SECONDS * 1000;
  if (order.id === id && (held || fresh)) {
    const kept = order.rows === rows ? order.ordered : inOrder(rows, order.keys);
    if (kept !== null) return Object.assign(order, { rows, ordered: kept }).ordered;
  }
  const ordered = arrange();
  Object.assign(order, { id, rows, ordered, keys: ordered.map((row) => row.key), at: performance.now() });
  return ordered;
}

function useVisibleRange(body, total) {
  const [range, setRange] = useState([0, ALL_ROWS_MAX]);
  const virtual = total > ALL_ROWS_MAX;
  useLayoutEffect(() => {
    if (!virtual) return undefined;
    let frame = 0;
    const measure = () => {
      frame = 0;
      if (body.current === null) return;
      const top = body.current.getBoundingClientRect().top;
      const next = visibleRange(total, rowHeight(), top, innerHeight);
      setRange((before) => (before[0] === next[0] && before[1] === next[1] ? before : next));
    };
    const schedule = () => { frame ||= requestAnimationFrame(measure); };
    measure();
    addEventListener("scroll", schedule, { passive: true });
    addEventListener("resize", schedule);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener("scroll", schedule);
      removeEventListener("resize", schedule);
    };
  }, [virtual, total]);
  if (!virtual) return [0, total];
  const first = Math.min(range[0], Math.max(0, total - 1));
  return [first, Math.min(total, Math.max(range[1], first))];
}

/** A row that moves to another place is taken out of the document for a moment, and loses the focus. */
function useKeptFocus(body, busy) {
  useLayoutEffect(() => {
    if (busy.focusedKey === null || document.activeElement !== document.body || body.current === null) return;
    const row = body.current.querySelector(`tr[data-key="${CSS.escape(busy.focusedKey)}"]`);
    if (row === null) busy.focusedKey = null;
    else row.querySelector("a, button")?.focus({ preventScroll: true });
  });
}

/** As --row in the style sheet says; to ask the browser would make it lay out the page. */
function rowHeight() {
  return density.value === "roomy" ? 42 : 34;
}

/** The box to search in, which `/` goes to. */
export function Filter({ value, onInput, label }) {
  return html`<label class="filter">
    <span class="visually-hidden">${label}</span>
    <${Icon} name="search" />
    <input type="search" value=${value} placeholder=${label} data-filter autocomplete="off" spellcheck="false"
      onInput=${(event) => onInput(event.target.value)} />
    <kbd aria-hidden="true">/</kbd>
  </label>`;
}
