/** All messages that ever went through, as one number. For the wall. */

import { count, rate } from "../format.mjs";
import { html } from "../html.mjs";
import { useDocument } from "../live.mjs";
import { Loading, PageHead } from "../ui.mjs";

export function CounterPage() {
  const { doc } = useDocument("summary|totals");
  if (!doc) return html`<${PageHead} title="Counter" /><${Loading} />`;
  return html`<${PageHead} title="Counter" />
    <p class="counter">${count(doc.totals.messages)}</p>
    <p class="counter-note">messages in all channels since their nodes started, ${rate(doc.totals.in)} a second now</p>`;
}
