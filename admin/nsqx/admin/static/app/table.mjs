/**
 * Tables of live rows.
 *
 * Only the rows on screen are drawn. Although the numbers change each second, rows keep their
 * places for a few seconds, and for as long as the pointer or the focus is among them: nothing
 * moves away from under a finger. Columns of plain text are written straight into their cells.
 */

import { Component, createRef, html, memo, useLayoutEffect, useRef, useState } from "./html.mjs";
import { Icon } from "./icons.mjs";
import { density } from "./page-settings.mjs";
import { inOrder, sortRows, visibleRange } from "./rows.mjs";

const ORDER_SECONDS = 5;
/** Up to here all rows are drawn, and the browser's own search finds them. */
const ALL_ROWS_MAX = 60;

/**
 * @param {object} props
 * @param {string} props.caption what the table is, for those who hear it
 * @param {string} [props.empty] what to say when there are no rows
 * @param {Array<{key, title, value?, cell?, text?, number?, wide?}>} props.columns `value` makes it
 *   sortable; `cell` makes what is in a cell, or `text`, which is cheaper and can only be text;
 *   `wide` is the least width of the window in which it is shown: "phone" (always), "tablet", "desk"
 * @param {Array<{key, data, className?}>} props.rows in any order; a row with the same data is not
 *   drawn again
 * @param {{ key: string, descending: boolean }} props.sort
 * @param {(key: string) => void} props.onSort
 * @param {Function} [props.arrange] instead of sorting the rows by the column
 * @param {string} [props.orderKey] what else must put the rows in order anew when it changes
 */
export function DataTable({ caption, columns, rows, sort, onSort, arrange = sortRows, orderKey = "", empty }) {
  const order = useRef({ id: "", keys: null, at: 0 });
  const place = useTablePlace(rows.length);
  const column = columnOf(columns, sort);
  const id = `${orderKey} ${column.key} ${sort.descending}`;
  const ordered = stableOrder(order.current, place.busy, id, rows, () => arrange(rows, column.value, sort.descending));
  const [first, last] = place.range;

  if (rows.length === 0) return html`<p class="empty">${empty ?? "Nothing to show"}</p>`;
  return html`<${Table} caption=${caption} columns=${columns} sort=${sort} onSort=${onSort} place=${place}
    rows=${ordered.slice(first, last)} first=${first} total=${rows.length} />`;
}

/**
 * A table of which others know the order: `rows` are those from the one numbered `first` of `total`.
 * `place` is from `useTablePlace`. With `isFixed` the style sheet says how wide columns are, so that
 * a number that changes moves nothing, and costs no layout of the table.
 */
export function Table({ caption, columns, sort, onSort, place, rows, first, total, isFixed }) {
  const column = columnOf(columns, sort);
  const height = rowHeight();
  useKeptFocus(place);
  return html`<div class="table-wrap"><table class="data ${isFixed ? "fixed" : ""}" aria-rowcount=${total + 1}>
    <caption class="visually-hidden">${caption}</caption>
    <${Head} columns=${columns} column=${column} descending=${sort.descending} onSort=${onSort} />
    <tbody ref=${place.body} ...${place.handlers}>
      <${Spacer} key="-before" height=${first * height} columns=${columns.length} />
      ${rows.map((row, index) => html`<${Row} key=${row.key} row=${row} data=${row.data} columns=${columns} index=${first + index + 2} />`)}
      <${Spacer} key="-after" height=${(total - first - rows.length) * height} columns=${columns.length} />
    </tbody>
  </table></div>`;
}

/** Which rows of a table are on screen (`range`), and whether the reader is at one (`busy`). */
export function useTablePlace(total) {
  const body = useRef(null);
  const busy = useRef({ hovered: false, focusedKey: null }).current;
  const [isBusy, setBusy] = useState(false);
  const [handlers] = useState(() => {
    const note = (changes) => {
      Object.assign(busy, changes);
      setBusy(busy.hovered || busy.focusedKey !== null);
    };
    return {
      onPointerEnter: () => note({ hovered: true }),
      onPointerLeave: () => note({ hovered: false }),
      onFocusIn: (event) => note({ focusedKey: event.target.closest("tr")?.dataset.key ?? null }),
      onFocusOut: (event) => { if (event.relatedTarget !== null) note({ focusedKey: null }); },
    };
  });
  const range = useVisibleRange(body, total);
  return { body, busy, isBusy, handlers, range };
}

