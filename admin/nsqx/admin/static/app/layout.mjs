/**
 * Where things stand in the picture of the topology. Pure.
 *
 * Messages go from left to right: producers, nodes, topics, channels, clients; directories are a
 * rail above. Since each thing's column is known, two steps are left of a general layered layout:
 * order every column so that few lines cross (each thing to the mean place of its neighbours, from
 * the left and from the right in turn), then move things up and down towards their neighbours as far
 * as their order and their room allow.
 */

export const COLUMNS = ["producers", "nodes", "topics", "channels", "clients"];

const WIDTH = { producers: 170, nodes: 190, topics: 170, channels: 170, clients: 170, lookupds: 150 };
const HEIGHT = 28;
const GAP = 8;
const COLUMN_GAP = 84;
const MARGIN = 16;
const RAIL = 80;
/** Above each column, for what it is called. */
const TITLE = 18;
const ORDER_SWEEPS = 6;
const PLACE_SWEEPS = 8;
/** The place in a column of what belongs to nothing: behind all that does. */
const LAST = 2;

/**
 * @param {Array<{id: string, column: string}>} things
 * @param {Array<{from: string, to: string}>} links between ids; those of unknown ids are left out
 * @returns {{places: Map<string, {x, y, width, height}>, width: number, height: number}}
 */
export function layout(things, links) {
  const columns = COLUMNS.map((name) => things.filter((thing) => thing.column === name).map((thing) => thing.id));
  const rail = things.filter((thing) => thing.column === "lookupds").map((thing) => thing.id);
  const neighbours = neighboursOf(columns.flat(), links);
  order(columns, neighbours);
  const tops = spread(columns, neighbours);
  return place(columns, tops, rail);
}

function neighboursOf(ids, links) {
  const neighbours = new Map(ids.map((id) => [id, []]));
  for (const { from, to } of links) {
    if (!neighbours.has(from) || !neighbours.has(to)) continue;
    neighbours.get(from).push(to);
    neighbours.get(to).push(from);
  }
  return neighbours;
}

/** Sort each column by the mean place of its neighbours, sweeping to and fro. */
function order(columns, neighbours) {
  for (let sweep = 0; sweep < ORDER_SWEEPS; sweep += 1) {
    const indices = columns.map((_, index) => index);
    if (sweep % 2 === 1) indices.reverse();
    for (const index of indices) {
      const places = relativePlaces(columns);
      const mean = new Map(columns[index].map((id) => [id, meanOf(neighbours.get(id), places) ?? LAST]));
      columns[index].sort((a, b) => mean.get(a) - mean.get(b));
    }
  }
}

/** Every id's place in its column, 0 to 1: columns are of different lengths. */
function relativePlaces(columns) {
  return new Map(columns.flatMap((ids) => ids.map((id, index) => [id, (index + 0.5) / ids.length])));
}

/** The mean of the values of `ids`; null for none. */
function meanOf(ids, values) {
  return ids.length === 0 ? null : ids.reduce((sum, id) => sum + values.get(id), 0) / ids.length;
}

/** The top of each thing: near its neighbours, in the column's order, none upon another. */
function spread(columns, neighbours) {
  const tops = new Map(columns.flatMap((ids) => ids.map((id, index) => [id, index * (HEIGHT + GAP)])));
  for (let sweep = 0; sweep < PLACE_SWEEPS; sweep += 1) {
    const turn = sweep % 2 === 0 ? columns : columns.toReversed();
    for (const ids of turn) settle(ids, ids.map((id) => meanOf(neighbours.get(id), tops)), tops);
  }
  const highest = Math.min(0, ...tops.values());
  for (const [id, top] of tops) tops.set(id, top - highest);
  return tops;
}

/**
 * Give the things of one column tops as near to the wanted ones as order and room allow. What has no
 * neighbours (null) follows upon the thing before it.
 */
