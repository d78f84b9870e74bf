/** A search result: matches, possible matches, and the nearest images that do not match. */

import { getKey } from "./api.js";
import { button, h, icon, toast } from "./dom.js";
import { dateTime, duration, fileName, number } from "./format.js";
import { imageElement, previewElement, thumbnail } from "./images.js";
import { DECISIONS, POSSIBLE_RELATIONS, RELATIONS, STAGES, evidenceSummary, falseMatchOdds } from "./labels.js";
import { t } from "./texts.js";

/** @typedef {object} Links
 * @property {(result: Rest.SearchAnswer, hit: Rest.SearchHit) => string | null} inspect `null`: no explanation
 * @property {(id: string) => string} search
 * @property {(id: string) => string} similar
 * @property {(stack: string) => string} versions */

/** How the hits are shown.
 * @typedef {{sort: "evidence" | "date", dense: boolean}} Display */

/** Version of the null model of a collection that is not calibrated yet. */
const PRIOR = "prior";

/** Longer side of the preview of a match, in pixels. */
const RESULT_SIZE = 800;

/** @param {Rest.SearchHit["decision"]} decision */
export function badge(decision) {
  const { label, icon: name } = DECISIONS[decision ?? "none"];
  return h("span", { class: `badge ${decision ?? "none"}` }, icon(name), label);
}

/** The relation of a hit in words as certain as its decision; empty if it is rejected.
 * @param {Rest.SearchHit} hit */
export function relationOf({ decision, relation }) {
  if (!relation || decision === "none") return "";
  return (decision === "possible" ? POSSIBLE_RELATIONS : RELATIONS)[relation];
}

/** @param {number | null} evalue */
export function oddsLine(evalue) {
  if (evalue === null) return null;
  const title = t("odds.evalue-title");
  const odds = falseMatchOdds(evalue);
  return h(
    "p",
    { class: "odds" },
    odds && h("span", {}, odds),
    h("span", { title }, t("odds.evalue", { evalue: number(evalue) })),
  );
}

/** @param {Rest.SearchHit} hit
 * @param {{inspect: string | null, search: string, similar: string, versions: string, large: boolean}} options */
function hitCard(hit, { inspect, search, similar, versions, large }) {
  const { image } = hit;
  const { width, height } = image;
  const summary = evidenceSummary(hit);
  const alt = t("results.alt", { id: hit.id, relation: relationOf(hit) || t("image.stored") });
  return h(
    "li",
    { class: "hit", "data-id": hit.id },
    h(
      "a",
      { href: inspect, class: "thumb", "aria-label": t("results.inspect-id", { id: hit.id }) },
      large
        ? previewElement(image, alt, { size: RESULT_SIZE })
        : imageElement(image.thumbnail, alt, { width, height }),
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
        inspect && h("a", { href: inspect }, t("results.inspect")),
        h("a", { href: search }, t("image.search-by-this")),
        h("a", { href: similar }, t("similar.action")),
        hit.stack.length > 0 && h("a", { href: versions }, t("count.versions", { count: hit.stack.length + 1 })),
      ),
    ),
  );
}

/** @param {number} matches @param {number} possible */
function headline(matches, possible) {
  if (matches) return t("count.matches", { count: matches });
  return possible ? t("count.possible", { count: possible }) : t("decision.none");
}

/** @param {Rest.SearchAnswer} result */
export function summaryLine(result) {
  const methods = Object.keys(result.fingerprints).join(", ");
  const { searched, timings } = result;
  if (timings.total === undefined) return t("results.summary", { count: searched, methods });
  return t("results.summary-timed", { count: searched, methods, time: duration(timings.total) });
}

/** @param {string} name @param {...import("./dom.js").Child} value */
const row = (name, ...value) => [h("dt", {}, name), h("dd", {}, ...value)];

/** Method, mode, fingerprints and timings.
 * @param {Rest.SearchAnswer} result */
export function searchDetails(result) {
  return h(
    "details",
    { class: "search-details" },
    h("summary", {}, t("details.title")),
    h(
      "dl",
      {},
      row(t("details.method"), result.method === "auto" ? t("method.auto") : result.method),
      row(t("details.mode"), result.mode === "exact" ? t("details.exact") : t("details.fast")),
      row(t("details.verified"), t("count.images", { count: result.verified })),
      Object.entries(result.fingerprints).map(([name, print]) =>
        row(t("details.fingerprint", { name }), h("code", {}, print)),
      ),
      Object.entries(result.timings).map(([stage, time]) => row(STAGES[stage] ?? stage, duration(time))),
    ),
  );
}

/** @param {string | null} expires when the link stops working; `null`: never */
function shareButton(expires) {
  const until = expires ? t("share.until", { time: dateTime(expires) }) : "";
  /** @param {...string} sentences */
  const say = (...sentences) => toast(sentences.filter(Boolean).join(" "));
  return button("share", t("share.copy"), async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      say(t("share.copied"), until, getKey() ? t("share.needs-key") : "");
    } catch {
      say(t("share.blocked"), until);
    }
  });
}

const DISPLAY = "imagefinder.results";

