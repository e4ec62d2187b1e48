/** The cluster as a picture: who sends what through where to whom. And the same as a table. */

import { rate, shortened } from "../format.mjs";
import { html, memo, useMemo, useRef, useState } from "../html.mjs";
import { layout, linkPath, linkWidth } from "../layout.mjs";
import { useView } from "../live.mjs";
import { navigate, route, setQuery } from "../router.mjs";
import { DataTable, Filter, nextSort } from "../table.mjs";
import { Choice, Link, Loading, PageHead } from "../ui.mjs";
import { parseSort } from "../url.mjs";
import { litBy, sumOfKnown } from "../topology-model.mjs";

const TITLES = { producers: "Producers", nodes: "Nodes", topics: "Topics", channels: "Channels", clients: "Consumers", lookupds: "Directories" };
const KINDS = { producers: "producer", nodes: "node", topics: "topic", channels: "channel", clients: "consumer", lookupds: "directory" };
/** Of its own size; smaller letters than that are a pattern. */
const LEGIBLE = 0.7;
/** Widths in the picture: of a letter of a note, and what a note leaves for the name. */
const NOTE_LETTER = 6.2;
const NAME_ROOM = 70;
const ZOOMS = [0.5, 0.75, 1, 1.25, 1.5, 2];

export function TopologyPage() {
  const { view = "", q, scope } = route.value.query;
  const search = q ?? scopeSearch(scope);
  const model = useView("topology", { q: search });
  const head = html`<${PageHead} title="Topology" />`;
  if (model === null) return html`${head}<${Loading} />`;
  return html`${head}
    <div class="tools">
      <${Filter} label="Search topics" value=${search} onInput=${(text) => setQuery({ q: text, scope: null, focus: null })} />
      <${Choice} label="View" options=${[["", "picture"], ["table", "table"]]} value=${view} onChange=${(id) => setQuery({ view: id })} />
    </div>
    ${model.hiddenTopics > 0 && html`<p class="quiet">The ${model.things.filter((one) => one.column === "topics").length} topics that matter most; ${model.hiddenTopics} more are found by searching.</p>`}
    ${view === "table" ? html`<${EdgeTable} model=${model} />` : html`<${Picture} model=${model} />`}`;
}

/** `?scope=topic:orders` is a search for the topic. */
function scopeSearch(scope = "") {
  return scope.startsWith("topic:") ? scope.slice(6) : "";
}

function Picture({ model }) {
  const { things, links } = model;
  const [zoom, setZoom] = useState(0);
  const svg = useRef(null);
  const { focus = "" } = route.value.query;
  // Only what is there decides where it stands: numbers that change move nothing.
  const shape = `${things.map((one) => one.id).join("\n")}\n\n${links.map((link) => link.key).join("\n")}`;
  const { places, width, height } = useMemo(() => layout(things, links), [shape]);
  const focused = things.find((one) => one.id === focus);
  const lit = focused ? litBy(focused, model) : null;
  const greatest = Math.max(0, ...links.map((link) => link.rate ?? 0));
  if (things.length === 0) return html`<p class="empty">Nothing to draw yet.</p>`;
  const size = { width: zoom === 0 ? fittedWidth(width, height) : `${width * zoom}px` };

  return html`
    <div class="picture-tools">
      <${Zoom} zoom=${zoom} onZoom=${setZoom} />
      <button type="button" class="button small" onClick=${() => exportSvg(svg.current)}>Save as SVG</button>
      <span class="quiet">A click shows what belongs together, a double click opens.</span>
    </div>
    <div class="picture" onKeyDown=${(event) => { if (event.key === "Escape") setQuery({ focus: null }); }}>
      <svg ref=${svg} viewBox=${`0 0 ${width} ${height}`} style=${size} role="group" aria-label="Topology" class=${lit ? "focused" : ""}
        onClick=${(event) => { if (event.target === svg.current) setQuery({ focus: null }); }}>
        <g class="links">${links.map((link) => html`<${LinkLine} key=${link.key} path=${linkPath(places.get(link.from), places.get(link.to))}
          width=${round(linkWidth(link.rate, greatest))} kind=${link.registration ? "registration" : ""} flowing=${link.rate > 0}
          lit=${lit === null || (lit.has(link.from) && lit.has(link.to))} />`)}</g>
        <g class="titles" aria-hidden="true">${titlesOf(things, places).map(({ column, x, y }) => html`<text key=${column} x=${x} y=${y}>${TITLES[column]}</text>`)}</g>
        <g class="things">${things.map((one) => html`<${Thing} key=${one.id} place=${places.get(one.id)} id=${one.id} column=${one.column} label=${one.label}
          level=${one.level} note=${one.note} page=${one.page} isFocus=${one === focused} lit=${lit === null || lit.has(one.id)} />`)}</g>
      </svg>
    </div>
    <${Focused} thing=${focused} links=${links} />`;
}

const LinkLine = memo(({ path, width, kind, flowing, lit }) => html`<path d=${path} class="link ${kind} ${flowing ? "flowing" : ""} ${lit ? "" : "dim"}" stroke-width=${width} />`);

