/** Begins here: connects, and draws the page that the URL means. */

import { html, render } from "./html.mjs";
import { listenToKeys } from "./keyboard.mjs";
import { connect } from "./live.mjs";
import { ActivityPage } from "./pages/activity.mjs";
import { ChannelPage } from "./pages/channel.mjs";
import { CounterPage } from "./pages/counter.mjs";
import { HomePage } from "./pages/home.mjs";
import { MessagesPage } from "./pages/messages.mjs";
import { NodePage } from "./pages/node.mjs";
import { NodesPage } from "./pages/nodes.mjs";
import { PublishPage } from "./pages/publish.mjs";
import { RegistryPage } from "./pages/registry.mjs";
import { SettingsPage } from "./pages/settings.mjs";
import { TailPage } from "./pages/tail.mjs";
import { TopicPage } from "./pages/topic.mjs";
import { TopologyPage } from "./pages/topology.mjs";
import { route } from "./router.mjs";
import { Shell } from "./shell.mjs";
import { Missing } from "./ui.mjs";

const PAGES = {
  home: HomePage,
  topic: TopicPage,
  channel: ChannelPage,
  messages: MessagesPage,
  tail: TailPage,
  publish: PublishPage,
  nodes: NodesPage,
  node: NodePage,
  topology: TopologyPage,
  registry: RegistryPage,
  activity: ActivityPage,
  counter: CounterPage,
  settings: SettingsPage,
};

function App() {
  const { page, params } = route.value;
  const Page = PAGES[page];
  return html`<${Shell}>
    ${Page === undefined
      ? html`<${Missing} what="There is no such page." />`
      : html`<${Page} key=${`${page} ${Object.values(params).join(" ")}`} ...${params} />`}
  <//>`;
}

listenToKeys();
connect();
render(html`<${App} />`, document.getElementById("app"));
