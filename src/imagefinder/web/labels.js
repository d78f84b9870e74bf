/** Labels for the values of the REST API. */

import { number, percent } from "./format.js";
import { t } from "./texts.js";

/** @typedef {NonNullable<Rest.SearchHit["relation"]>} Relation */
/** @typedef {NonNullable<Rest.SearchHit["decision"]>} Decision */

/** What a stored image is to the query.
 * @type {Record<Relation, string>} */
export const RELATIONS = {
  identical: t("relation.identical"),
  "edited copy": t("relation.edited-copy"),
  "part of": t("relation.part-of"),
  contains: t("relation.contains"),
  "same scene": t("relation.same-scene"),
  "same layout": t("relation.same-layout"),
  similar: t("relation.similar"),
};

/** The same of a match that is only possible.
 * @type {Record<Relation, string>} */
export const POSSIBLE_RELATIONS = {
  identical: t("perhaps.identical"),
  "edited copy": t("perhaps.edited-copy"),
  "part of": t("perhaps.part-of"),
  contains: t("perhaps.contains"),
  "same scene": t("perhaps.same-scene"),
  "same layout": t("perhaps.same-layout"),
  similar: t("relation.similar"),
};

/** What the first of two stored images is to the second.
 * @type {Record<Relation, import("./texts.js").Key>} */
export const PAIR_RELATIONS = {
  identical: "pair.identical",
  "edited copy": "pair.edited-copy",
  "part of": "pair.part-of",
  contains: "pair.contains",
  "same scene": "pair.same-scene",
  "same layout": "pair.same-layout",
  similar: "pair.similar",
};

/** @type {Record<Decision, {label: string, icon: string}>} */
export const DECISIONS = {
  match: { label: t("decision.match"), icon: "check" },
  possible: { label: t("decision.possible"), icon: "maybe" },
  none: { label: t("decision.none"), icon: "none" },
};

/** @type {Record<Rest.Evidence["found_by"], string>} */
export const FOUND_BY = {
  keypoints: t("found-by.keypoints"),
  tokens: t("found-by.tokens"),
  thumbnails: t("found-by.thumbnails"),
  "whole image": t("found-by.whole-image"),
};

/** Stages of a search.
 * @type {Record<string, string>} */
export const STAGES = {
  filter: t("stage.filter"),
  decode: t("stage.decode"),
  index: t("stage.index"),
  extract: t("stage.extract"),
  match: t("stage.match"),
  verify: t("stage.verify"),
  decide: t("stage.decide"),
  total: t("stage.total"),
};

/** @type {Record<Rest.Job["kind"], string>} */
export const JOB_KINDS = {
  add: t("job.add"),
  put: t("job.put"),
  duplicates: t("job.duplicates"),
  "build-index": t("job.build-index"),
};

/** Stages of a job; a method's name while its ANN index is built.
 * @type {Record<string, string>} */
export const JOB_STAGES = {
  add: t("job-stage.add"),
  thumbnails: t("job-stage.thumbnails"),
  calibrate: t("job-stage.calibrate"),
  read: t("job-stage.read"),
  propose: t("job-stage.propose"),
  check: t("job-stage.check"),
  verify: t("job-stage.verify"),
};

/** @type {Record<Rest.Job["state"], string>} */
export const JOB_STATES = {
  queued: t("job-state.queued"),
  running: t("job-state.running"),
  succeeded: t("job-state.succeeded"),
  failed: t("job-state.failed"),
  cancelled: t("job-state.cancelled"),
};

/** The E-value as odds; empty where a false match this good is likely.
 * @param {number} evalue the expected number of false matches this good in the searched collection */
export function falseMatchOdds(evalue) {
  if (evalue > 0.5) return "";
  return evalue < 1e-9 ? t("odds.least") : t("odds", { odds: number(Math.round(1 / evalue)) });
}

/** The evidence of a hit in one line.
 * @param {Rest.SearchHit} hit */
export function evidenceSummary({ evidence, relation }) {
  if (!evidence) return relation === "similar" ? t("evidence.no-geometry") : "";
  return [
    evidence.inliers ? t("evidence.inliers-of", { inliers: evidence.inliers, matches: evidence.matches }) : "",
    evidence.agreement === null ? "" : t("evidence.agreement-of", { agreement: percent(evidence.agreement) }),
    evidence.mirrored ? t("evidence.mirrored") : "",
  ]
    .filter(Boolean)
    .join(" · ");
}
