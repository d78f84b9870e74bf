/** The inspector's side panel: decision, relation, evidence and numbers of one comparison. */

import { h } from "./dom.js";
import { dimensions, number, percent, power } from "./format.js";
import { FOUND_BY } from "./labels.js";
import { badge, oddsLine } from "./results.js";

/** @param {string} name @param {import("./dom.js").Child} value an empty value leaves the row out */
const row = (name, value) => (value ? [h("dt", {}, name), h("dd", {}, value)] : []);

/** @param {string} text */
const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** @param {Rest.Evidence} evidence */
function evidenceRows(evidence) {
  const { inliers, matches, agreement, copy_distance } = evidence;
  return [
    row("Inliers", inliers ? `${number(inliers)} of ${number(matches)} matches` : "No keypoints used"),
    row("Found by", FOUND_BY[evidence.found_by]),
    row("Pixel agreement", agreement === null ? null : percent(agreement)),
    row("Copy distance", copy_distance === null ? null : `${number(copy_distance)} (copies: at most 1)`),
    row("Query coverage", percent(Math.min(1, evidence.query_overlap))),
    row("Match coverage", percent(Math.min(1, evidence.candidate_overlap))),
    row("Transform", `${capitalised(evidence.model)}${evidence.mirrored ? ", mirrored" : ""}`),
    row("Chance probability", inliers ? power(Math.round(evidence.log10_chance)) : null),
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
      evidence ? evidenceRows(evidence) : row("Geometry", "No consistent geometry"),
      Object.entries(hit?.methods ?? {}).map(([name, { score, evalue }]) =>
        row(name, `Score ${number(score)}, E = ${number(evalue)}`),
      ),
      row("Dimensions", dimensions(image)),
    ),
    numbers.length > 0 &&
      h(
        "details",
        {},
        h("summary", {}, "Diagnostics"),
        h(
          "dl",
          {},
          numbers.map(([name, value]) => row(capitalised(name.replaceAll("_", " ")), number(value))),
        ),
      ),
  ];
}
