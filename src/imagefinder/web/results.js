/** A search result: matches, possible matches, and the nearest images that do not match. */

import { getKey } from "./api.js";
import { button, h, icon, toast } from "./dom.js";
import { count, dateTime, duration, fileName, number } from "./format.js";
import { imageElement, largest, thumbnail } from "./images.js";
import { DECISIONS, RELATIONS, STAGES, evidenceSummary, falseMatchOdds } from "./labels.js";

/** @typedef {object} Links
 * @property {(result: Rest.SearchAnswer, hit: Rest.SearchHit) => string | null} inspect `null`: no explanation
 * @property {(id: string) => string} search */

/** Version of the null model of a collection that is not calibrated yet. */
const PRIOR = "prior";

/** @param {Rest.SearchHit["decision"]} decision */
export function badge(decision) {
  const { label, icon: name } = DECISIONS[decision ?? "none"];
  return h("span", { class: `badge ${decision ?? "none"}` }, icon(name), label);
}

/** @param {Rest.SearchHit["relation"]} relation */
export const relationLabel = (relation) => (relation ? RELATIONS[relation] : "");

/** The relation of a hit that is not rejected.
 * @param {Rest.SearchHit} hit */
export const relationOf = ({ decision, relation }) => (decision === "none" ? "" : relationLabel(relation));

/** @param {number | null} evalue */
export function oddsLine(evalue) {
  if (evalue === null) return null;
  const title = "E-value: expected number of false matches this good in the searched collection";
  const odds = falseMatchOdds(evalue);
  return h("p", { class: "odds" }, odds && h("span", {}, odds), h("span", { title }, `E = ${number(evalue)}`));
}

/** @param {Rest.SearchHit} hit @param {{inspect: string | null, search: string, large: boolean}} options */
function hitCard(hit, { inspect, search, large }) {
  const { image } = hit;
  const { width, height } = image;
  const summary = evidenceSummary(hit);
  const alt = `${hit.id}: ${relationLabel(hit.relation) || "stored image"}`;
  return h(
    "li",
    { class: "hit", "data-id": hit.id },
    h(
      "a",
      { href: inspect, class: "thumb", "aria-label": `Inspect ${hit.id}` },
      imageElement(large ? largest(image) : image.thumbnail, alt, { width, height }),
    ),
    h(
      "div",
      { class: "facts" },
      h("p", { class: "id", title: hit.id }, fileName(hit.id)),
      h("p", { class: "verdict-line" }, badge(hit.decision), " ", h("span", {}, relationOf(hit))),
      oddsLine(hit.evalue),
      summary && h("p", { class: "summary" }, summary),
      h(
        "p",
        { class: "actions" },
        inspect && h("a", { href: inspect }, "Inspect"),
        h("a", { href: search }, "Search by this image"),
      ),
    ),
  );
}

/** @param {number} matches @param {number} possible */
function headline(matches, possible) {
  if (matches) return count(matches, "match", "matches");
  return possible ? count(possible, "possible match", "possible matches") : "No match";
}

/** @param {Rest.SearchAnswer} result */
export function summaryLine(result) {
  const methods = Object.keys(result.fingerprints).join(", ");
  const time = result.timings.total === undefined ? "" : ` in ${duration(result.timings.total)}`;
  return `${count(result.searched, "image")} searched with ${methods}${time}`;
}

/** @param {string} name @param {...import("./dom.js").Child} value */
const row = (name, ...value) => [h("dt", {}, name), h("dd", {}, ...value)];

/** Method, mode, fingerprints and timings.
 * @param {Rest.SearchAnswer} result */
export function searchDetails(result) {
  return h(
    "details",
    { class: "search-details" },
    h("summary", {}, "Search details"),
    h(
      "dl",
      {},
      row("Method", result.method === "auto" ? "All combined" : result.method),
      row("Mode", result.mode === "exact" ? "Exact (every image scored)" : "Fast (shortlist scored)"),
      row("Geometry verified", count(result.verified, "image")),
      Object.entries(result.fingerprints).map(([name, print]) =>
        row(`Fingerprint of ${name}`, h("code", {}, print)),
      ),
      Object.entries(result.timings).map(([stage, time]) => row(STAGES[stage] ?? stage, duration(time))),
    ),
  );
}

/** @param {string | null} expires when the link stops working; `null`: never */
function shareButton(expires) {
  const until = expires ? ` It works until ${dateTime(expires)}.` : "";
  return button("share", "Copy link", async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      toast(`Link copied.${until}${getKey() ? " Opening it requires an API key." : ""}`);
    } catch {
      toast(`The browser blocked copying. Copy the address of this page instead.${until}`);
    }
  });
}

