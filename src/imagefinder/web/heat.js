/** Which parts of both pictures contributed to a network's cosine. */

import { h, s } from "./dom.js";
import { number } from "./words.js";

const RAMP = [
  [0, 0, 4],
  [87, 16, 110],
  [188, 55, 84],
  [249, 142, 9],
  [252, 255, 164],
];

function colour(part) {
  const at = Math.min(Math.max(part, 0), 1) * (RAMP.length - 1);
  const low = Math.min(Math.floor(at), RAMP.length - 2);
  return RAMP[low].map((value, index) => Math.round(value + (RAMP[low + 1][index] - value) * (at - low)));
}

function canvasOf(rows, most) {
  const canvas = h("canvas", { width: rows[0].length, height: rows.length });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  rows.flat().forEach((value, index) => {
    const part = most > 0 ? Math.max(0, value) / most : 0;
    pixels.data.set([...colour(part), Math.round(225 * Math.sqrt(part))], index * 4);
  });
  context.putImageData(pixels, 0, 0);
  return canvas.toDataURL();
}

export function heatView() {
  const element = h("div", { class: "heats", tabindex: "0", role: "group", "aria-label": "Heat maps" });
  const slider = h("input", { type: "range", min: 0, max: 100, value: 75, "aria-label": "Strength of the heat" });
  slider.addEventListener("input", () => element.style.setProperty("--heat", slider.value / 100));
  element.style.setProperty("--heat", 0.75);

  function one(title, { url, size: [width, height] }, rows, [x, y, wide, high], most) {
    const cells = rows.flat();
    const sum = cells.reduce((total, value) => total + value, 0);
    // SVG smooths between the cells; what the network did not see is pale.
    const seen = `M0 0H${width}V${height}H0ZM${x} ${y}v${high}h${wide}v${-high}Z`;
    return h(
      "figure",
      {},
      s(
        "svg",
        { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Heat map of the ${title}` },
        s("image", { href: url, width, height, preserveAspectRatio: "none" }),
        s("path", { d: seen, class: "unseen" }),
        s("image", { href: canvasOf(rows, most), x, y, width: wide, height: high, preserveAspectRatio: "none", class: "heat" }),
      ),
      h("figcaption", { class: "small" }, `${title}: cells from ${number(Math.min(...cells))} to ${number(Math.max(...cells))}, together ${number(sum)}`),
    );
  }

  return {
    element,
    controls: h("div", { class: "controls" }, h("div", { class: "slider" }, h("span", { class: "small" }, "Picture"), slider, h("span", { class: "small" }, "Heat"))),
    draw({ query, candidate, explanation }) {
      const { query_heat: a, candidate_heat: b } = explanation;
      const most = Math.max(...a.flat(), ...b.flat());
      element.replaceChildren(
        one("query", query, a, explanation.query_seen, most),
        one("stored picture", candidate, b, explanation.candidate_seen, most),
      );
    },
  };
}
