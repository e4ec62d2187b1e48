/**
 * Charts over time: uPlot for what is read, a drawn line for what is glanced at.
 *
 * A chart of ten minutes grows by what the live documents say each second; longer ones are fetched
 * anew each time a step has passed. Every chart has its numbers as a table, too.
 */

import uPlot from "../vendor/uplot.mjs";
import { getJson } from "./api.mjs";
import { clockTime, count, rate, shortCount } from "./format.mjs";
import { html, memo, useEffect, useLayoutEffect, useRef, useState } from "./html.mjs";
import { me, now, paused } from "./live.mjs";
import { isDark, theme } from "./page-settings.mjs";
import { route, setQuery } from "./router.mjs";
import { appendRow, sparkLines } from "./series.mjs";
import { Choice } from "./ui.mjs";

const HEIGHT = 190;
/** A chart begins with this much room, and does not stretch its first two points over it all. */
const SECONDS_MIN = 60;
const TABLE_ROWS = 30;
/** An axis of what is counted has whole numbers, and some room although there is nothing. */
const COUNT_MIN = 4;
const WHOLE = Array.from({ length: 15 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();
const DAY_SECONDS = 86400;

/** metric -> how it is called and which colour it has. */
const METRICS = {
  in: { label: "in /s", color: "--in", show: rate },
  out: { label: "out /s", color: "--out", show: rate },
  requeues: { label: "requeues /s", color: "--again", show: rate },
  depth: { label: "depth", color: "--depth", show: count },
  clients: { label: "clients", color: "--in", show: count },
};

/**
 * The history of one series as { times, metrics: {name: [..]}, restarts, step }, or null before it
 * is there. `row` is the live document's numbers, of time `t`.
 */
export function useHistory(series, range, row, t) {
  const [history, setHistory] = useState(null);
  const wanted = `${series} ${range}`;
  const stepsPassed = history === null ? 0 : Math.floor(now.value / Math.max(history.step, 10));
  const live = range === "10m";

  useEffect(() => {
    let current = true;
    (live ? fetchLive(series) : fetchRange(series, range)).then(
      (fetched) => { if (current) setHistory({ ...fetched, wanted }); },
      () => { if (current) setHistory((before) => before ?? { ...NO_HISTORY, wanted }); },
    );
    return () => { current = false; };
  }, [wanted, live ? 0 : stepsPassed]);

  if (history === null || history.wanted !== wanted) return null;
  return live && row ? appendRow(history, row, t, Object.keys(METRICS)) : history;
}

async function fetchRange(series, range) {
  return fromAnswer(await getJson(`history?${new URLSearchParams({ series, range })}`));
}

/**
 * The last ten minutes: by seconds from when somebody began to look, and before that by ten seconds,
 * which are always kept.
 */
async function fetchLive(series) {
  const [fine, coarse] = await Promise.all([fetchRange(series, "10m"), fetchRange(series, "1h")]);
  const from = now.value - 600;
  const until = fine.times[0] ?? Infinity;
  const before = coarse.times.flatMap((time, index) => (time > from && time < until ? [index] : []));
  // The seconds begin with a point that says "nothing known": no gap where ten seconds were known.
  const skipped = before.length > 0 && Object.values(fine.metrics).every((values) => values[0] === null) ? 1 : 0;
  const metrics = {};
  for (const name of new Set([...Object.keys(coarse.metrics), ...Object.keys(fine.metrics)])) {
    const [old, young] = [coarse.metrics[name] ?? [], fine.metrics[name] ?? new Array(fine.times.length).fill(null)];
    metrics[name] = [...before.map((index) => old[index] ?? null), ...young.slice(skipped)];
  }
  return { ...fine, metrics, times: [...before.map((index) => coarse.times[index]), ...fine.times.slice(skipped)] };
}

const NO_HISTORY = { times: [], metrics: {}, restarts: [], step: 1 };

function fromAnswer({ start, step, series }) {
  const [{ metrics, restarts } = { metrics: {}, restarts: [] }] = series;
  const points = Math.max(0, ...Object.values(metrics).map((values) => values.length));
  const known = firstKnown(metrics, points);
  return {
    step,
    restarts: restarts ?? [],
    times: Array.from({ length: points - known }, (_, index) => start + (known + index) * step),
    metrics: Object.fromEntries(Object.entries(metrics).map(([name, values]) => [name, values.slice(known)])),
  };
}

/** Where the known part begins: an hour of nothing says nothing. */
function firstKnown(metrics, points) {
  for (let index = 0; index < points; index += 1) {
    if (Object.values(metrics).some((values) => values[index] !== null)) return Math.max(0, index - 1);
  }
  return points;
}

/** Charts of one series beside each other, with a choice of how far back. */
export function History({ series, row, t, charts, title }) {
  const range = route.value.query.range ?? "10m";
  const history = useHistory(series, range, row, t);
  return html`<section class="section" aria-label=${title}>
    <div class="section-head"><h2>${title}</h2><${RangeChoice} /></div>
    <div class="charts">
      ${charts.map((names) => html`<${Chart} key=${names.join()} names=${names} history=${history} last=${t} />`)}
    </div>
  </section>`;
}

function RangeChoice() {
  const range = route.value.query.range ?? "10m";
  const options = [["10m", "10 min"], ["1h", "1 h"], ["24h", "24 h"]];
  if ((me.value?.history_seconds ?? 0) > DAY_SECONDS) options.push(["7d", "7 d"]);
  return html`<${Choice} label="How far back" options=${options} value=${range}
    onChange=${(id) => setQuery({ range: id === "10m" ? null : id })} />`;
}

function Chart({ names, history, last }) {
  const place = useRef(null);
  const plot = useRef(null);
  const dark = theme.value;
  const ready = history !== null && history.times.length > 1;

  useLayoutEffect(() => {
    if (!ready) return undefined;
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(names, history, place.current.clientWidth), dataOf(names, history), place.current);
      labelCanvas(plot.current);
    };
    draw();
    const observer = new ResizeObserver(() => {
      plot.current?.setSize({ width: place.current.clientWidth, height: HEIGHT });
    });
    observer.observe(place.current);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", draw);
    return () => {
      observer.disconnect();
      scheme.removeEventListener("change", draw);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [ready, history?.wanted, dark, names.join()]);

  useEffect(() => {
    if (plot.current !== null && !paused.value) plot.current.setData(dataOf(names, history));
  }, [history, last]);

  return html`<figure class="chart">
    <figcaption>${names.map((name) => html`<${Key} key=${name} name=${name} history=${history} />`)}</figcaption>
    <div class="plot" ref=${place}>${!ready && html`<p class="quiet">${history === null ? "Loading" : "No history yet"}</p>`}</div>
    ${ready && html`<${NumbersTable} names=${names} history=${history} />`}
  </figure>`;
}

function Key({ name, history }) {
  const { label, color, show } = METRICS[name];
  const value = history?.metrics[name]?.at(-1);
  return html`<span class="chart-key ${color.slice(2)}"><i aria-hidden="true"></i>${label} <b>${show(value)}</b></span>`;
}

function NumbersTable({ names, history }) {
  const [open, setOpen] = useState(false);
  const from = Math.max(0, history.times.length - TABLE_ROWS);
  const rows = history.times.slice(from).map((time, index) => [time, from + index]).reverse();
  return html`<details class="chart-table" onToggle=${(event) => setOpen(event.target.open)}>
    <summary>Numbers</summary>
    ${open && html`<table class="data">
      <caption class="visually-hidden">The last points of the chart</caption>
      <thead><tr><th scope="col">Time</th>${names.map((name) => html`<th key=${name} scope="col" class="number">${METRICS[name].label}</th>`)}</tr></thead>
      <tbody>${rows.map(([time, index]) => html`<tr key=${time}>
        <th scope="row">${clockTime(time, now.value)}</th>
        ${names.map((name) => html`<td key=${name} class="number">${METRICS[name].show(history.metrics[name]?.[index])}</td>`)}
      </tr>`)}</tbody>
    </table>`}
  </details>`;
}

function dataOf(names, history) {
  return [history.times, ...names.map((name) => history.metrics[name] ?? new Array(history.times.length).fill(null))];
}

function options(names, history, width) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => resolved(style, name);
  const axis = { stroke: color("--dim"), grid: { stroke: color("--grid"), width: 1 }, ticks: { show: false }, font: `11px ${style.fontFamily}` };
  const isCount = names.every((name) => METRICS[name].show === count);
  return {
    width: Math.max(width, 80),
    height: HEIGHT,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 6 } },
    scales: { x: { range: (_, low, high) => [Math.min(low, high - SECONDS_MIN), high] }, y: { range: (_, low, high) => [0, Math.max(high * 1.1, isCount ? COUNT_MIN : 1)] } },
    axes: [
      { ...axis, size: 26, space: 70, values: (_, splits) => splits.map((time) => clockTime(time, time).slice(0, history.step < 10 ? 8 : 5)) },
      { ...axis, size: 46, ...(isCount && { incrs: WHOLE }), values: (_, splits) => splits.map((value) => (value < 10 && !isCount ? rate(value) : shortCount(value))) },
    ],
    series: [
      {},
      ...names.map((name) => ({
        label: METRICS[name].label,
        stroke: color(METRICS[name].color),
        fill: names.length === 1 ? color(`${METRICS[name].color}-fill`) : undefined,
        width: 1.5,
        points: { show: false },
      })),
    ],
    hooks: { draw: [(plot) => drawRestarts(plot, history.restarts, color("--again"))] },
    plugins: [tooltip(names)],
  };
}

