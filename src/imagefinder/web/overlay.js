/** The query laid on the stored picture by the transform that was found: swiped, blended, or as a difference. */

import { announce, h, s } from "./dom.js";
import { zoomable } from "./zoom.js";

const MODES = { swipe: "Swipe", blend: "Blend", difference: "Difference" };

/** CSS for a homography given for pixel centres: query pixels to candidate pixels, times a scale. */
export function matrix3d([[a, b, c], [d, e, f], [g, i, j]], scale) {
  // Centres of pixels are at whole numbers in the evidence, at halves in CSS: T(1/2) M T(-1/2).
  const half = 0.5;
  const shifted = [
    [a + half * g, b + half * i, c + half * j],
    [d + half * g, e + half * i, f + half * j],
    [g, i, j],
  ].map(([x, y, z]) => [x, y, z - half * (x + y)]);
  const [[p, q, r], [t, u, v], [w, x, y]] = shifted;
  const factor = scale;
  return `matrix3d(${[p * factor, t * factor, 0, w, q * factor, u * factor, 0, x, 0, 0, 1, 0, r * factor, v * factor, 0, y].map((n) => n.toPrecision(12)).join(",")})`;
}

export function overlayView() {
  const below = h("img", { alt: "", draggable: "false" });
  const above = h("img", { alt: "", draggable: "false", class: "warped" });
  const clip = h("div", { class: "clip" }, above);
  const region = s("svg", { class: "region", "aria-hidden": "true" });
  const content = h("div", { class: "laid" }, below, clip, region);
  const divider = h("div", { class: "divider", "aria-hidden": "true" });
  const viewport = h("div", { class: "viewport over", tabindex: "0", role: "group", "aria-label": "The query laid on the stored picture. Zoom with plus and minus, move with Shift and the arrows" }, content, divider);
  const slider = h("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "How much of the query is seen" });
  const modes = h(
    "div",
    { class: "segments", role: "radiogroup", "aria-label": "How they are compared" },
    Object.entries(MODES).map(([name, word]) =>
      h("label", {}, h("input", { type: "radio", name: "overlay", value: name, checked: name === "swipe", onchange: () => choose(name) }), h("span", {}, word)),
    ),
  );
  const ends = h("div", { class: "slider" }, h("span", { class: "small" }, "Stored"), slider, h("span", { class: "small" }, "Query"));
  let mode = "swipe";
  let seen = null;
  let fit = { k: 1, x: 0, y: 0 };

  const zoom = zoomable(viewport, ({ k, x, y }) => {
    content.style.transform = `translate(${x}px, ${y}px) scale(${k})`;
    amount();
  });
  viewport.append(zoom.buttons());
  new ResizeObserver(() => seen && render()).observe(viewport);

  function amount() {
    const part = slider.value / 100;
    above.style.opacity = mode === "blend" ? part : 1;
    divider.hidden = mode !== "swipe";
    if (mode === "swipe") {
      // The query is right of the divider; moving the slider to the right shows more of it.
      const at = viewport.clientWidth * (1 - part);
      const { k, x } = zoom.current();
      divider.style.left = `${at}px`;
      clip.style.clipPath = `inset(-100000px -100000px -100000px ${(at - x) / k}px)`;
    } else clip.style.clipPath = "none";
  }

  function choose(next) {
    mode = next;
    content.dataset.mode = mode;
    ends.classList.toggle("unused", mode === "difference");
    slider.disabled = mode === "difference";
    amount();
    if (mode === "difference") announce("Dark is the same in both, light differs");
  }

  function render() {
    const [width, height] = seen.candidate.size;
    const [room, tall] = [viewport.clientWidth, viewport.clientHeight];
    if (!room || !tall) return;
    const k = Math.min(room / width, tall / height);
    fit = { k, x: (room - k * width) / 2, y: (tall - k * height) / 2 };
    Object.assign(below.style, { left: `${fit.x}px`, top: `${fit.y}px`, width: `${k * width}px`, height: `${k * height}px` });
    Object.assign(above.style, {
      left: `${fit.x}px`,
      top: `${fit.y}px`,
      width: `${seen.query.size[0]}px`,
      height: `${seen.query.size[1]}px`,
      transform: matrix3d(seen.evidence.transform, k),
    });
    const points = seen.evidence.candidate_outline.map(([u, v]) => [fit.x + k * (u + 0.5), fit.y + k * (v + 0.5)]);
    region.replaceChildren(s("polygon", { class: "outline", points: points.map((point) => point.join(",")).join(" ") }));
    zoom.again();
    return points;
  }

  slider.addEventListener("input", amount);
  divider.addEventListener("pointerdown", (event) => {
    divider.setPointerCapture(event.pointerId);
    const move = (next) => {
      const bounds = viewport.getBoundingClientRect();
      slider.value = 100 * (1 - (next.clientX - bounds.left) / bounds.width);
      amount();
    };
    divider.addEventListener("pointermove", move);
    divider.addEventListener("pointerup", () => divider.removeEventListener("pointermove", move), { once: true });
  });
  choose(mode);

  return {
    element: viewport,
    controls: h("div", { class: "controls" }, modes, ends),
    draw(next) {
      seen = next;
      below.src = next.candidate.url;
      above.src = next.query.url;
      zoom.reset();
      const points = render();
      if (!points) return;
      // A small part is shown large.
      const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
      const [left, top] = [Math.min(...xs), Math.min(...ys)];
      const [wide, high] = [Math.max(...xs) - left, Math.max(...ys) - top];
      if (wide < viewport.clientWidth * 0.5 && high < viewport.clientHeight * 0.5) zoom.to(left - wide * 0.25, top - high * 0.25, wide * 1.5, high * 1.5);
    },
  };
}
