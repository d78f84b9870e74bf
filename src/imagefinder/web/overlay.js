/** The query over the stored image by the estimated transform: with a divider, blended, or as a difference. */

import { announce, h, s } from "./dom.js";
import { t } from "./texts.js";
import { createZoom } from "./zoom.js";

/** @typedef {"swipe" | "blend" | "difference"} Mode */

/** @type {Record<Mode, string>} */
const MODES = { swipe: t("overlay.swipe"), blend: t("overlay.blend"), difference: t("overlay.difference") };
const SMALL = 0.5; // a query that covers less of the view than this is zoomed to

/** CSS for a homography from query pixels to candidate pixels, times a scale.
 * @param {readonly (readonly number[])[]} homography for pixel centres at whole numbers
 * @param {number} scale */
export function matrix3d([[a, b, c], [d, e, f], [g, i, j]], scale) {
  // CSS has pixel centres at halves: T(1/2) M T(-1/2).
  const half = 0.5;
  const [[p, q, r], [t, u, v], [w, x, y]] = [
    [a + half * g, b + half * i, c + half * j],
    [d + half * g, e + half * i, f + half * j],
    [g, i, j],
  ].map(([first, second, third]) => [first, second, third - half * (first + second)]);
  const columns = [p * scale, t * scale, 0, w, q * scale, u * scale, 0, x, 0, 0, 1, 0, r * scale, v * scale, 0, y];
  return `matrix3d(${columns.map((value) => value.toPrecision(12)).join(",")})`;
}

export function createOverlay() {
  const below = h("img", { alt: "", draggable: "false" });
  const above = h("img", { alt: "", draggable: "false", class: "warped" });
  const clip = h("div", { class: "clip" }, above);
  const region = s("svg", { class: "region", "aria-hidden": "true" });
  const content = h("div", { class: "overlay" }, below, clip, region);
  const divider = h("div", { class: "divider", "aria-hidden": "true" });
  const viewport = h(
    "div",
    {
      class: "viewport over",
      tabindex: "0",
      role: "group",
      "aria-label": `${t("overlay.label")}. ${t("zoom.keys")}`,
    },
    content,
    divider,
  );
  const slider = h("input", {
    type: "range",
    min: 0,
    max: 100,
    value: "50",
    "aria-label": t("overlay.visibility"),
  });
  const modes = h(
    "div",
    { class: "segments", role: "radiogroup", "aria-label": t("overlay.mode") },
    Object.entries(MODES).map(([name, label]) =>
      h(
        "label",
        {},
        h("input", {
          type: "radio",
          name: "overlay",
          value: name,
          checked: name === "swipe",
          onchange: () => choose(/** @type {Mode} */ (name)),
        }),
        h("span", {}, label),
      ),
    ),
  );
  const ends = h(
    "div",
    { class: "slider" },
    h("span", { class: "small" }, t("image.stored-title")),
    slider,
    h("span", { class: "small" }, t("query.label")),
  );
  /** @type {Mode} */
  let mode = "swipe";
  /** @type {import("./lines.js").Comparison | null} */
  let comparison = null;

  const zoom = createZoom(viewport, ({ k, x, y }) => {
    content.style.transform = `translate(${x}px, ${y}px) scale(${k})`;
    applySlider();
    sharpen(k);
  });
  viewport.append(zoom.buttons());
  new ResizeObserver(() => comparison && render(comparison)).observe(viewport);

  /** Loads larger previews of both images for a zoom.
   * @param {number} zoom */
  function sharpen(zoom) {
    if (!comparison) return;
    const { query, candidate, evidence } = comparison;
    const longer = Math.max(below.offsetWidth, below.offsetHeight) * zoom * devicePixelRatio;
    candidate.detail?.want(longer, (url) => {
      below.src = url;
    });
    // The query is shown as large as the part of the stored image that it covers.
    const scale = evidence ? evidence.transform.slice(0, 2).map(([a, b]) => Math.hypot(a, b)) : [0];
    const shown = (longer / Math.max(...candidate.size)) * Math.max(...scale) * Math.max(...query.size);
    query.detail?.want(shown, (url) => {
      above.src = url;
    });
  }

  function applySlider() {
    const visible = Number(slider.value) / 100;
    above.style.opacity = String(mode === "blend" ? visible : 1);
    divider.hidden = mode !== "swipe";
    if (mode === "swipe") {
      // The query is right of the divider; moving the slider to the right shows more of it.
      const at = viewport.clientWidth * (1 - visible);
      const { k, x } = zoom.current();
      divider.style.left = `${at}px`;
      clip.style.clipPath = `inset(-100000px -100000px -100000px ${(at - x) / k}px)`;
    } else clip.style.clipPath = "none";
  }

  /** @param {Mode} next */
  function choose(next) {
    mode = next;
    content.dataset.mode = mode;
    ends.classList.toggle("unused", mode === "difference");
    slider.disabled = mode === "difference";
    applySlider();
    if (mode === "difference") announce(t("overlay.difference-note"));
  }

  /** @param {import("./lines.js").Comparison} what @returns {number[][]} the query's outline in the view */
  function render({ query, candidate, evidence }) {
    const [width, height] = candidate.size;
    const { clientWidth: wide, clientHeight: tall } = viewport;
    if (!wide || !tall || !evidence) return [];
    const k = Math.min(wide / width, tall / height);
    const [left, top] = [(wide - k * width) / 2, (tall - k * height) / 2];
    const origin = { left: `${left}px`, top: `${top}px` };
    Object.assign(below.style, { ...origin, width: `${k * width}px`, height: `${k * height}px` });
    Object.assign(above.style, {
      ...origin,
      width: `${query.size[0]}px`,
      height: `${query.size[1]}px`,
      transform: matrix3d(evidence.transform, k),
    });
    const points = evidence.candidate_outline.map(([u, v]) => [left + k * (u + 0.5), top + k * (v + 0.5)]);
    region.replaceChildren(
      s("polygon", { class: "outline", points: points.map((point) => point.join(",")).join(" ") }),
    );
    zoom.refresh();
    return points;
  }

  /** Zooms to an outline that covers a small part of the view.
   * @param {number[][]} points */
  function zoomToSmall(points) {
    if (!points.length) return;
    const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
    const [left, top] = [Math.min(...xs), Math.min(...ys)];
    const [width, height] = [Math.max(...xs) - left, Math.max(...ys) - top];
    if (width < viewport.clientWidth * SMALL && height < viewport.clientHeight * SMALL) {
      zoom.to(left - width * 0.25, top - height * 0.25, width * 1.5, height * 1.5);
    }
  }

  slider.addEventListener("input", applySlider);
  divider.addEventListener("pointerdown", (event) => {
    divider.setPointerCapture(event.pointerId);
    /** @param {PointerEvent} next */
    const move = (next) => {
      const bounds = viewport.getBoundingClientRect();
      slider.value = String(100 * (1 - (next.clientX - bounds.left) / bounds.width));
      applySlider();
    };
    divider.addEventListener("pointermove", move);
    divider.addEventListener("pointerup", () => divider.removeEventListener("pointermove", move), { once: true });
  });
  choose(mode);

  return {
    element: viewport,
    controls: h("div", { class: "controls" }, modes, ends),
    /** @param {import("./lines.js").Comparison} next */
    draw(next) {
      comparison = next;
      below.src = next.candidate.url;
      above.src = next.query.url;
      zoom.reset();
      zoomToSmall(render(next));
    },
  };
}
