/** What every component needs: the template tag, hooks, signals. */

import htm from "../vendor/htm.mjs";
import { Component, Fragment, createRef, h, render } from "../vendor/preact.mjs";

export { useCallback, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "../vendor/preact-hooks.mjs";
export { batch, computed, effect, signal } from "../vendor/signals.mjs";
export { Component, Fragment, createRef, render };

export const html = htm.bind(h);

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
