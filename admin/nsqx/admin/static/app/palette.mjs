/** The palette: every page, topic, channel, node and action, by typing a part of its name. */

import { ACTIONS, may, openAction } from "./actions.mjs";
import { Dialog, closeDialog, openDialog } from "./dialogs.mjs";
import { nodeText } from "./format.mjs";
import { html, useEffect, useRef, useState } from "./html.mjs";
import { paused, setPaused, useNames } from "./live.mjs";
import { theme } from "./page-settings.mjs";
import { navigate, route } from "./router.mjs";
import { matches } from "./rows.mjs";
import { channelPath, nodePath, topicPath } from "./url.mjs";

const SHOWN_MAX = 50;

const PAGES = [
  ["Topics and channels", "/"],
  ["Topology", "/topology"],
  ["Nodes", "/nodes"],
  ["Registry", "/registry"],
  ["Activity", "/activity"],
  ["Publish a message", "/publish"],
  ["Message counter", "/counter"],
  ["Settings", "/settings"],
];

const TOPIC_ACTIONS = ["create_channel", "pause_topic", "unpause_topic", "empty_topic", "delete_topic"];
const CHANNEL_ACTIONS = ["pause_channel", "unpause_channel", "seek", "replay", "empty_channel", "delete_channel"];

export function openPalette() {
  openDialog(() => html`<${Palette} key="palette" />`);
}

function Palette() {
  const names = useNames();
  const [text, setText] = useState("");
  const [index, setIndex] = useState(0);
  const list = useRef(null);
  const found = search(commands(names), text.trim());
  const current = Math.min(index, found.length - 1);

  useEffect(() => {
    list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  }, [current, text]);

  const choose = (command) => {
    closeDialog();
    command.run();
  };
  const onKeyDown = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      setIndex((current + step + found.length) % Math.max(1, found.length));
    } else if (event.key === "Enter" && found[current] !== undefined) {
      event.preventDefault();
      choose(found[current]);
    }
  };

  return html`<${Dialog} title="Go to, or do" className="palette" hideTitle>
    <input class="palette-input" role="combobox" aria-label="Go to, or do" aria-expanded="true" aria-controls="palette-list" autofocus
      aria-activedescendant=${found.length ? `command-${current}` : null} autocomplete="off" spellcheck="false" placeholder="Topic, channel, node, page or action"
      value=${text} onInput=${(event) => { setText(event.target.value); setIndex(0); }} onKeyDown=${onKeyDown} />
    <ul id="palette-list" role="listbox" aria-label="Found" ref=${list}>
      ${found.map((command, position) => html`<li key=${command.id} id=${`command-${position}`} role="option" aria-selected=${String(position === current)}
        onClick=${() => choose(command)}><span class="kind">${command.kind}</span><span class="name">${command.name}</span></li>`)}
    </ul>
    ${found.length === 0 && html`<p class="empty" role="status">Nothing is called that</p>`}
  <//>`;
}

function commands({ topics, channels, nodes }) {
  const go = (kind, name, path) => ({ id: `${kind} ${name}`, kind, name, run: () => navigate(path) });
  return [
    ...actionsHere(),
    ...PAGES.map(([name, path]) => go("page", name, path)),
    ...topics.map((topic) => go("topic", topic, topicPath(topic))),
    ...channels.map((key) => go("channel", key, channelPath(...key.split("/")))),
    ...nodes.map((node) => go("node", nodeText(node), nodePath(node.address))),
    ...SETTINGS,
  ];
}

const SETTINGS = [
  { id: "pause", kind: "view", name: "Pause or continue live updates", run: () => setPaused(!paused.value) },
  ...["auto", "light", "dark"].map((name) => ({ id: `theme ${name}`, kind: "view", name: `Colours: ${name}`, run: () => { theme.value = name; } })),
];

/** What can be done to what is on screen. */
function actionsHere() {
  const { topic, channel } = route.value.params;
  const names = channel ? CHANNEL_ACTIONS : topic ? TOPIC_ACTIONS : ["create_topic"];
  const target = withoutUndefined({ topic, channel });
  return names.filter((name) => may(ACTIONS[name].right)).map((name) => ({
    id: name,
    kind: "action",
    name: `${ACTIONS[name].title} ${[topic, channel].filter(Boolean).join("/")}`.trim(),
    run: () => openAction(name, target),
  }));
}

/** Those with all the words; names that begin with the text first. */
function search(all, text) {
  if (text === "") return all.slice(0, SHOWN_MAX);
  const found = all.filter((command) => matches(`${command.kind} ${command.name}`, text));
  const rank = (command) => (command.name.toLowerCase().startsWith(text.toLowerCase()) ? 0 : 1);
  return found.sort((a, b) => rank(a) - rank(b)).slice(0, SHOWN_MAX);
}

function withoutUndefined(target) {
  return Object.fromEntries(Object.entries(target).filter(([, value]) => value !== undefined));
}
