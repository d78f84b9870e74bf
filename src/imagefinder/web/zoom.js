/** Zoom and pan of a view: wheel, drag, two fingers, keys and buttons. */

import { button, h } from "./dom.js";

const MOST = 24;
const KEYS = { "+": 1.25, "=": 1.25, "-": 0.8 };

/** @param viewport what is looked through; positioned
 *  @param apply gets `{k, x, y}`: what is at (u, v) unzoomed is now at (k u + x, k v + y) */
export function zoomable(viewport, apply) {
  let at = { k: 1, x: 0, y: 0 };
  const fingers = new Map();

  const set = (k, x, y) => {
    k = Math.min(Math.max(k, 1), MOST);
    const { clientWidth: width, clientHeight: height } = viewport;
    at = { k, x: Math.min(0, Math.max(x, width * (1 - k))), y: Math.min(0, Math.max(y, height * (1 - k))) };
    viewport.dataset.zoom = k.toFixed(2);
    apply(at);
  };
  const about = (factor, u, v) => {
    const k = Math.min(Math.max(at.k * factor, 1), MOST);
    set(k, u - ((u - at.x) * k) / at.k, v - ((v - at.y) * k) / at.k);
  };
  const middle = (factor) => about(factor, viewport.clientWidth / 2, viewport.clientHeight / 2);
  const reset = () => set(1, 0, 0);
  const place = (event) => {
    const bounds = viewport.getBoundingClientRect();
    return [event.clientX - bounds.left, event.clientY - bounds.top];
  };

  viewport.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      about(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), ...place(event));
    },
    { passive: false },
  );
  viewport.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target.closest("button, input, .divider")) return;
    viewport.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
  });
  viewport.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const here = place(event);
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]) || 1;
      about(apart(here, other) / apart(before, other), (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
    } else set(at.k, at.x + here[0] - before[0], at.y + here[1] - before[1]);
    fingers.set(event.pointerId, here);
  });
  for (const name of ["pointerup", "pointercancel"]) viewport.addEventListener(name, (event) => fingers.delete(event.pointerId));
  viewport.addEventListener("dblclick", (event) => (at.k > 1 ? reset() : about(3, ...place(event))));
  viewport.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
    if (KEYS[event.key]) middle(KEYS[event.key]);
    else if (event.key === "0") reset();
    else if (move && event.shiftKey) set(at.k, at.x + move[0], at.y + move[1]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    reset,
    current: () => at,
    again: () => set(at.k, at.x, at.y),
    /** Shows this rectangle of the unzoomed view. */
    to(x, y, width, height) {
      const k = Math.min(viewport.clientWidth / width, viewport.clientHeight / height, MOST);
      set(k, viewport.clientWidth / 2 - k * (x + width / 2), viewport.clientHeight / 2 - k * (y + height / 2));
    },
    buttons: () =>
      h(
        "div",
        { class: "zoom-buttons" },
        button("plus", "Larger (+)", () => middle(1.5), { quiet: true }),
        button("minus", "Smaller (-)", () => middle(1 / 1.5), { quiet: true }),
        button("fit", "All of it (0)", reset, { quiet: true }),
      ),
  };
}
