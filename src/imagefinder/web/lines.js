/** Query and stored image side by side: lines between matching keypoints, each image's outline in the other. */

import { h, s } from "./dom.js";
import { t } from "./texts.js";
import { createZoom } from "./zoom.js";

/** @typedef {[number, number]} Point */
/** @typedef {[Point, Point]} Pair a keypoint of the query, and one of the stored image */

/** @typedef {ReturnType<typeof import("./images.js").createDetail>} Detail */

/** One of the two images: its URL, its size in pixels, and what loads larger previews of it.
 * @typedef {{url: string, size: [number, number], detail?: Detail}} Side */

/** What the inspector's views draw.
 * @typedef {object} Comparison
 * @property {Side} query
 * @property {Side} candidate
 * @property {Rest.Evidence | null} evidence
 * @property {Pair[]} inliers
 * @property {Pair[]} outliers
 * @property {Rest.Explanation | null} explanation */

/** Where an image is drawn: pixel (u, v) at (k u + x, k v + y).
 * @typedef {import("./zoom.js").Transform} Placement */

const MAX_INLIERS = 160;
const MAX_OUTLIERS = 60;
const GAP = 24;
const MARGIN = 8;
const PREFER_COLUMNS = 1.4; // lines are easier to follow from left to right
const HUES = 300;

/** At most `most` of a list, evenly spaced, so that all parts of the image stay represented.
 * @template T @param {T[]} list @param {number} most */
const evenly = (list, most) =>
  list.length <= most ? list : Array.from({ length: most }, (_, n) => list[Math.floor((n * list.length) / most)]);

/** Places two images in a view, as large as they fit: side by side, or one above the other.
 * @param {[number, number]} view
 * @param {[number, number]} a
 * @param {[number, number]} b
 * @returns {[Placement, Placement]} */
export function placements([width, height], a, b) {
  const [ratioA, ratioB] = [a[0] / a[1], b[0] / b[1]];
  const [ratios, inverse] = [ratioA + ratioB, 1 / ratioA + 1 / ratioB];
  const tall = Math.min(height - 2 * MARGIN, (width - GAP - 2 * MARGIN) / ratios);
  const wide = Math.min(width - 2 * MARGIN, (height - GAP - 2 * MARGIN) / inverse);
  if (tall ** 2 * ratios * PREFER_COLUMNS >= wide ** 2 * inverse) {
    const left = (width - GAP - tall * ratios) / 2;
    const top = (height - tall) / 2;
    return [
      { k: tall / a[1], x: left, y: top },
      { k: tall / b[1], x: left + tall * ratioA + GAP, y: top },
    ];
  }
  const top = (height - GAP - wide * inverse) / 2;
  const left = (width - wide) / 2;
  return [
    { k: wide / a[0], x: left, y: top },
    { k: wide / b[0], x: left, y: top + wide / ratioA + GAP },
  ];
}

/** The centre of a pixel in the view.
 * @param {readonly number[]} point @param {Placement} placement @returns {Point} */
const project = ([u, v], { k, x, y }) => [x + k * (u + 0.5), y + k * (v + 0.5)];

/** @param {readonly (readonly number[])[]} points @param {Placement} placement */
const outline = (points, placement) =>
  s("polygon", { class: "outline", points: points.map((point) => project(point, placement).join(",")).join(" ") });

/** @param {Pair} pair
 * @param {[Placement, Placement]} placed
 * @param {"inlier" | "outlier"} kind */
function line(pair, placed, kind) {
  const [from, to] = [project(pair[0], placed[0]), project(pair[1], placed[1])].map((point) =>
    point.map((value) => value.toFixed(2)).join(" "),
  );
  const path = `M${from}L${to}`;
  // Dots that keep their size at any zoom: lines without length, with round ends.
  const dots = `M${from}h.01M${to}h.01`;
  return s(
    "g",
    { class: `line ${kind}` },
    s("path", { class: "reach", d: path }),
    s("path", { class: "stroke", d: path }),
    s("path", { class: "dots", d: dots }),
  );
}

