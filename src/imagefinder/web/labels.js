/** Labels for the values of the REST API. */

import { number, percent } from "./format.js";

/** @typedef {NonNullable<Rest.SearchHit["relation"]>} Relation */
/** @typedef {NonNullable<Rest.SearchHit["decision"]>} Decision */

/** What a stored image is to the query.
 * @type {Record<Relation, string>} */
export const RELATIONS = {
  identical: "Same image",
  "edited copy": "Edited copy",
  "part of": "Query is part of this image",
  contains: "Query contains this image",
  "same scene": "Same object or scene",
  "same layout": "Document of the same layout",
  similar: "Visually similar",
};

/** What the first of two stored images is to the second, whose name follows.
 * @type {Record<Relation, string>} */
export const PAIR_RELATIONS = {
  identical: "Same image as",
  "edited copy": "Edited copy of",
  "part of": "Part of",
  contains: "Contains",
  "same scene": "Same scene as",
  "same layout": "Same layout as",
  similar: "Visually similar to",
};

/** @type {Record<Decision, {label: string, icon: string}>} */
export const DECISIONS = {
  match: { label: "Match", icon: "check" },
  possible: { label: "Possible match", icon: "maybe" },
  none: { label: "No match", icon: "none" },
};

/** @type {Record<Rest.Evidence["found_by"], string>} */
export const FOUND_BY = {
  keypoints: "Keypoints",
  tokens: "Network tokens",
  thumbnails: "Thumbnails",
  "whole image": "Whole image",
};

/** Stages of a search.
 * @type {Record<string, string>} */
export const STAGES = {
  filter: "Filter",
  decode: "Decode",
  index: "Look up in ANN index",
  extract: "Extract features",
  match: "Score",
  verify: "Verify geometry",
  decide: "Decide",
  total: "Total",
};

/** @type {Record<Rest.Job["kind"], string>} */
export const JOB_KINDS = {
  add: "Add images",
  put: "Add image",
  duplicates: "Find duplicates",
  "build-index": "Build ANN index",
};

/** Stages of a job; a method's name while its ANN index is built.
 * @type {Record<string, string>} */
export const JOB_STAGES = {
  add: "Adding",
  thumbnails: "Computing keypoints of thumbnails",
  calibrate: "Calibrating",
  read: "Reading",
  propose: "Finding candidate pairs",
  check: "Checking files",
  verify: "Verifying geometry",
};

/** @type {Record<Rest.Job["state"], string>} */
export const JOB_STATES = {
  queued: "Queued",
  running: "Running",
  succeeded: "Done",
  failed: "Failed",
  cancelled: "Cancelled",
};

/** The E-value as odds; empty where a false match this good is likely.
 * @param {number} evalue the expected number of false matches this good in the searched collection */
export function falseMatchOdds(evalue) {
  if (evalue > 0.5) return "";
  return evalue < 1e-9 ? "False-match odds < 1 in 10⁹" : `False-match odds 1 in ${number(Math.round(1 / evalue))}`;
}

/** The evidence of a hit in one line.
 * @param {Rest.SearchHit} hit */
export function evidenceSummary({ evidence, relation }) {
  if (!evidence) return relation === "similar" ? "No consistent geometry" : "";
  return [
    evidence.inliers ? `Inliers ${number(evidence.inliers)} of ${number(evidence.matches)}` : "",
    evidence.agreement === null ? "" : `Pixel agreement ${percent(evidence.agreement)}`,
    evidence.mirrored ? "Mirrored" : "",
  ]
    .filter(Boolean)
    .join(" · ");
}
