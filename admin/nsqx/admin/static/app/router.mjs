/** Where the reader is: the URL as a signal, and ways to change it without loading a page. */

import { signal } from "./html.mjs";
import { BASE } from "./page-settings.mjs";
import { parseUrl, withQuery } from "./url.mjs";

export const route = signal(current());

function current() {
  return parseUrl(BASE, location.pathname, location.search);
}

/** The URL of a path inside the dashboard, such as "/topics/orders". */
export function href(path) {
  return BASE + path.replace(/^\//, "");
}

/** Go to a path inside the dashboard. */
export function navigate(path) {
  history.pushState(null, "", href(path));
  arrived();
}

/** Change how this page is looked at. Typing and sorting leave no trail in the history. */
export function setQuery(changes) {
  const next = withQuery(current().query, changes);
  history.replaceState(null, "", location.pathname + next);
  route.value = current();
}

function arrived() {
  const before = route.value;
  route.value = current();
  const moved = before.page !== route.value.page
    || JSON.stringify(before.params) !== JSON.stringify(route.value.params);
  if (!moved) return;
  scrollTo(0, 0);
  // A reader of the screen hears where they are now; others do not see this focus.
  requestAnimationFrame(() => document.querySelector("h1")?.focus({ preventScroll: true }));
}

addEventListener("popstate", arrived);

addEventListener("click", (event) => {
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  const link = event.target instanceof Element ? /** @type {HTMLAnchorElement | null} */ (event.target.closest("a[href]")) : null;
  if (!plain || event.defaultPrevented || link === null || link.target || link.hasAttribute("download")) return;
  const url = new URL(link.href);
  const isPage = url.origin === location.origin && url.pathname.startsWith(BASE)
    && !/^(api|static|plain)\b/.test(url.pathname.slice(BASE.length));
  if (!isPage || url.hash) return;
  event.preventDefault();
  history.pushState(null, "", url.pathname + url.search);
  arrived();
});