/** @param {Rest.SearchAnswer} result
 * @param {Links} links
 * @param {boolean} expires whether the result's link expires */
export function resultView(result, links, expires) {
  /** @param {Rest.SearchHit["decision"]} decision */
  const withDecision = (decision) => result.hits.filter((hit) => (hit.decision ?? "none") === decision);
  const [matches, possible, others] = [withDecision("match"), withDecision("possible"), withDecision("none")];
  /** @param {Rest.SearchHit[]} hits @param {boolean} large */
  const list = (hits, large) =>
    hits.length > 0 &&
    h(
      "ol",
      { class: large ? "hits" : "hits nearest", role: "list" },
      hits.map((hit) =>
        hitCard(hit, { inspect: links.inspect(result, hit), search: links.search(hit.id), large }),
      ),
    );
  const none = !matches.length && !possible.length;
  const advice = result.hits.length
    ? "The nearest images are no closer than expected by chance."
    : "No images pass the filter.";
  return [
    h(
      "header",
      { class: "view-header" },
      h(
        "div",
        {},
        h("h1", { tabindex: "-1" }, headline(matches.length, possible.length)),
        h("p", { class: "sub" }, summaryLine(result)),
      ),
      result.explanations && shareButton(expires ? result.explanations.expires_at : null),
    ),
    none && h("p", { class: "no-match" }, icon("none"), advice),
    result.null_model === PRIOR &&
      result.searched > 0 &&
      h("p", { class: "sub" }, "This collection is not calibrated yet, so these results are cautious."),
    list(matches, true),
    matches.length > 0 &&
      possible.length > 0 &&
      h("h2", {}, count(possible.length, "possible match", "possible matches")),
    list(possible, true),
    others.length > 0 &&
      h(
        "details",
        { class: "others", open: none },
        h(
          "summary",
          {},
          h("h2", {}, none ? "Nearest images" : `${count(others.length, "other image")} (no match)`),
        ),
        list(others, false),
      ),
    searchDetails(result),
  ];
}

/** The results of several methods in columns.
 * @param {Rest.SearchAnswer[]} results @param {Links} links */
export function columnsView(results, links) {
  /** @param {string} id */
  const foundByAll = (id) => results.every((result) => result.hits.some((hit) => hit.id === id));
  const view = h(
    "div",
    { class: "columns", tabindex: "0", role: "region", "aria-label": "Methods side by side" },
    results.map((result) =>
      h(
        "section",
        { class: "column", "aria-label": result.method },
        h("h2", {}, result.method),
        h("p", { class: "sub" }, summaryLine(result)),
        h(
          "ol",
          { role: "list" },
          result.hits.map((hit) => columnHit(hit, links.inspect(result, hit), foundByAll(hit.id))),
        ),
        searchDetails(result),
      ),
    ),
  );
  /** Highlights an image in all columns.
   * @param {Event} event */
  const highlight = (event) => {
    const on = ["pointerover", "focusin"].includes(event.type);
    const row = event.target instanceof Element ? event.target.closest("[data-id]") : null;
    const id = row?.getAttribute("data-id");
    for (const each of view.querySelectorAll("[data-id]")) {
      each.classList.toggle("same", on && each.getAttribute("data-id") === id);
    }
  };
  for (const name of ["pointerover", "focusin", "pointerleave", "focusout"])
    view.addEventListener(name, highlight);
  const note = "Scores are comparable within a column, E-values across columns.";
  return [
    h(
      "header",
      { class: "view-header" },
      h("div", {}, h("h1", { tabindex: "-1" }, "Methods side by side"), h("p", { class: "sub" }, note)),
    ),
    view,
  ];
}

/** @param {Rest.SearchHit} hit @param {string | null} href @param {boolean} foundByAll */
function columnHit(hit, href, foundByAll) {
  return h(
    "li",
    { class: `row-hit ${hit.decision ?? "none"}`, "data-id": hit.id },
    h("a", { href, "aria-label": `Inspect ${hit.id}` }, thumbnail(hit.image)),
    h(
      "div",
      {},
      h("p", { class: "id", title: hit.id }, `${hit.rank}. ${fileName(hit.id)}`),
      h("p", { class: "verdict-line" }, badge(hit.decision), " ", relationOf(hit)),
      h(
        "p",
        { class: "small" },
        `Score ${number(hit.score)}`,
        hit.evalue !== null && ` · E = ${number(hit.evalue)}`,
      ),
      hit.decision !== "none" && foundByAll && h("p", { class: "small" }, "Found by all methods"),
    ),
  );
}
