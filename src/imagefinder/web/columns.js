/** All methods side by side: what each one alone says of the same question. */

import { h } from "./dom.js";
import { picture } from "./images.js";
import { badge, details, summary } from "./results.js";
import { RELATIONS, number, short } from "./words.js";

export function columns(results, { hrefOf }) {
  const places = new Map();
  for (const result of results) for (const hit of result.hits) places.set(hit.id, (places.get(hit.id) ?? 0) + 1);
  const view = h(
    "div",
    { class: "columns", tabindex: "0", role: "region", "aria-label": "Answers side by side" },
    results.map((result) =>
      h(
        "section",
        { class: "column", "aria-label": result.method },
        h("h2", {}, result.method),
        h("p", { class: "sub" }, summary(result)),
        h(
          "ol",
          { role: "list" },
          result.hits.map((hit) =>
            h(
              "li",
              { class: `row-hit ${hit.decision ?? "none"}`, "data-id": hit.id },
              h("a", { href: hrefOf(result, hit), "aria-label": `Compare with ${hit.id}` }, picture(hit.image.thumbnail, "", { width: hit.image.width, height: hit.image.height })),
              h(
                "div",
                {},
                h("p", { class: "id", title: hit.id }, `${hit.rank}. ${short(hit.id)}`),
                h("p", { class: "what" }, badge(hit.decision), " ", RELATIONS[hit.relation] ?? ""),
                h("p", { class: "small" }, `score ${number(hit.score)}`, hit.evalue !== null && ` · E = ${number(hit.evalue)}`),
                hit.decision !== "none" && places.get(hit.id) === results.length ? h("p", { class: "small" }, "said by every method") : null,
              ),
            ),
          ),
        ),
        details(result),
      ),
    ),
  );
  const mark = (event, on) => {
    const id = event.target.closest?.("[data-id]")?.dataset.id;
    for (const row of view.querySelectorAll("[data-id]")) row.classList.toggle("same", on && row.dataset.id === id);
  };
  for (const name of ["pointerover", "focusin"]) view.addEventListener(name, (event) => mark(event, true));
  for (const name of ["pointerleave", "focusout"]) view.addEventListener(name, (event) => mark(event, false));
  return [h("header", { class: "verdict" }, h("div", {}, h("h1", { tabindex: "-1" }, "Each method by itself"), h("p", { class: "sub" }, "A score is comparable within a column only; E-values are comparable everywhere."))), view];
}
