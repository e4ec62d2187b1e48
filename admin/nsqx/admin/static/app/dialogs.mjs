/** Which dialog is open, and the frame that all of them have. */

import { html, signal, useLayoutEffect, useRef } from "./html.mjs";
import { Icon } from "./icons.mjs";

/** The open dialog as { draw }, or null. One at a time. */
const open = signal(null);

export function openDialog(draw) {
  open.value = { draw };
}

export function closeDialog() {
  open.value = null;
}

export function isDialogOpen() {
  return open.value !== null;
}

export function DialogPlace() {
  return open.value === null ? null : open.value.draw();
}

/** As `ref`: gives the focus to what appears while the dialog is open. `autofocus` is for its begin. */
export function takeFocus(element) {
  element?.focus();
}

/** The browser's own modal dialog: it keeps the focus inside, gives it back, and closes with Esc. */
export function Dialog({ title, className = "", hideTitle, children }) {
  const element = useRef(null);
  useLayoutEffect(() => {
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    element.current.showModal();
    // Not to Close, where the browser would put it: Enter is no way to say no.
    const field = element.current.querySelector("[autofocus], form :is(input, select, textarea)");
    (field ?? element.current.querySelector("h2")).focus();
    return () => before?.focus?.({ preventScroll: true });
  }, []);
  const closeOnBackdrop = (event) => { if (event.target === element.current) closeDialog(); };
  return html`<dialog ref=${element} class=${className} aria-labelledby="dialog-title" onClose=${closeDialog} onPointerDown=${closeOnBackdrop}>
    <div class="dialog-body">
      <div class=${hideTitle ? "visually-hidden" : "dialog-head"}>
        <h2 id="dialog-title" tabindex="-1">${title}</h2>
        ${!hideTitle && html`<button type="button" class="icon-button" aria-label="Close" onClick=${closeDialog}><${Icon} name="close" /></button>`}
      </div>
      ${children}
    </div>
  </dialog>`;
}
