/** Zoom and pan: wheel, drag, two fingers, keys and buttons. */

import { button, closest, h } from "./dom.js";
import { t } from "./texts.js";

/** The point (u, v) of the content is shown at (k u + x, k v + y).
 * @typedef {{k: number, x: number, y: number}} Transform */
/** @typedef {[number, number]} Point */

const MAX_ZOOM = 24;
const PAN_STEP = 60;
/** @type {Record<string, number>} */
const ZOOM_KEYS = { "+": 1.25, "=": 1.25, "-": 0.8 };
/** @type {Record<string, Point>} */
const PAN_KEYS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/** @param {Point} a @param {Point} b */
const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]) || 1;

/** @param {HTMLElement} viewport positioned
 * @param {(transform: Transform) => void} apply */
export function createZoom(viewport, apply) {
  /** @type {Transform} */
  let current = { k: 1, x: 0, y: 0 };
  /** @type {Map<number, Point>} */
  const pointers = new Map();

  /** @param {number} zoom @param {number} x @param {number} y */
  const set = (zoom, x, y) => {
    const k = Math.min(Math.max(zoom, 1), MAX_ZOOM);
    const { clientWidth: width, clientHeight: height } = viewport;
    current = {
      k,
      x: Math.min(0, Math.max(x, width * (1 - k))),
      y: Math.min(0, Math.max(y, height * (1 - k))),
    };
    viewport.dataset.zoom = k.toFixed(2);
    apply(current);
  };
  /** Zooms while the point (u, v) of the viewport stays where it is.
   * @param {number} factor @param {number} u @param {number} v */
  const zoomAt = (factor, u, v) => {
    const k = Math.min(Math.max(current.k * factor, 1), MAX_ZOOM);
    set(k, u - ((u - current.x) * k) / current.k, v - ((v - current.y) * k) / current.k);
  };
  /** @param {number} factor */
  const zoomCentre = (factor) => zoomAt(factor, viewport.clientWidth / 2, viewport.clientHeight / 2);
  const reset = () => set(1, 0, 0);
  /** @param {MouseEvent} event @returns {Point} */
  const position = (event) => {
    const bounds = viewport.getBoundingClientRect();
    return [event.clientX - bounds.left, event.clientY - bounds.top];
  };

  viewport.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoomAt(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), ...position(event));
    },
    { passive: false },
  );
  viewport.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || closest(event, "button, input, .divider")) return;
    viewport.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, position(event));
  });
  viewport.addEventListener("pointermove", (event) => {
    const from = pointers.get(event.pointerId);
    if (!from) return;
    const to = position(event);
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const factor = distance(to, other) / distance(from, other);
      zoomAt(factor, (to[0] + other[0]) / 2, (to[1] + other[1]) / 2);
    } else set(current.k, current.x + to[0] - from[0], current.y + to[1] - from[1]);
    pointers.set(event.pointerId, to);
  });
  viewport.addEventListener("pointerup", (event) => pointers.delete(event.pointerId));
  viewport.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
  viewport.addEventListener("dblclick", (event) => (current.k > 1 ? reset() : zoomAt(3, ...position(event))));
  viewport.addEventListener("keydown", (event) => {
    const pan = PAN_KEYS[event.key];
    if (ZOOM_KEYS[event.key]) zoomCentre(ZOOM_KEYS[event.key]);
    else if (event.key === "0") reset();
    else if (pan && event.shiftKey) set(current.k, current.x + pan[0] * PAN_STEP, current.y + pan[1] * PAN_STEP);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    reset,
    current: () => current,
    /** Applies the transform again, after the size has changed. */
    refresh: () => set(current.k, current.x, current.y),
    /** Shows a rectangle of the content.
     * @param {number} x @param {number} y @param {number} width @param {number} height */
    to(x, y, width, height) {
      const k = Math.min(viewport.clientWidth / width, viewport.clientHeight / height, MAX_ZOOM);
      set(k, viewport.clientWidth / 2 - k * (x + width / 2), viewport.clientHeight / 2 - k * (y + height / 2));
    },
    buttons: () =>
      h(
        "div",
        { class: "zoom-buttons" },
        button("plus", t("zoom.in"), () => zoomCentre(1.5), { quiet: true }),
        button("minus", t("zoom.out"), () => zoomCentre(1 / 1.5), { quiet: true }),
        button("fit", t("zoom.fit"), reset, { quiet: true }),
      ),
  };
}
