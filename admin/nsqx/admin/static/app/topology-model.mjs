/** What the picture of the topology shows of the document: things and links. Pure. */

import { rate, shortCount } from "./format.mjs";
import { related } from "./layout.mjs";
import { matches } from "./rows.mjs";
import { channelPath, nodePath, topicPath } from "./url.mjs";

const TOPICS_MAX = 30;
/** Above this many, clients are shown as one number for each channel. */
const CLIENTS_MAX = 40;
/** Above this many they are left out. */
const PRODUCERS_MAX = 40;

/**
 * @param {Record<string, any>} doc the document `topology`
 * @param {string} search words; only topics with them, and what belongs to these
 * @returns {{things, links, hiddenTopics: number, collapsed: boolean}}
 */
export function modelOf(doc, search) {
  const found = Object.entries(doc.topics).filter(([topic]) => search === "" || matches(topic, search));
  const shown = mostImportant(found, TOPICS_MAX);
  const topics = new Set(shown.map(([topic]) => topic));
  const channels = Object.entries(doc.channels).filter(([key]) => topics.has(topicOf(key)));
  const clients = Object.entries(doc.clients).filter(([, client]) => topics.has(topicOf(client.channel)));
  const publishing = Object.entries(doc.producers).filter(([, producer]) => topics.has(producer.topic));
  const producers = publishing.length > PRODUCERS_MAX ? [] : publishing;
  const collapsed = clients.length > CLIENTS_MAX;
  const things = [
    ...Object.entries(doc.lookupds).map(([id, lookupd]) => thing(id, "lookupds", id, stateLevel(lookupd.state), lookupd.state === "ok" ? "" : lookupd.state, "/nodes")),
    ...producers.map(([id, producer]) => thing(id, "producers", producer.host, "", producer.topic, topicPath(producer.topic))),
    ...Object.entries(doc.nodes).map(([id, node]) => thing(id, "nodes", id, stateLevel(node.state), node.state === "ok" ? `${rate(node.in)} /s` : node.state, nodePath(id))),
    ...shown.map(([id, topic]) => thing(id, "topics", id, flagLevel(topic.flags), `${rate(topic.in)} /s`, topicPath(id))),
    ...channels.map(([id, channel]) => thing(id, "channels", id.slice(id.indexOf("/") + 1), flagLevel(channel.flags), channelNote(channel), channelPath(topicOf(id), id.slice(id.indexOf("/") + 1)))),
    ...(collapsed ? collapsedClients(clients) : clients.map(clientThing)),
  ];
  return { things, links: linksOf(doc, things, clients, collapsed), hiddenTopics: found.length - shown.length, collapsed };
}

function thing(id, column, label, level, note, page) {
  return { id, column, label, level, note, page };
}

/** Those in trouble first, then the busiest; in the order of their names, so that they stay put. */
function mostImportant(topics, most) {
  if (topics.length <= most) return topics.sort(byName);
  const weight = ([, topic]) => [topic.flags.some((flag) => flag !== "paused") ? 1 : 0, topic.in];
  return topics
    .map((entry) => [weight(entry), entry])
    .sort(([a], [b]) => b[0] - a[0] || b[1] - a[1])
    .slice(0, most)
    .map(([, entry]) => entry)
    .sort(byName);
}

function byName([a], [b]) {
  return a.localeCompare(b, "en", { numeric: true });
}

function topicOf(channelKey) {
  return channelKey.slice(0, channelKey.indexOf("/"));
}

function stateLevel(state) {
  return state === "ok" || state === "waiting" ? "" : "critical";
}

function flagLevel(flags) {
  if (flags.includes("stuck")) return "critical";
  if (flags.some((flag) => flag !== "paused")) return "warning";
  return flags.includes("paused") ? "paused" : "";
}

function channelNote({ depth, flags, out }) {
  if (flags.includes("paused")) return `paused, ${shortCount(depth)}`;
  return depth > 0 ? `${shortCount(depth)} wait` : `${rate(out)} /s`;
}

function clientThing([id, client]) {
  const note = client.count > 1 ? `× ${client.count}` : "";
  return thing(id, "clients", client.host, "", note, channelPath(topicOf(client.channel), client.channel.slice(client.channel.indexOf("/") + 1)));
}

function collapsedId(channel) {
  return `${channel}@*`;
}

function collapsedClients(clients) {
  const counts = new Map();
  for (const [, client] of clients) counts.set(client.channel, (counts.get(client.channel) ?? 0) + client.count);
  return [...counts].map(([channel, count]) => thing(collapsedId(channel), "clients", `${shortCount(count)} clients`, "", "",
    channelPath(topicOf(channel), channel.slice(channel.indexOf("/") + 1))));
}

function linksOf(doc, things, clients, collapsed) {
  const ids = new Set(things.map((one) => one.id));
  const links = Object.entries(doc.edges).flatMap(([key, edge]) => {
    const at = key.indexOf(">");
    const [from, to] = [key.slice(0, at), key.slice(at + 1)];
    return ids.has(from) && ids.has(to) ? [{ key, from, to, rate: edge.rate, registration: from in doc.lookupds }] : [];
  });
  if (!collapsed) return links;
  const out = new Map();
  for (const [, client] of clients) out.set(client.channel, [...(out.get(client.channel) ?? []), client.out]);
  return [...links, ...[...out].map(([channel, rates]) => ({ key: `${channel}>*`, from: channel, to: collapsedId(channel), rate: sumOfKnown(rates), registration: false }))];
}

/** The sum of the rates that are known; of none that is, null. Where nothing flows by its nature it is 0. */
export function sumOfKnown(rates) {
  const known = rates.filter((rate) => rate !== null);
  return rates.length > 0 && known.length === 0 ? null : known.reduce((total, rate) => total + rate, 0);
}

/**
 * What belongs together with `focused`: what reaches it and what it reaches. A node knows which topics
 * a producer publishes, so that a producer belongs to these and to nothing else behind its node.
 */
export function litBy(focused, { things, links }) {
  const producers = things.filter((one) => one.column === "producers");
  const isOfProducer = new Set(producers.map((one) => one.id));
  if (focused.column === "lookupds") return related(focused.id, links.filter((link) => link.registration));
  const flows = links.filter((link) => !link.registration && !isOfProducer.has(link.from));
  if (focused.column === "producers") {
    const nodes = links.filter((link) => link.from === focused.id).map((link) => link.to);
    const behind = related(focused.note, flows.filter((link) => link.to !== focused.note));
    return new Set([focused.id, ...nodes, ...behind]);
  }
  const lit = related(focused.id, flows);
  for (const { id, note } of producers) {
    const isHere = focused.column !== "nodes" || links.some((link) => link.from === id && link.to === focused.id);
    if (lit.has(note) && isHere) lit.add(id);
  }
  return lit;
}