function columnOf(columns, sort) {
  return columns.find((one) => one.key === sort.key && one.value) ?? columns[0];
}

/** What `sort=` becomes when a head is pressed: numbers begin with the largest, names with A. */
export function nextSort(columns, sort, key) {
  if (sort.key === key) return `${sort.descending ? "" : "-"}${key}`;
  return columns.find((column) => column.key === key)?.number ? `-${key}` : key;
}

const Head = memo(({ columns, column, descending, onSort }) => html`<thead><tr aria-rowindex="1">
  ${columns.map((one) => html`<${HeadCell} key=${one.key} column=${one} sorted=${one === column} descending=${descending} onSort=${onSort} />`)}
</tr></thead>`);

function HeadCell({ column, sorted, descending, onSort }) {
  if (!column.value) return html`<th scope="col" class=${classOf(column)}>${column.title}</th>`;
  const direction = descending ? "descending" : "ascending";
  return html`<th scope="col" class=${classOf(column)} aria-sort=${sorted ? direction : null}>
    <button type="button" class="sort" title=${column.hint} onClick=${() => onSort(column.key)}>${column.title}</button>
  </th>`;
}

function classOf({ key, number, wide = "phone" }) {
  return `${number ? "number" : ""} ${wide} of-${key}`;
}

/**
 * A row. Whoever makes the rows can say in `row.look` all that decides how the cells look which are
 * not plain text: then numbers that change are written into their cells, and nothing else is done.
 */
class Row extends Component {
  constructor(props) {
    super(props);
    /** What is written in the cells of plain text, by position. */
    this.written = [];
    this.line = createRef();
  }

  shouldComponentUpdate(next) {
    const { row, data, columns, index } = this.props;
    if (columns !== next.columns || index !== next.index || row.look !== next.row.look) return true;
    if (row.look === undefined) return data !== next.data;
    this.write(next.row);
    return false;
  }

  componentDidMount() {
    this.write(this.props.row);
  }

  componentDidUpdate() {
    this.write(this.props.row);
  }

  write(row) {
    const { columns } = this.props;
    for (let position = 0; position < columns.length; position += 1) {
      const text = columns[position].text?.(row);
      if (text === undefined || text === this.written[position]) continue;
      const cell = this.line.current.children[position];
      if (cell.firstChild === null) cell.append(text);
      else cell.firstChild.data = text;
      cell.classList.toggle("quiet", text === "0" || text === "–");
      this.written[position] = text;
    }
  }

  render({ row, columns, index }) {
    return html`<tr ref=${this.line} class=${row.className ?? ""} data-key=${row.key} aria-rowindex=${index}>
      ${columns.map((column, position) => html`<${position === 0 ? "th" : "td"} key=${column.key} scope=${position === 0 ? "row" : undefined}
        class=${classOf(column)}>${column.cell?.(row)}<//>`)}
    </tr>`;
  }
}

/** Room for the rows that are not drawn. */
function Spacer({ height, columns }) {
  if (height <= 0) return null;
  return html`<tr class="spacer" aria-hidden="true"><td colspan=${columns} style=${{ height: `${height}px` }}></td></tr>`;
}

function stableOrder(order, busy, id, rows, arrange) {
  const held = busy.hovered || busy.focusedKey !== null;
  const fresh = performance.now() - order.at < ORDER_SECONDS * 1000;
  const kept = order.id === id && (held || fresh) ? inOrder(rows, order.keys) : null;
  if (kept !== null) return kept;
  const ordered = arrange();
  Object.assign(order, { id, keys: ordered.map((row) => row.key), at: performance.now() });
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
function useKeptFocus({ body, busy }) {
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
