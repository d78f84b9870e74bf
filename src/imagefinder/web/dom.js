/** Builds elements, dialogs and notices. Strings always become text nodes, never markup. */

import { t } from "./texts.js";

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | number | false | null | undefined | Child[]} Child */

/** @typedef {{[K in keyof HTMLElementEventMap as `on${K}`]?: (event: HTMLElementEventMap[K]) => unknown}} Listeners */

/** Attributes, plus listeners as `onclick`, `oninput`, ...
 * @typedef {Listeners & Record<string, unknown>} Properties */

/** The parts of an error that `problemBox` shows.
 * @typedef {{title?: string, message: string, hint?: string, code?: string, requestId?: string, lang?: string | null}} ErrorText */

/** @param {Child[]} children @returns {(Node | string)[]} */
const nodes = (children) =>
  children.flatMap((child) => {
    if (Array.isArray(child)) return nodes(child);
    if (child === null || child === undefined || child === false || child === "") return [];
    return [typeof child === "number" ? String(child) : child];
  });

/** @param {HTMLElement | SVGElement} element @param {Properties | null | undefined} properties */
function setProperties(element, properties) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else if (name === "value" || name === "checked") Object.assign(element, { [name]: value });
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** An HTML element.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Properties | null} [properties]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]} */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  setProperties(element, properties);
  element.append(...nodes(children));
  return element;
}

/** An SVG element.
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Properties | null} [properties]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[T]} */
export function s(tag, properties, ...children) {
  const element = document.createElementNS(SVG, tag);
  setProperties(element, properties);
  element.append(...nodes(children));
  return element;
}

/** Replaces everything inside an element.
 * @param {Element} element
 * @param {...Child} children */
export function put(element, ...children) {
  element.replaceChildren(...nodes(children));
}

/** An element that must exist.
 * @template {Element} T
 * @param {string} selector
 * @param {{new (): T}} type
 * @param {ParentNode} [parent]
 * @returns {T} */
export function find(selector, type, parent = document) {
  const element = parent.querySelector(selector);
  if (!(element instanceof type)) throw new Error(`no ${type.name} matches ${selector}`);
  return element;
}

/** Moves the focus to the first match, if there is one.
 * @param {ParentNode} parent @param {string} selector */
export function focusOn(parent, selector) {
  const element = parent.querySelector(selector);
  if (element instanceof HTMLElement) element.focus();
}

/** The target of an event, if it is inside an element that matches.
 * @param {Event} event @param {string} selector @returns {HTMLElement | null} */
export function closest(event, selector) {
  const element = event.target instanceof Element ? event.target.closest(selector) : null;
  return element instanceof HTMLElement ? element : null;
}

/** @param {string} name of a symbol in index.html */
export const icon = (name) => s("svg", { class: "icon", "aria-hidden": "true" }, s("use", { href: `#i-${name}` }));

/** A button with an icon and a label; `quiet` shows only the icon.
 * @param {string | null} name
 * @param {string} label
 * @param {(event: Event) => unknown} onclick
 * @param {{quiet?: boolean} & Properties} [options] */
export const button = (name, label, onclick, { quiet = false, ...properties } = {}) =>
  h(
    "button",
    { type: "button", onclick, ...(quiet ? { "aria-label": label, title: label } : {}), ...properties },
    name && icon(name),
    quiet ? null : h("span", {}, label),
  );

/** A text input without autocompletion.
 * @param {Properties} properties */
export const textInput = (properties) => h("input", { autocomplete: "off", ...properties });

/** Announces a text to screen readers, also when it is the same as before.
 * @param {string} text */
export function announce(text) {
  const live = find("#live", HTMLElement);
  live.textContent = "";
  setTimeout(() => {
    live.textContent = text;
  }, 50);
}

/** A notice at the foot of the page. The timer stops while the pointer or the focus is on it.
 * @param {string} text
 * @param {object} [options]
 * @param {number} [options.seconds]
 * @param {{label: string, run: () => void} | null} [options.action]
 * @param {(reason: "action" | "dismissed" | "timeout") => void} [options.onend]
 * @param {"" | "bad"} [options.kind] */
export function toast(text, { seconds = 6, action = null, onend = () => {}, kind = "" } = {}) {
  const box = h("div", { class: `toast ${kind}`, role: "status" }, h("p", {}, text));
  let left = seconds * 1000;
  let since = 0;
  let timer = 0;
  let ended = false;
  /** @param {"action" | "dismissed" | "timeout"} reason */
  const end = (reason) => {
    if (ended) return;
    ended = true;
    clearTimeout(timer);
    box.remove();
    onend(reason);
  };
  const resume = () => {
    since = Date.now();
    timer = setTimeout(() => end("timeout"), left);
  };
  const pause = () => {
    clearTimeout(timer);
    left = Math.max(1500, left - (Date.now() - since));
  };
  if (action) {
    const run = () => {
      end("action");
      action.run();
    };
    box.append(button(null, action.label, run, { class: "plain" }));
  }
  box.append(button("close", t("page.dismiss"), () => end("dismissed"), { quiet: true, class: "plain" }));
  for (const name of ["pointerenter", "focusin"]) box.addEventListener(name, pause);
  for (const name of ["pointerleave", "focusout"]) box.addEventListener(name, resume);
  find("#toasts", HTMLElement).append(box);
  resume();
}

/** Opens a modal dialog. It closes on Esc, on its close button, or when its content calls `close(value)`.
 * @template T
 * @param {string} title
 * @param {(close: (value?: T) => void) => Child} content
 * @param {{wide?: boolean}} [options]
 * @returns {Promise<T | undefined>} the value; `undefined` if the dialog was dismissed */
export function openDialog(title, content, { wide = false } = {}) {
  return new Promise((resolve) => {
    /** @type {T | undefined} */
    let result;
    /** @param {T} [value] */
    const close = (value) => {
      result = value;
      box.close();
    };
    const id = uniqueId("title");
    const box = h(
      "dialog",
      { class: wide ? "box wide" : "box", "aria-labelledby": id },
      h(
        "header",
        {},
        h("h2", { id }, title),
        button("close", t("page.close"), () => close(), { quiet: true, class: "plain" }),
      ),
      content(close),
    );
    box.addEventListener("close", () => {
      box.remove();
      resolve(result);
    });
    document.body.append(box);
    box.showModal();
  });
}

/** @param {string} prefix */
export const uniqueId = (prefix) => `${prefix}-${Math.random().toString(36).slice(2)}`;

/** Whether an operation was cancelled rather than failed.
 * @param {unknown} error */
export const isAbort = (error) => error instanceof DOMException && error.name === "AbortError";

/** @param {unknown} error @returns {ErrorText} */
export const errorText = (error) => (error instanceof Error ? error : { message: String(error) });

/** An error box: what happened, what to do, and the id under which the server logged the request.
 * @param {unknown} error an `ErrorText`, or anything that was thrown
 * @param {(() => unknown) | null} [retry]
 * @param {"h1" | "h2"} [heading] `h1` where the box replaces a view */
export function problemBox(error, retry = null, heading = "h2") {
  const isText = typeof error === "object" && error !== null && "message" in error;
  const { title, message, hint, requestId, code, lang } = isText
    ? /** @type {ErrorText} */ (error)
    : errorText(error);
  return h(
    "div",
    { class: "problem", role: "alert" },
    h(heading, {}, title ?? t("problem.page")),
    h("p", { lang }, message),
    hint && h("p", { class: "hint" }, hint),
    requestId && h("p", { class: "small" }, t("problem.request", { id: requestId }), code && ` · ${code}`),
    retry && button("again", t("page.retry"), retry),
  );
}
