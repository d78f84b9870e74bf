/** An answer: what was found, as what, how sure, why; or, honestly, that nothing was. */

import { getKey } from "./api.js";
import { button, h, icon, toast } from "./dom.js";
import { best, picture } from "./images.js";
import { DECISIONS, RELATIONS, STAGES, count, number, seconds, short, sure, when, why } from "./words.js";

export function badge(decision) {
  const { word, icon: name } = DECISIONS[decision] ?? DECISIONS.none;
  return h("span", { class: `badge ${decision ?? "none"}` }, icon(name), word);
}

export const evalue = (hit) =>
  hit.evalue === null || hit.evalue === undefined
    ? null
    : h("p", { class: "sure" }, sure(hit.evalue), " ", h("span", { class: "number", title: "E-value: how many pictures of this collection would do as well by chance" }, `E = ${number(hit.evalue)}`));

function card(hit, { href, by, large }) {
  const { image } = hit;
  const alt = `${hit.id}: ${RELATIONS[hit.relation] ?? "stored picture"}`;
  return h(
    "li",
    { class: `hit ${large ? "large" : ""}`, "data-id": hit.id },
    h(
      "a",
      { href, class: "look", "aria-label": `Compare with ${hit.id}` },
      picture(large ? best(image) : image.thumbnail, alt, { width: image.width, height: image.height }),
    ),
    h(
      "div",
      { class: "facts" },
      h("p", { class: "id", title: hit.id }, short(hit.id)),
      h("p", { class: "what" }, badge(hit.decision), " ", h("span", {}, RELATIONS[hit.relation] ?? "")),
      evalue(hit),
      why(hit) && h("p", { class: "why" }, why(hit)),
      h("p", { class: "actions" }, href && h("a", { href }, large ? "Look closely" : "Compare"), h("a", { href: by }, "Search by it")),
    ),
  );
}

/** A stored picture is asked for what else there is: it is no hit of itself. */
function headline(matches, possible, stored) {
  const other = stored ? "other picture" : "picture";
  if (matches) return `${count(matches, other)} here ${matches === 1 ? "shows" : "show"} this`;
  if (possible) return `Perhaps: ${count(possible, other)} may show this`;
  return stored ? "Nothing else in this collection shows this" : "Nothing in this collection shows this";
}

export function summary(result) {
  const methods = Object.keys(result.fingerprints).join(" and ");
  const time = result.timings.total === undefined ? "" : ` in ${seconds(result.timings.total)}`;
  return `${count(result.searched, "picture")} searched by ${methods}${time}`;
}

/** Method, mode, weights and times, for those who ask. */
export function details(result) {
  return h(
    "details",
    { class: "how" },
    h("summary", {}, "How this was found"),
    h(
      "dl",
      {},
      h("dt", {}, "Method"),
      h("dd", {}, result.method === "auto" ? "all together" : result.method),
      h("dt", {}, "Mode"),
      h("dd", {}, result.mode, result.mode === "exact" ? ": every picture was scored" : ""),
      h("dt", {}, "Looked at closely"),
      h("dd", {}, count(result.verified, "picture")),
      Object.entries(result.fingerprints).map(([name, print]) => [h("dt", {}, `Made by ${name}`), h("dd", {}, h("code", {}, print))]),
      Object.entries(result.timings).map(([stage, time]) => [h("dt", {}, `To ${STAGES[stage] ?? stage}`.replace("To in all", "In all")), h("dd", {}, seconds(time))]),
    ),
  );
}

function share(result, kind) {
  const until = kind === "id" || kind === "url" ? "" : ` It works until ${when(result.explanations.expires_at)}.`;
  return button("share", "Copy link", async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      toast(`The link is in the clipboard.${until}${getKey() ? " Who opens it needs a key." : ""}`);
    } catch {
      toast(`The address of this page is the link.${until}`);
    }
  });
}

/** @param hrefOf gives where a hit is looked at
 *  @param by gives where an id is searched by */
export function answer(result, { hrefOf, by, kind }) {
  const group = (decision) => result.hits.filter((hit) => (hit.decision ?? "none") === decision);
  const [matches, possible, others] = ["match", "possible", "none"].map(group);
  const list = (hits, large) =>
    h("ol", { class: large ? "hits" : "hits near", role: "list" }, hits.map((hit) => card(hit, { href: hrefOf(result, hit), by: by(hit.id), large })));
  const nothing = !matches.length && !possible.length;
  const near = others.length
    ? h(
        "details",
        { class: "nearest", open: nothing },
        h("summary", {}, h("h2", {}, nothing ? "The nearest there are, not matching" : `${count(others.length, "other")}, not matching`)),
        list(others, false),
      )
    : null;
  return [
    h(
      "header",
      { class: "verdict" },
      h("div", {}, h("h1", { tabindex: "-1" }, headline(matches.length, possible.length, kind === "id")), h("p", { class: "sub" }, summary(result))),
      result.explanations && share(result, kind),
    ),
    nothing &&
      h(
        "p",
        { class: "honest" },
        icon("none"),
        result.hits.length ? "What comes nearest is shown below. Chance would do as well, so do not take it for an answer." : "No picture passes the filter.",
      ),
    matches.length ? list(matches, true) : null,
    possible.length ? [matches.length ? h("h2", {}, "Possible") : null, list(possible, true)] : null,
    near,
    details(result),
  ];
}