function settle(ids, wanted, tops) {
  const step = HEIGHT + GAP;
  let below = (wanted.find((top) => top !== null) ?? 0) - step;
  const settled = wanted.map((top, index) => {
    below = top === null ? below + step : Math.max(top, index === 0 ? top : below + step);
    return below;
  });
  // Pushing only ever moves down; the mean of that goes back up.
  const pushed = settled.map((top, index) => (wanted[index] === null ? 0 : top - wanted[index]));
  const drift = pushed.reduce((sum, each) => sum + each, 0) / Math.max(1, ids.length);
  ids.forEach((id, index) => tops.set(id, settled[index] - drift));
}

function place(columns, tops, rail) {
  const places = new Map();
  const above = TITLE + (rail.length > 0 ? RAIL : 0);
  let x = MARGIN;
  let height = above + HEIGHT;
  COLUMNS.forEach((name, index) => {
    if (columns[index].length === 0) return;
    for (const id of columns[index]) {
      const y = MARGIN + above + tops.get(id);
      places.set(id, { x, y: Math.round(y), width: WIDTH[name], height: HEIGHT });
      height = Math.max(height, y + HEIGHT);
    }
    x += WIDTH[name] + COLUMN_GAP;
  });
  rail.forEach((id, index) => {
    places.set(id, { x: MARGIN + index * (WIDTH.lookupds + 24), y: MARGIN + TITLE, width: WIDTH.lookupds, height: HEIGHT });
  });
  const railWidth = MARGIN + rail.length * (WIDTH.lookupds + 24);
  return { places, width: Math.max(x - COLUMN_GAP, railWidth) + MARGIN, height: Math.ceil(height) + MARGIN };
}

/** How many pairs of lines between neighbouring columns cross; what `order` makes small. */
export function crossings(places, links) {
  const known = links.filter(({ from, to }) => places.has(from) && places.has(to));
  let count = 0;
  known.forEach((one, index) => {
    const [a, b] = [places.get(one.from), places.get(one.to)];
    for (const other of known.slice(index + 1)) {
      const [c, d] = [places.get(other.from), places.get(other.to)];
      if (a.x === c.x && b.x === d.x && (a.y - c.y) * (b.y - d.y) < 0) count += 1;
    }
  });
  return count;
}

/** A line that leaves to the right and arrives from the left; from above for a directory. */
export function linkPath(from, to) {
  if (from.y + from.height < to.y && from.y < RAIL && to.y >= RAIL) {
    const [x1, y1, x2, y2] = [from.x + from.width / 2, from.y + from.height, to.x + to.width / 2, to.y];
    const bend = (y2 - y1) / 2;
    return `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}`;
  }
  const [x1, y1, x2, y2] = [from.x + from.width, from.y + from.height / 2, to.x, to.y + to.height / 2];
  const bend = (x2 - x1) / 2;
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}

/** The width of a line for a rate: from a hair for nothing to 8 for the greatest. */
export function linkWidth(rate, greatest) {
  if (!rate || !greatest) return 1;
  return 1.25 + 6.75 * Math.sqrt(Math.min(1, rate / greatest));
}

/** All that `id` gets messages from and gives messages to, itself included. */
export function related(id, links) {
  const found = new Set([id]);
  for (const [near, far] of [["from", "to"], ["to", "from"]]) {
    const byEnd = Map.groupBy ? Map.groupBy(links, (link) => link[near]) : groupBy(links, near);
    const open = [id];
    const seen = new Set(open);
    while (open.length > 0) {
      for (const link of byEnd.get(open.pop()) ?? []) {
        if (seen.has(link[far])) continue;
        seen.add(link[far]);
        found.add(link[far]);
        open.push(link[far]);
      }
    }
  }
  return found;
}

function groupBy(links, near) {
  const groups = new Map();
  for (const link of links) groups.set(link[near], [...(groups.get(link[near]) ?? []), link]);
  return groups;
}
