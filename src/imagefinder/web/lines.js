/** Two pictures side by side, what matches joined by lines, the region that one takes in the other. */

import { h, s } from "./dom.js";
import { zoomable } from "./zoom.js";

const MOST = 160;
const GAP = 24;
const MARGIN = 8;
const BESIDE = 1.4;

/** At most so many, evenly chosen, so that all parts of the picture stay represented. */
const evenly = (list, most = MOST) =>
  list.length <= most ? list : Array.from({ length: most }, (_, index) => list[Math.floor((index * list.length) / most)]);

/** Where the two pictures stand in a view of this size: `{k, x, y}` each, as large as they go. */
export function places([width, height], a, b) {
  const [ratioA, ratioB] = [a[0] / a[1], b[0] / b[1]];
  const beside = Math.min(height - 2 * MARGIN, (width - GAP - 2 * MARGIN) / (ratioA + ratioB));
  const below = Math.min(width - 2 * MARGIN, (height - GAP - 2 * MARGIN) / (1 / ratioA + 1 / ratioB));
  // Whichever shows more of them; lines are easier to follow from left to right.
  if (beside ** 2 * (ratioA + ratioB) * BESIDE >= below ** 2 * (1 / ratioA + 1 / ratioB)) {
    const left = (width - GAP - beside * (ratioA + ratioB)) / 2;
    const top = (height - beside) / 2;
    return [
      { k: beside / a[1], x: left, y: top },
      { k: beside / b[1], x: left + beside * ratioA + GAP, y: top },
    ];
  }
  const top = (height - GAP - below * (1 / ratioA + 1 / ratioB)) / 2;
  const left = (width - below) / 2;
  return [
    { k: below / a[0], x: left, y: top },
    { k: below / b[0], x: left, y: top + below / ratioA + GAP },
  ];
}

/** @returns {{element: Element, draw: (seen: object) => void, mark: (index: number) => void, pairs: () => number[][][]}} */
export function linesView({ onmark = () => {} } = {}) {
  const content = s("g");
  const drawing = s("svg", { class: "lines", role: "img", "aria-label": "Query and stored picture side by side" }, content);
  const viewport = h("div", { class: "viewport", tabindex: "0", role: "group", "aria-label": "Zoom with plus and minus, move with Shift and the arrows" }, drawing);
  let seen = null;
  let drawn = [];
  let marked = -1;
  let pairs = []; // what is drawn, whatever has been asked for since
  const zoom = zoomable(viewport, ({ k, x, y }) => content.setAttribute("transform", `translate(${x} ${y}) scale(${k})`));
  viewport.append(zoom.buttons());
  new ResizeObserver(() => seen && render()).observe(viewport);

  function mark(index) {
    marked = index;
    drawing.classList.toggle("marked", index >= 0);
    drawn.forEach((line, each) => line.classList.toggle("mark", each === index));
  }

  function line([from, to], [a, b], kind, hue) {
    const [x, y, u, v] = [a.x + a.k * (from[0] + 0.5), a.y + a.k * (from[1] + 0.5), b.x + b.k * (to[0] + 0.5), b.y + b.k * (to[1] + 0.5)];
    const path = `M${x.toFixed(2)} ${y.toFixed(2)}L${u.toFixed(2)} ${v.toFixed(2)}`;
    // Dots of one size at any zoom: lines of no length with round ends.
    const dots = `M${x.toFixed(2)} ${y.toFixed(2)}h.01M${u.toFixed(2)} ${v.toFixed(2)}h.01`;
    const group = s("g", { class: `line ${kind}` }, s("path", { class: "reach", d: path }), s("path", { class: "stroke", d: path }), s("path", { class: "dots", d: dots }));
    if (hue !== undefined) group.style.setProperty("--hue", hue);
    return group;
  }

  const outline = (points, { k, x, y }) =>
    s("polygon", { class: "outline", points: points.map(([u, v]) => `${x + k * (u + 0.5)},${y + k * (v + 0.5)}`).join(" ") });

  function render() {
    const size = [viewport.clientWidth, viewport.clientHeight];
    if (!size[0] || !size[1]) return;
    drawing.setAttribute("viewBox", `0 0 ${size[0]} ${size[1]}`);
    const both = places(size, seen.query.size, seen.candidate.size);
    const shown = [seen.query, seen.candidate].map(({ url, size: [width, height] }, index) => {
      const { k, x, y } = both[index];
      const clip = s("clipPath", { id: `frame-${index}` }, s("rect", { x, y, width: k * width, height: k * height }));
      return [clip, s("image", { href: url, x, y, width: k * width, height: k * height, preserveAspectRatio: "none" })];
    });
    const outlines = seen.evidence
      ? [
          s("g", { "clip-path": "url(#frame-0)" }, outline(seen.evidence.query_outline, both[0])),
          s("g", { "clip-path": "url(#frame-1)" }, outline(seen.evidence.candidate_outline, both[1])),
        ]
      : [];
    pairs = evenly(seen.inliers);
    const height = seen.query.size[1];
    drawn = pairs.map((pair) => line(pair, both, "inlier", Math.round((pair[0][1] / height) * 300)));
    const outliers = seen.outliers.length ? evenly(seen.outliers, 60).map((pair) => line(pair, both, "outlier")) : [];
    content.replaceChildren(...shown.flat(), s("g", { class: "outliers" }, outliers), ...outlines, s("g", {}, drawn));
    drawn.forEach((each, index) => {
      each.addEventListener("pointerenter", () => (mark(index), onmark(index)));
      each.addEventListener("pointerleave", () => (mark(-1), onmark(-1)));
    });
    mark(marked);
    zoom.again();
  }

  return {
    element: viewport,
    draw(next) {
      seen = next;
      marked = -1;
      zoom.reset();
      render();
      return drawn.length;
    },
    mark,
    pairs: () => pairs,
    classes: drawing.classList,
  };
}
