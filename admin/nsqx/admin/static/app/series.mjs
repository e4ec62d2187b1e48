/** Values over time: how they grow, and the points of a line as large as a word. Pure. */

const HEIGHT = 24;

/**
 * Adds the newest numbers to the same arrays; the chart looks at the time of the last point. What
 * silent nodes said last is no number of now.
 */
export function appendRow(history, row, t, names) {
  const { times, metrics } = history;
  const isSilent = row.nodes > 0 && (row.nodes_up === 0 || row.stale === row.nodes);
  if (t === null || (times.length > 0 && t < times.at(-1) + 0.5)) return history;
  times.push(t);
  for (const name of names) {
    if (row[name] === undefined) continue;
    metrics[name] ??= new Array(times.length - 1).fill(null);
    metrics[name].push(isSilent ? null : row[name]);
  }
  while (times.length > 1 && times[0] < t - 600) {
    times.shift();
    for (const values of Object.values(metrics)) values.shift();
  }
  return history;
}

/**
 * The parts of the line, each a list of [x, y]: a line begins anew behind what is not known, and is
 * never drawn through it, or at 0.
 * @param {Array<number | null | undefined>} values
 */
export function sparkLines(values) {
  const top = Math.max(...values.map((value) => value ?? 0), 1e-9) * 1.08;
  const step = 100 / (values.length - 1);
  const lines = [[]];
  values.forEach((value, index) => {
    if (value === null || value === undefined) lines.push([]);
    else lines.at(-1).push([(index * step).toFixed(1), (HEIGHT - (value / top) * HEIGHT).toFixed(1)]);
  });
  return lines.filter((points) => points.length > 0);
}

/** At most `count` values that stand for all of them: each the mean of its part. */
export function thinned(values, count) {
  if (values.length <= count) return values;
  const size = values.length / count;
  return Array.from({ length: count }, (_, index) => {
    const part = values.slice(Math.floor(index * size), Math.floor((index + 1) * size)).filter((value) => value !== null);
    return part.length === 0 ? null : part.reduce((sum, value) => sum + value, 0) / part.length;
  });
}
