/** Heat maps: which parts of both images contributed to a network's cosine similarity. */

import { h, s } from "./dom.js";
import { number } from "./format.js";
import { t } from "./texts.js";

const RAMP = [
  [0, 0, 4],
  [87, 16, 110],
  [188, 55, 84],
  [249, 142, 9],
  [252, 255, 164],
];
const MAX_ALPHA = 225;
const INITIAL_OPACITY = 75;

/** @param {number} value between 0 and 1 */
function colour(value) {
  const at = Math.min(Math.max(value, 0), 1) * (RAMP.length - 1);
  const low = Math.min(Math.floor(at), RAMP.length - 2);
  return RAMP[low].map((channel, index) => Math.round(channel + (RAMP[low + 1][index] - channel) * (at - low)));
}

/** One pixel for each cell, as a data URL.
 * @param {number[][]} rows @param {number} most the value of the brightest colour */
function heatImage(rows, most) {
  const canvas = h("canvas", { width: rows[0].length, height: rows.length });
  const context = canvas.getContext("2d");
  if (!context) throw new Error(t("heat.no-canvas"));
  const pixels = context.createImageData(canvas.width, canvas.height);
  rows.flat().forEach((value, index) => {
    const part = most > 0 ? Math.max(0, value) / most : 0;
    pixels.data.set([...colour(part), Math.round(MAX_ALPHA * Math.sqrt(part))], index * 4);
  });
  context.putImageData(pixels, 0, 0);
  return canvas.toDataURL();
}

/** @param {{title: string, alt: string}} texts
 * @param {import("./lines.js").Side} side
 * @param {number[][]} rows
 * @param {readonly number[]} region the part that the network saw: left, top, width, height
 * @param {number} most */
function heatFigure({ title, alt }, { url, size: [width, height] }, rows, [x, y, wide, high], most) {
  const cells = rows.flat();
  const sum = cells.reduce((total, value) => total + value, 0);
  const unseen = `M0 0H${width}V${height}H0ZM${x} ${y}v${high}h${wide}v${-high}Z`;
  const range = { least: number(Math.min(...cells)), most: number(Math.max(...cells)), sum: number(sum) };
  // SVG interpolates between the cells.
  return h(
    "figure",
    {},
    s(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": alt },
      s("image", { href: url, width, height, preserveAspectRatio: "none" }),
      s("path", { d: unseen, class: "unseen" }),
      s("image", {
        href: heatImage(rows, most),
        x,
        y,
        width: wide,
        height: high,
        preserveAspectRatio: "none",
        class: "heat",
      }),
    ),
    h("figcaption", { class: "small" }, t("heat.caption", { title, ...range })),
  );
}

export function createHeat() {
  const element = h("div", { class: "heats", tabindex: "0", role: "group", "aria-label": t("heat.label") });
  const slider = h("input", {
    type: "range",
    min: 0,
    max: 100,
    value: String(INITIAL_OPACITY),
    "aria-label": t("heat.opacity"),
  });
  const applySlider = () => element.style.setProperty("--heat", String(Number(slider.value) / 100));
  slider.addEventListener("input", applySlider);
  applySlider();

  return {
    element,
    controls: h(
      "div",
      { class: "controls" },
      h(
        "div",
        { class: "slider" },
        h("span", { class: "small" }, t("heat.image")),
        slider,
        h("span", { class: "small" }, t("inspector.heat")),
      ),
    ),
    /** @param {import("./lines.js").Comparison} comparison @param {Rest.Explanation} explanation with heat */
    draw({ query, candidate }, explanation) {
      const { query_heat: a, candidate_heat: b } = explanation;
      const most = Math.max(...a.flat(), ...b.flat());
      element.replaceChildren(
        heatFigure({ title: t("query.label"), alt: t("heat.alt-query") }, query, a, explanation.query_seen, most),
        heatFigure(
          { title: t("image.stored-title"), alt: t("heat.alt-stored") },
          candidate,
          b,
          explanation.candidate_seen,
          most,
        ),
      );
    },
  };
}