/** The display that the user chose last. @returns {Display} */
export function savedDisplay() {
  const [sort, dense] = (localStorage.getItem(DISPLAY) ?? "").split(" ");
  return { sort: sort === "date" ? "date" : "evidence", dense: dense === "dense" };
}

/** Newest first: by the time that the picture was taken, or else added.
 * @param {Rest.SearchHit} a @param {Rest.SearchHit} b */
function byDate(a, b) {
  const [first, second] = [a, b].map(({ image }) => String(image.file_metadata.exif?.taken ?? image.added_at));
  return first < second ? 1 : first > second ? -1 : a.rank - b.rank;
}

/** Controls for the order of the hits, and for small pictures.
 * @param {Display} display @param {(display: Display) => void} onchange */
function displayControls(display, onchange) {
  /** @param {Partial<Display>} values */
  const change = (values) => {
    const next = { ...display, ...values };
    localStorage.setItem(DISPLAY, `${next.sort} ${next.dense ? "dense" : "cards"}`);
    onchange(next);
  };
  const sort = h(
    "select",
    {},
    h("option", { value: "evidence", selected: display.sort === "evidence" }, t("sort.evidence")),
    h("option", { value: "date", selected: display.sort === "date" }, t("sort.date")),
  );
  sort.addEventListener("change", () => change({ sort: sort.value === "date" ? "date" : "evidence" }));
  const toggle = button(
    display.dense ? "list" : "similar",
    t("results.dense"),
    () => change({ dense: !display.dense }),
    {
      quiet: true,
      "aria-pressed": String(display.dense),
    },
  );
  return h("div", { class: "row" }, h("label", { class: "inline" }, t("sort.label"), sort), toggle);
}

/** @param {Rest.SearchAnswer} result
 * @param {Links} links
 * @param {{expires: boolean, display: Display, ondisplay: (display: Display) => void}} options `expires`: whether the
 * result's link expires */
export function resultView(result, links, { expires, display, ondisplay }) {
  const ordered = display.sort === "date" ? [...result.hits].sort(byDate) : result.hits;
  /** @param {Rest.SearchHit["decision"]} decision */
  const withDecision = (decision) => ordered.filter((hit) => (hit.decision ?? "none") === decision);
  const [matches, possible, others] = [withDecision("match"), withDecision("possible"), withDecision("none")];
  /** @param {Rest.SearchHit[]} hits @param {boolean} large */
  const list = (hits, large) =>
    hits.length > 0 &&
    h(
      "ol",
      {
        class: ["hits", !large && "nearest", display.dense && "small-cards"].filter(Boolean).join(" "),
        role: "list",
      },
      hits.map((hit) =>
        hitCard(hit, {
          inspect: links.inspect(result, hit),
          search: links.search(hit.id),
          similar: links.similar(hit.id),
          versions: links.versions(hit.image.stack),
          large: large && !display.dense,
        }),
      ),
    );
  const none = !matches.length && !possible.length;
  const advice = result.hits.length ? t("results.no-match") : t("results.none-pass");
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
      h(
        "div",
        { class: "row" },
        result.hits.length > 1 && displayControls(display, ondisplay),
        result.explanations && shareButton(expires ? result.explanations.expires_at : null),
      ),
    ),
    none && h("p", { class: "no-match" }, icon("none"), advice),
    result.null_model === PRIOR && result.searched > 0 && h("p", { class: "sub" }, t("results.not-calibrated")),
    list(matches, true),
    matches.length > 0 && possible.length > 0 && h("h2", {}, t("count.possible", { count: possible.length })),
    list(possible, true),
    others.length > 0 &&
      h(
        "details",
        { class: "others", open: none },
        h("summary", {}, h("h2", {}, none ? t("results.nearest") : t("results.others", { count: others.length }))),
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
    { class: "columns", tabindex: "0", role: "region", "aria-label": t("columns.title") },
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
  const note = t("columns.note");
  return [
    h(
      "header",
      { class: "view-header" },
      h("div", {}, h("h1", { tabindex: "-1" }, t("columns.title")), h("p", { class: "sub" }, note)),
    ),
    view,
  ];
}

/** @param {Rest.SearchHit} hit @param {string | null} href @param {boolean} foundByAll */
function columnHit(hit, href, foundByAll) {
  return h(
    "li",
    { class: `row-hit ${hit.decision ?? "none"}`, "data-id": hit.id },
    h("a", { href, "aria-label": t("results.inspect-id", { id: hit.id }) }, thumbnail(hit.image)),
    h(
      "div",
      {},
      h("p", { class: "id", title: hit.id }, `${hit.rank}. ${fileName(hit.id)}`),
      h("p", { class: "verdict-line" }, badge(hit.decision), " ", relationOf(hit)),
      h(
        "p",
        { class: "small" },
        t("columns.score", { score: number(hit.score) }),
        hit.evalue !== null && ` · ${t("odds.evalue", { evalue: number(hit.evalue) })}`,
      ),
      hit.decision !== "none" && foundByAll && h("p", { class: "small" }, t("columns.found-by-all")),
    ),
  );
}