const Thing = memo(({ place: { x, y, width, height }, id, column, label, level, note, page, isFocus, lit }) => {
  const focus = () => setQuery({ focus: isFocus ? null : id });
  const onKeyDown = (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    if (isFocus && event.key === "Enter") navigate(page);
    else focus();
  };
  const said = fitted(note, width - NAME_ROOM, NOTE_LETTER);
  const name = fitted(label, width - (said ? said.length * NOTE_LETTER + 26 : 20));
  return html`<g class="thing ${column} ${level} ${lit ? "" : "dim"}" transform=${`translate(${x} ${y})`} role="button" tabindex="0" aria-pressed=${String(isFocus)}
      aria-label=${`${KINDS[column]} ${label}${note ? `, ${note}` : ""}${level ? `, ${level}` : ""}`} onClick=${focus} onDblClick=${() => navigate(page)} onKeyDown=${onKeyDown}>
    <title>${note ? `${label}, ${note}` : label}</title>
    <rect width=${width} height=${height} rx="7" />
    <text x="10" y="18.5" class="label">${name}</text>
    ${said && html`<text x=${width - 9} y="18.5" class="note">${said}</text>`}
  </g>`;
});

/** Where the name of each column is: above the first thing in it. */
function titlesOf(things, places) {
  const titles = new Map();
  for (const { id, column } of things) {
    const { x, y } = places.get(id);
    const title = titles.get(column) ?? { column, x, y: Infinity };
    titles.set(column, { column, x: Math.min(title.x, x), y: Math.min(title.y, y - 8) });
  }
  return [...titles.values()];
}

function fitted(text, room, letter = 7) {
  return shortened(text, Math.max(3, Math.floor(room / letter)));
}

function Zoom({ zoom, onZoom }) {
  const step = (direction) => () => {
    const at = ZOOMS.indexOf(zoom === 0 ? 1 : zoom);
    onZoom(ZOOMS[Math.min(ZOOMS.length - 1, Math.max(0, at + direction))]);
  };
  return html`<span class="choice" role="group" aria-label="Size">
    <button type="button" aria-label="Smaller" onClick=${step(-1)}>−</button>
    <button type="button" aria-pressed=${String(zoom === 0)} onClick=${() => onZoom(0)}>fit</button>
    <button type="button" aria-label="Larger" onClick=${step(1)}>+</button></span>`;
}

/** All of it on the screen, unless one could not read it then. */
function fittedWidth(width, height) {
  return `clamp(${width * LEGIBLE}px, calc((100vh - 250px) * ${width / height}), ${width}px)`;
}

/** What there is to say about the thing in focus. */
function Focused({ thing, links }) {
  if (!thing) return null;
  const sum = (side) => sumOfKnown(links.filter((link) => link[side] === thing.id && !link.registration).map((link) => link.rate));
  return html`<aside class="focused" aria-label="In focus">
    <span class="quiet">${KINDS[thing.column]}</span> <b class="mono">${thing.column === "channels" ? thing.id : thing.label}</b>
    <span>${thing.note}</span>
    <span class="quiet">in ${rate(sum("to"))} /s, out ${rate(sum("from"))} /s</span>
    <${Link} class="button small" to=${thing.page}>Open<//>
    <button type="button" class="button small" onClick=${() => setQuery({ focus: null })}>Show all</button>
  </aside>`;
}

const COLUMNS = [
  { key: "from", title: "From", value: ({ data }) => data.from.label, cell: ({ data }) => html`<${Link} to=${data.from.page}>${data.from.label}<//>` },
  { key: "from_kind", title: "Which is", wide: "tablet", value: ({ data }) => data.from.column, cell: ({ data }) => html`<span class="quiet">${TITLES[data.from.column]}</span>` },
  { key: "to", title: "To", value: ({ data }) => data.to.label, cell: ({ data }) => html`<${Link} to=${data.to.page}>${data.to.label}<//>` },
  { key: "to_kind", title: "Which is ", wide: "tablet", value: ({ data }) => data.to.column, cell: ({ data }) => html`<span class="quiet">${TITLES[data.to.column]}</span>` },
  { key: "state", title: "State", wide: "tablet", value: ({ data }) => data.to.note, cell: ({ data }) => data.to.note },
  { key: "rate", title: "Rate /s", number: true, value: ({ data }) => data.rate, cell: ({ data }) => rate(data.rate) },
];

function EdgeTable({ model }) {
  const sort = parseSort(route.value.query.sort, "from");
  const byId = new Map(model.things.map((one) => [one.id, one]));
  const rows = model.links.map((link) => ({ key: link.key, data: { from: byId.get(link.from), to: byId.get(link.to), rate: link.rate } }));
  return html`<${DataTable} caption="What is connected to what" columns=${COLUMNS} rows=${rows} sort=${sort} onSort=${(key) => setQuery({ sort: nextSort(COLUMNS, sort, key) })} />`;
}

function round(value) {
  return Math.round(value * 4) / 4;
}

const EXPORTED = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-family", "font-size", "font-weight", "text-anchor"];

/** The picture as a file, with the colours it has here: style sheets stay behind. */
function exportSvg(svg) {
  const copy = svg.cloneNode(true);
  const copies = copy.querySelectorAll("*");
  svg.querySelectorAll("*").forEach((element, index) => {
    const style = getComputedStyle(element);
    for (const name of EXPORTED) copies[index].setAttribute(name, style.getPropertyValue(name));
  });
  const [, , width, height] = svg.getAttribute("viewBox").split(" ");
  copy.removeAttribute("style");
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  const url = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = "topology.svg";
  link.click();
  URL.revokeObjectURL(url);
}
