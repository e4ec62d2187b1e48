/** What every component needs: the template tag, hooks, signals. */

import htm from "../vendor/htm.mjs";
import { Component, Fragment, createRef, h, render } from "../vendor/preact.mjs";

export { useCallback, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "../vendor/preact-hooks.mjs";
export { batch, computed, effect, signal } from "../vendor/signals.mjs";
export { Component, Fragment, createRef, render };

/**
 * htm would keep what never changes as one node for ever, and a node holds on to the tree that it
 * was first drawn in, which holds on to the next one, and so on: all that was ever on the page.
 */
export const html = htm.bind(/** @this {any} */ function draw(type, props, ...children) {
  this[0] = 3; // the mark of what changes (htm's manual: "Caching")
  return h(type, props, ...children);
});

/** A component that is drawn again only when one of its props is another value. */
export function memo(draw) {
  return class extends Component {
    shouldComponentUpdate(next) {
      return Object.keys(next).some((name) => next[name] !== this.props[name]);
    }

    render(props) {
      return draw(props);
    }
  };
}
