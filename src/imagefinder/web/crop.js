/** A region selected on an image: drawn with a mouse, pen or finger, or moved and resized with the keyboard. */

import { announce, closest, h } from "./dom.js";
import { t } from "./texts.js";

/** Left, top, width and height as fractions of the image.
 * @typedef {[number, number, number, number]} Box */

const MIN_SIZE = 0.02;
const STEP = 0.02;
const FINE_STEP = 0.005;
const MIN_DRAG = 0.01;
const INITIAL = /** @type {Box} */ ([0.25, 0.25, 0.5, 0.5]);
/** @type {Record<string, [number, number]>} */
const CORNERS = { nw: [0, 0], ne: [1, 0], sw: [0, 1], se: [1, 1] };
/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** @param {number} value @param {number} least @param {number} most */
const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

/** @param {Box} box */
function describe(box) {
  const [x, y, width, height] = box.map((value) => Math.round(value * 100));
  return t("region.description", { width, height, x, y });
}

/** @param {Box} box @param {number} dx @param {number} dy @returns {Box} */
const moved = ([x, y, width, height], dx, dy) => [
  clamp(x + dx, 0, 1 - width),
  clamp(y + dy, 0, 1 - height),
  width,
  height,
];

/** @param {Box} box @param {number} dx @param {number} dy @returns {Box} */
const resized = ([x, y, width, height], dx, dy) => [
  x,
  y,
  clamp(width + dx, MIN_SIZE, 1 - x),
  clamp(height + dy, MIN_SIZE, 1 - y),
];

/** The box between two points.
 * @param {[number, number]} a @param {[number, number]} b @returns {Box} */
function between([u, v], [x, y]) {
  const width = Math.max(Math.abs(x - u), MIN_SIZE);
  const height = Math.max(Math.abs(y - v), MIN_SIZE);
  return [Math.min(u, x, 1 - width), Math.min(v, y, 1 - height), width, height];
}

/** Lets the user select a region on what `frame` shows.
 * @param {HTMLElement} frame positioned, with exactly the image's size
 * @param {{onchange: (box: Box | null, how: "moved" | "placed") => void, onenter: () => void}} handlers
 * `onchange` gets `moved` while the user moves the region, `placed` when that ends; `onenter` searches the region */
export function createCrop(frame, { onchange, onenter }) {
  /** @type {Box | null} */
  let box = null;
  let touch = false;
  const area = h(
    "div",
    {
      class: "crop",
      tabindex: "0",
      role: "group",
      hidden: true,
      "aria-roledescription": t("region.role"),
      "aria-keyshortcuts": "ArrowLeft ArrowRight ArrowUp ArrowDown Shift+ArrowRight Enter Delete",
      onkeydown: handleKey,
    },
    Object.keys(CORNERS).map((name) => h("i", { class: `corner ${name}`, "data-corner": name })),
  );
  frame.append(area);

  /** @param {Box | null} value */
  function set(value) {
    box = value;
    area.hidden = !box;
    frame.classList.toggle("cropped", Boolean(box));
    if (!box) return;
    const [left, top, width, height] = box.map((each) => `${each * 100}%`);
    Object.assign(area.style, { left, top, width, height });
    area.setAttribute("aria-label", `${describe(box)}. ${t("region.keys")}`);
  }

  /** @param {Box | null} value */
  function change(value) {
    set(value);
    onchange(value, "moved");
  }

  /** @param {KeyboardEvent} event */
  function handleKey(event) {
    if (!box) return;
    const arrow = ARROWS[event.key];
    if (arrow) {
      const step = event.ctrlKey || event.altKey ? FINE_STEP : STEP;
      const next = (event.shiftKey ? resized : moved)(box, arrow[0] * step, arrow[1] * step);
      change(next);
      announce(describe(next));
    } else if (event.key === "Enter") onenter();
    else if (event.key === "Delete" || event.key === "Backspace") change(null);
    else return;
    event.preventDefault();
  }

  /** @param {PointerEvent} event @returns {[number, number]} */
  const position = (event) => {
    const bounds = frame.getBoundingClientRect();
    const x = (event.clientX - bounds.left) / bounds.width;
    const y = (event.clientY - bounds.top) / bounds.height;
    return [clamp(x, 0, 1), clamp(y, 0, 1)];
  };

  /** How the box follows the pointer: a corner resizes it, its inside moves it, the outside draws a new one.
   * @param {PointerEvent} event
   * @returns {(to: [number, number]) => Box} */
  function dragFrom(event) {
    const start = position(event);
    const before = box;
    const corner = CORNERS[closest(event, "[data-corner]")?.dataset.corner ?? ""];
    if (before && corner) {
      const [x, y, width, height] = before;
      return (to) => between([x + (1 - corner[0]) * width, y + (1 - corner[1]) * height], to);
    }
    if (before && closest(event, ".crop")) return (to) => moved(before, to[0] - start[0], to[1] - start[1]);
    return (to) => between(start, to);
  }

  frame.addEventListener("pointerdown", (event) => {
    // A finger scrolls the page unless the user chose to select a region.
    const scrolls = event.pointerType === "touch" && !touch && !closest(event, ".crop");
    if (event.button !== 0 || scrolls) return;
    const start = position(event);
    const drag = dragFrom(event);
    let dragged = false;
    frame.setPointerCapture(event.pointerId);
    event.preventDefault();
    /** @param {PointerEvent} next */
    const move = (next) => {
      const to = position(next);
      if (!dragged && Math.hypot(to[0] - start[0], to[1] - start[1]) < MIN_DRAG) return;
      dragged = true;
      change(drag(to));
    };
    const end = () => {
      frame.removeEventListener("pointermove", move);
      frame.removeEventListener("pointerup", end);
      frame.removeEventListener("pointercancel", end);
      if (!dragged) return;
      onchange(box, "placed");
      area.focus({ preventScroll: true });
    };
    frame.addEventListener("pointermove", move);
    frame.addEventListener("pointerup", end);
    frame.addEventListener("pointercancel", end);
  });

  return {
    set,
    /** Starts with a box in the middle, which fingers may drag, too. */
    start() {
      touch = true;
      frame.classList.add("touch");
      if (!box) {
        set(INITIAL);
        onchange(INITIAL, "placed");
      }
      area.focus();
    },
  };
}