/** A canvas knows no light-dark(): take the colour as the page shows it. */
function resolved(style, name) {
  const value = style.getPropertyValue(name).trim();
  const match = /^light-dark\((.+?),\s*(.+)\)$/.exec(value);
  return match === null ? value : match[isDark() ? 2 : 1];
}

/** A restart is a mark on the time axis: the counters began anew there. */
function drawRestarts(plot, restarts, color) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = color;
  ctx.setLineDash([3, 3]);
  for (const time of restarts) {
    const x = plot.valToPos(time, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

function tooltip(names) {
  const box = document.createElement("div");
  box.className = "chart-tip";
  box.hidden = true;
  return {
    hooks: {
      init: (plot) => plot.over.append(box),
      setCursor: (plot) => {
        const { idx, left } = plot.cursor;
        box.hidden = idx === null || idx === undefined || left < 0;
        if (box.hidden) return;
        const values = names.map((name, index) => `${METRICS[name].label} ${METRICS[name].show(plot.data[index + 1][idx])}`);
        box.textContent = [clockTime(plot.data[0][idx], plot.data[0][idx]), ...values].join("   ");
        box.classList.toggle("left", left > plot.over.clientWidth / 2);
      },
    },
  };
}

/** For readers of the screen the table below says it; the picture itself is silent. */
function labelCanvas(plot) {
  plot.root.setAttribute("aria-hidden", "true");
}

/** A line as large as a word. */
export const Sparkline = memo(({ values, tone }) => {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (known.length < 2) return html`<svg class="spark" aria-hidden="true"></svg>`;
  return html`<svg class="spark ${tone}" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
    ${sparkLines(values).map((points) => html`<polygon points="${points[0][0]},24 ${points.join(" ")} ${points.at(-1)[0]},24" /><polyline points=${points.join(" ")} />`)}
  </svg>`;
});
