/** A box on a picture: drawn with a mouse, a pen or a finger, or moved and sized with the keyboard. */

import { announce, h } from "./dom.js";

const LEAST = 0.02;
const STEP = 0.02;
const CORNERS = { nw: [0, 0], ne: [1, 0], sw: [0, 1], se: [1, 1] };

const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

/** Lets a box be drawn on what `frame` shows.
 * @param frame positioned, of exactly the picture's size
 * @param onchange gets the box as parts of width and height, or `null`
 * @param onenter the box is asked for */
export function partOf(frame, { onchange, onenter }) {
  let box = null;
  let armed = false;
  const area = h(
    "div",
    {
      class: "part",
      tabindex: "0",
      role: "group",
      hidden: true,
      "aria-roledescription": "box",
      "aria-keyshortcuts": "ArrowLeft ArrowRight ArrowUp ArrowDown Shift+ArrowRight Enter Delete",
      onkeydown: key,
    },
    Object.keys(CORNERS).map((name) => h("i", { class: `corner ${name}`, "data-corner": name })),
  );
  frame.append(area);

  function words() {
    const [x, y, width, height] = box.map((value) => Math.round(value * 100));
    return `Part of the picture: ${width} by ${height} percent, ${x} percent from the left, ${y} percent from the top`;
  }

  function draw() {
    area.hidden = !box;
    frame.classList.toggle("parted", Boolean(box));
    if (!box) return;
    ["left", "top", "width", "height"].forEach((side, index) => (area.style[side] = `${box[index] * 100}%`));
    area.setAttribute("aria-label", `${words()}. Arrows move it, with Shift they size it, Enter searches, Delete removes it.`);
  }

  function set(value, { silent = false } = {}) {
    box = value;
    draw();
    if (!silent) onchange(box);
  }

  function key(event) {
    const [x, y, width, height] = box;
    const step = event.ctrlKey || event.altKey ? STEP / 4 : STEP;
    const [dx, dy] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key] ?? [0, 0];
    if (dx || dy) {
      if (event.shiftKey) set([x, y, clamp(width + dx, LEAST, 1 - x), clamp(height + dy, LEAST, 1 - y)]);
      else set([clamp(x + dx, 0, 1 - width), clamp(y + dy, 0, 1 - height), width, height]);
      announce(words());
    } else if (event.key === "Enter") onenter();
    else if (event.key === "Delete" || event.key === "Backspace") set(null);
    else return;
    event.preventDefault();
  }

  const place = (event) => {
    const bounds = frame.getBoundingClientRect();
    return [clamp((event.clientX - bounds.left) / bounds.width, 0, 1), clamp((event.clientY - bounds.top) / bounds.height, 0, 1)];
  };

  frame.addEventListener("pointerdown", (event) => {
    const inside = event.target.closest(".part");
    // A finger scrolls the page unless the box was asked for.
    if (event.button !== 0 || (event.pointerType === "touch" && !armed && !inside)) return;
    const start = place(event);
    const before = box;
    const corner = CORNERS[event.target.dataset.corner];
    const fixed = corner && [before[0] + (1 - corner[0]) * before[2], before[1] + (1 - corner[1]) * before[3]];
    let moved = false;
    frame.setPointerCapture(event.pointerId);
    event.preventDefault();
    const move = (next) => {
      const [x, y] = place(next);
      if (!moved && Math.hypot(x - start[0], y - start[1]) < 0.01) return;
      moved = true;
      if (inside && !corner) {
        const [left, top, width, height] = before;
        set([clamp(left + x - start[0], 0, 1 - width), clamp(top + y - start[1], 0, 1 - height), width, height], { silent: true });
        return;
      }
      const [u, v] = fixed ?? start;
      set([Math.min(u, x), Math.min(v, y), Math.max(Math.abs(x - u), LEAST), Math.max(Math.abs(y - v), LEAST)], { silent: true });
      box[0] = Math.min(box[0], 1 - box[2]);
      box[1] = Math.min(box[1], 1 - box[3]);
    };
    const end = () => {
      frame.removeEventListener("pointermove", move);
      for (const name of ["pointerup", "pointercancel"]) frame.removeEventListener(name, end);
      if (!moved) return;
      onchange(box);
      area.focus({ preventScroll: true });
    };
    frame.addEventListener("pointermove", move);
    for (const name of ["pointerup", "pointercancel"]) frame.addEventListener(name, end);
  });

  return {
    set: (value) => set(value, { silent: true }),
    /** The middle, to be moved from there. */
    begin() {
      if (!box) set([0.25, 0.25, 0.5, 0.5]);
      area.focus();
    },
    arm(on) {
      armed = on;
      frame.classList.toggle("armed", on);
    },
  };
}