/** @param {Side} side @param {Placement} placement @param {number} index */
function placedImage({ url, size: [width, height], detail }, { k, x, y }, index) {
  const box = { x, y, width: k * width, height: k * height };
  const image = s("image", { href: url, ...box, preserveAspectRatio: "none" });
  const longer = Math.max(box.width, box.height) * devicePixelRatio;
  return {
    elements: [s("clipPath", { id: `side-${index}` }, s("rect", box)), image],
    /** @param {number} zoom */
    sharpen: (zoom) => detail?.want(longer * zoom, (larger) => image.setAttribute("href", larger)),
  };
}

/** @param {{onmark: (index: number) => void}} handlers `onmark` gets the line under the pointer, or -1 */
export function createLines({ onmark }) {
  const content = s("g");
  const drawing = s("svg", { class: "lines", role: "img", "aria-label": t("matches.label") }, content);
  const viewport = h(
    "div",
    {
      class: "viewport",
      tabindex: "0",
      role: "group",
      "aria-label": t("zoom.keys"),
    },
    drawing,
  );
  /** @type {Comparison | null} */
  let comparison = null;
  /** @type {SVGGElement[]} */
  let drawn = [];
  /** @type {Pair[]} the drawn pairs; the comparison may have changed since */
  let pairs = [];
  let marked = -1;
  /** @type {ReturnType<typeof placedImage>[]} */
  let images = [];
  const zoom = createZoom(viewport, ({ k, x, y }) => {
    content.setAttribute("transform", `translate(${x} ${y}) scale(${k})`);
    for (const image of images) image.sharpen(k);
  });
  viewport.append(zoom.buttons());
  new ResizeObserver(() => comparison && render(comparison)).observe(viewport);

  /** @param {number} index */
  function mark(index) {
    marked = index;
    drawing.classList.toggle("marked", index >= 0);
    drawn.forEach((each, place) => each.classList.toggle("mark", place === index));
  }

  /** @param {Comparison} what */
  function render({ query, candidate, evidence, inliers, outliers }) {
    const { clientWidth: width, clientHeight: height } = viewport;
    if (!width || !height) return;
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const placed = placements([width, height], query.size, candidate.size);
    pairs = evenly(inliers, MAX_INLIERS);
    drawn = pairs.map((pair, index) => {
      const group = line(pair, placed, "inlier");
      group.style.setProperty("--hue", String(Math.round((pair[0][1] / query.size[1]) * HUES)));
      group.addEventListener("pointerenter", () => {
        mark(index);
        onmark(index);
      });
      group.addEventListener("pointerleave", () => {
        mark(-1);
        onmark(-1);
      });
      return group;
    });
    const dashed = evenly(outliers, MAX_OUTLIERS).map((pair) => line(pair, placed, "outlier"));
    images = [placedImage(query, placed[0], 0), placedImage(candidate, placed[1], 1)];
    content.replaceChildren(...images.flatMap((image) => image.elements), s("g", { class: "outliers" }, dashed));
    if (evidence) {
      content.append(
        s("g", { "clip-path": "url(#side-0)" }, outline(evidence.query_outline, placed[0])),
        s("g", { "clip-path": "url(#side-1)" }, outline(evidence.candidate_outline, placed[1])),
      );
    }
    content.append(s("g", {}, drawn));
    mark(marked);
    zoom.refresh();
  }

  return {
    element: viewport,
    /** @param {Comparison} next @returns {number} how many inliers are drawn */
    draw(next) {
      comparison = next;
      marked = -1;
      zoom.reset();
      render(next);
      return drawn.length;
    },
    mark,
    pairs: () => pairs,
    /** @param {boolean} shown */
    showOutliers: (shown) => drawing.classList.toggle("no-outliers", !shown),
  };
}
