/** The inspector's side panel: decision, relation, evidence and numbers of one comparison. */

import { h } from "./dom.js";
import { fileActions } from "./files.js";
import { dimensions, number, percent, power } from "./format.js";
import { FOUND_BY } from "./labels.js";
import { badge, oddsLine } from "./results.js";
import { session } from "./session.js";
import { t } from "./texts.js";

/** Kinds of transforms.
 * @type {Record<Rest.Evidence["model"], string>} */
const MODELS = {
  similarity: t("transform.similarity"),
  affine: t("transform.affine"),
  homography: t("transform.homography"),
};

/** @param {string} name @param {import("./dom.js").Child} value an empty value leaves the row out */
const row = (name, value) => (value ? [h("dt", {}, name), h("dd", {}, value)] : []);

/** @param {string} text */
const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** @param {Rest.Evidence} evidence */
function transformOf({ model, mirrored }) {
  const name = MODELS[model];
  return mirrored ? t("evidence.transform-mirrored", { model: name }) : name;
}

/** @param {Rest.Evidence} evidence */
function evidenceRows(evidence) {
  const { inliers, matches, agreement, copy_distance } = evidence;
  return [
    row(
      t("evidence.inliers"),
      inliers ? t("evidence.of-matches", { inliers, matches }) : t("evidence.no-keypoints"),
    ),
    row(t("evidence.found-by"), FOUND_BY[evidence.found_by]),
    row(t("evidence.agreement"), agreement === null ? null : percent(agreement)),
    row(
      t("evidence.copy-distance"),
      copy_distance === null ? null : t("evidence.copy-distance-of", { distance: number(copy_distance) }),
    ),
    row(t("evidence.query-coverage"), percent(Math.min(1, evidence.query_overlap))),
    row(t("evidence.match-coverage"), percent(Math.min(1, evidence.candidate_overlap))),
    row(t("evidence.transform"), transformOf(evidence)),
    row(t("evidence.chance"), inliers ? power(Math.round(evidence.log10_chance)) : null),
  ];
}

/** @param {import("./inspector.js").Entry} entry
 * @param {Rest.Explanation | null} explanation `null` while it is loading, or if there is none */
export function evidencePanel({ hit, image, relation, evidence: stored }, explanation) {
  const evidence = explanation?.evidence ?? stored;
  const numbers = Object.entries(explanation?.numbers ?? {});
  return [
    hit && hit.decision !== null ? badge(hit.decision) : null,
    relation && h("p", { class: "relation" }, relation),
    hit?.note && h("p", { class: "small" }, capitalised(hit.note)),
    oddsLine(hit?.evalue ?? explanation?.evalue ?? null),
    h(
      "dl",
      {},
      evidence ? evidenceRows(evidence) : row(t("evidence.geometry"), t("evidence.no-geometry")),
      Object.entries(hit?.methods ?? {}).map(([name, { score, evalue }]) =>
        row(name, t("evidence.score", { score: number(score), evalue: number(evalue) })),
      ),
      row(t("image.dimensions"), dimensions(image)),
    ),
    hit && fileActions(image, session.collection),
    numbers.length > 0 &&
      h(
        "details",
        {},
        h("summary", {}, t("evidence.diagnostics")),
        h(
          "dl",
          {},
          numbers.map(([name, value]) => row(capitalised(name.replaceAll("_", " ")), number(value))),
        ),
      ),
  ];
}
