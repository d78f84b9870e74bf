/** The view of a search with words: the images that may show a text, without decisions. */

import { collectionPath, post } from "./api.js";
import { announce, h, icon, isAbort, problemBox, put, textInput } from "./dom.js";
import { percent } from "./format.js";
import { go, link } from "./route.js";
import { session } from "./session.js";
import { moveByArrows, tile } from "./similar.js";
import { t } from "./texts.js";

const MOST = 100;
const LONGEST = 300; // characters that the server accepts

/** Whether a collection can be searched with words.
 * @param {Rest.CollectionInfo} info */
export const hasWords = (info) =>
  info.methods.some(({ name }) => session.methods.find((each) => each.name === name)?.words);

/** A text box that searches with words.
 * @param {string} [value] */
export function wordsForm(value = "") {
  const input = textInput({
    type: "search",
    name: "text",
    required: true,
    maxlength: LONGEST,
    value,
    placeholder: t("words.example"),
    "aria-label": t("words.label"),
  });
  const form = h(
    "form",
    { class: "row url-form", role: "search" },
    input,
    h("button", {}, icon("search"), h("span", {}, t("query.search"))),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (text) go(link("words", session.collection, { text }));
  });
  return form;
}

/** @param {Rest.WordsInfo} words @param {number} searched */
function understood({ words, ignored, classes, shown, best, threshold }, searched) {
  const named = words.join(", ");
  return [
    h(
      "p",
      { class: "sub", role: "status" },
      shown
        ? t("words.shown", { count: shown, total: searched, words: named })
        : t("words.none", { words: named, best: percent(best ?? 0), threshold: percent(threshold) }),
    ),
    ignored.length > 0 && h("p", { class: "sub" }, t("words.ignored", { words: ignored.join(", ") })),
    classes.length > 0 && h("p", { class: "small" }, t("words.classes", { classes: classes.join(", ") })),
    h("p", { class: "small" }, t("words.uncalibrated")),
  ];
}

/** @param {HTMLElement} main @returns {import("./app.js").View} */
export function openWords(main) {
  const { collection } = session;
  const box = h("div", { class: "words-box" });
  const about = h("div", {});
  const grid = h("ul", { class: "dense", role: "list" });
  grid.addEventListener("keydown", (event) => moveByArrows(event, grid));
  let control = new AbortController();
  put(
    main,
    h(
      "div",
      { class: "similar" },
      h(
        "header",
        { class: "view-header" },
        h("div", { class: "grow" }, h("h1", { tabindex: "-1" }, t("words.title")), box, about),
      ),
      grid,
    ),
  );

  /** @param {string} text */
  async function load(text) {
    put(about, h("p", { class: "wait" }, t("page.loading")));
    put(grid);
    try {
      /** @type {Rest.SearchAnswer} */
      const answer = await post(
        collectionPath(collection, "/search"),
        { text, k: Math.min(MOST, session.limits?.max_k ?? MOST) },
        { signal: control.signal },
      );
      put(about, answer.words && understood(answer.words, answer.searched));
      put(
        grid,
        answer.hits.map(({ image, score }) => tile({ image, score }, collection)),
      );
      announce(about.querySelector("p")?.textContent ?? "");
    } catch (error) {
      if (!isAbort(error))
        put(
          about,
          problemBox(error, () => load(text)),
        );
    }
  }

  return {
    /** @param {import("./route.js").Route} route */
    async update({ params }) {
      const text = params.get("text") ?? "";
      control.abort();
      control = new AbortController();
      put(box, wordsForm(text));
      if (text.trim()) await load(text);
      else put(about);
    },
    close: () => control.abort(),
  };
}
