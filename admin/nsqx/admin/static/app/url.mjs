/**
 * Which page a URL means, and which URL a page has. Pure.
 *
 * All state that somebody may want to send to a colleague is in the URL: the page in the path, how
 * it is looked at (search, sort, range) in the query.
 */

/** What can stand where a topic's channels stand. A channel of such a name needs `?view=channel`. */
const TOPIC_TABS = new Set(["messages", "tail", "publish", "activity"]);

const SIMPLE_PAGES = {
  "": "home",
  topics: "home",
  topology: "topology",
  nodes: "nodes",
  registry: "registry",
  lookup: "registry",
  activity: "activity",
  publish: "publish",
  counter: "counter",
  settings: "settings",
};

/**
 * @param {string} base the base path, with slashes at both ends
 * @param {string} pathname
 * @param {string} search with or without its question mark
 */
export function parseUrl(base, pathname, search) {
  const query = Object.fromEntries(new URLSearchParams(search));
  // Without its last slash a base path is the home page, too.
  const inside = `${pathname}/` === base ? "" : pathname.startsWith(base) ? pathname.slice(base.length) : pathname.replace(/^\//, "");
  const parts = inside.split("/").filter((part) => part !== "").map(decode);
  return { ...parsePath(parts, query), query };
}

function parsePath(parts, query) {
  const [first = "", second, third] = parts;
  if (parts.length <= 1) return page(SIMPLE_PAGES[first] ?? "missing");
  if (first === "nodes" && parts.length === 2) return page("node", { node: second });
  if (first !== "topics") return page("missing");
  if (parts.length === 2) return page("topic", { topic: second });
  if (parts.length > 3) return page("missing");
  if (TOPIC_TABS.has(third) && query.view !== "channel") return page(third, { topic: second });
  return page("channel", { topic: second, channel: third });
}

function page(name, params = {}) {
  return { page: name, params };
}

export function topicPath(topic, tab = "") {
  return `/topics/${encodeURIComponent(topic)}${tab && `/${tab}`}`;
}

export function channelPath(topic, channel) {
  const path = `${topicPath(topic)}/${encodeURIComponent(channel)}`;
  return TOPIC_TABS.has(channel) ? `${path}?view=channel` : path;
}

export function nodePath(address) {
  // A colon is fine in a path, and an address with %3A is nothing that one reads.
  return `/nodes/${encodeURIComponent(address).replaceAll("%3A", ":")}`;
}

/** The query `changes` makes of `query`; null and "" remove. No question mark when nothing is left. */
export function withQuery(query, changes) {
  const merged = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...query, ...changes })) {
    if (value !== null && value !== undefined && value !== "") merged.set(name, value);
  }
  const text = merged.toString();
  return text && `?${text}`;
}

/** "-depth" -> { key: "depth", descending: true }. */
export function parseSort(text, fallback) {
  const sort = text || fallback;
  return sort.startsWith("-") ? { key: sort.slice(1), descending: true } : { key: sort, descending: false };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
