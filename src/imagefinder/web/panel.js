/** The query panel: the query image with a selectable region, and the search options. */

import { createCrop } from "./crop.js";
import { button, h, icon, put } from "./dom.js";
import { checkFilter, filterInput } from "./filter.js";
import { fileName } from "./format.js";
import { imageElement, previewPath, show } from "./images.js";
import { dropZone, querySources } from "./query.js";
import { ALL_METHODS } from "./request.js";
import { link } from "./route.js";
import { mayWrite, methodStatus, session } from "./session.js";
import { parts, t } from "./texts.js";
import { hasWords, wordsForm } from "./words.js";

/** @typedef {import("./search.js").SearchState} SearchState */

/** @typedef {object} Handlers
 * @property {import("./query.js").OnQuery} search
 * @property {() => void} searchAgain with the same query and other options
 * @property {(how: "moved" | "placed") => void} regionChanged */

const RESULT_COUNTS = [3, 10, 30, 100];
const MODES = [
  ["", t("mode.auto")],
  ["exact", t("mode.exact")],
  ["fast", t("mode.fast")],
];

/** @param {SearchState} state @param {Handlers} handlers */
function optionsForm({ options, info }, { searchAgain }) {
  const names = info.methods.map((each) => each.name);
  const counts = [...new Set([...RESULT_COUNTS, options.k])].sort((a, b) => a - b);
  const most = session.limits?.max_k ?? Infinity;
  const method = h(
    "select",
    {},
    h("option", { value: "auto" }, t("method.auto")),
    names.map((name) => h("option", { value: name, disabled: methodStatus(name)?.ready === false }, name)),
    names.length > 1 && h("option", { value: ALL_METHODS }, t("method.all")),
  );
  method.value = options.method;
  method.addEventListener("change", () => {
    options.method = method.value;
    searchAgain();
  });
  const results = h(
    "select",
    {},
    counts.filter((k) => k <= most).map((k) => h("option", { value: String(k), selected: k === options.k }, k)),
  );
  results.addEventListener("change", () => {
    options.k = Number(results.value);
    searchAgain();
  });
  const mode = h(
    "select",
    {},
    MODES.map(([value, label]) => h("option", { value, selected: value === options.mode }, label)),
  );
  mode.addEventListener("change", () => {
    options.mode = mode.value;
    searchAgain();
  });
  const filter = filterInput({
    value: options.filter,
    placeholder: "kind=cat year=1999",
    "aria-describedby": "filter-help",
  });
  filter.addEventListener("change", () => {
    if (!checkFilter(filter)) return;
    options.filter = filter.value.trim();
    searchAgain();
  });
  return h(
    "form",
    { class: "options", onsubmit: (event) => event.preventDefault() },
    h(
      "div",
      { class: "pair" },
      h("label", {}, t("options.method"), method),
      h("label", {}, t("options.results"), results),
    ),
    h(
      "details",
      { open: Boolean(options.filter || options.mode) },
      h("summary", {}, t("options.more")),
      h("label", {}, t("options.filter"), filter),
      h("p", { class: "small", id: "filter-help" }, t("options.filter-help")),
      h("label", {}, t("options.mode"), mode),
    ),
  );
}

/** What an empty collection shows. */
function emptyCollection() {
  return h(
    "div",
    { class: "quiet" },
    h("h1", { tabindex: "-1" }, t("empty.title")),
    mayWrite()
      ? [
          h("p", {}, t("empty.text")),
          h(
            "p",
            {},
            h(
              "a",
              { href: link("library", session.collection), class: "button primary" },
              icon("upload"),
              h("span", {}, t("collection.add-images")),
            ),
          ),
          h(
            "p",
            { class: "small" },
            parts("empty.folder", {
              job: h("a", { href: "#/jobs" }, t("empty.start-job")),
              command: h("code", {}, "imagefinder add FOLDER"),
            }),
          ),
        ]
      : h("p", {}, t("collection.read-only")),
  );
}

/** The query image and the buttons of its region.
 * @param {SearchState} state
 * @param {import("./query.js").Query} query
 * @param {Handlers} handlers */
function createPreview(state, query, { searchAgain, regionChanged }) {
  const image = imageElement(null, t("query.image"), { loading: "eager" });
  const frame = h("div", { class: "preview", hidden: true }, image);
  const buttons = h("div", { class: "row" });
  const crop = createCrop(frame, {
    onchange: (region, how) => {
      const toggled = !region !== !state.region;
      state.region = region;
      if (toggled) drawButtons();
      regionChanged(how);
    },
    onenter: searchAgain,
  });
  image.addEventListener("load", () => frame.classList.add("ready"));
  image.addEventListener("error", () => {
    // The browser cannot show this kind of file; the server's copy is a JPEG.
    if (query.preview?.startsWith("blob:")) {
      query.preview = undefined;
      update();
    }
  });
  crop.set(state.region);
  drawButtons();
  update();

  function drawButtons() {
    const whole = () => {
      const searched = (state.results?.[0].boxes.length ?? 0) > 0;
      state.region = null;
      crop.set(null);
      drawButtons();
      if (searched) searchAgain();
    };
    const handle = state.results?.[0].explanations?.handle;
    const to = query.kind === "id" ? { id: query.value } : handle ? { of: handle } : null;
    const similar =
      to &&
      h(
        "a",
        { class: "button", href: link("similar", session.collection, to) },
        icon("similar"),
        h("span", {}, t("similar.action")),
      );
    if (state.failed) put(buttons);
    else if (state.region) {
      put(
        buttons,
        button("search", t("region.search"), searchAgain, { class: "primary" }),
        button("close", t("region.whole"), whole),
      );
    } else put(buttons, button("box", t("region.select"), crop.start), similar);
  }

  function update() {
    const handle = state.results?.[0].explanations?.handle;
    const uploaded = handle ? `v1/explanations/${handle}/query` : null;
    const path = query.image ? previewPath(query.image) : (query.preview ?? uploaded);
    frame.hidden = !path;
    if (path && image.dataset.shown !== path) {
      image.dataset.shown = path;
      show(image, path);
    }
  }

  const name = query.kind === "handle" ? t("query.uploaded") : query.value;
  const label = h("p", { class: "name", title: name }, query.kind === "id" ? fileName(name) : name);
  return { element: h("div", { class: "query" }, frame, label, buttons), update };
}

/** @param {SearchState} state @param {Handlers} handlers */
export function createPanel(state, handlers) {
  const element = h("section", { class: "query-panel", "aria-label": t("query.label") });
  /** @type {ReturnType<typeof createPreview> | null} */
  let preview = null;
  // The options are folded away where the panel is above the results.
  const wide = matchMedia("(min-width: 56rem)");
  const fold = () => {
    const more = element.querySelector("details.more");
    if (more instanceof HTMLDetailsElement) more.open = wide.matches;
  };
  wide.addEventListener("change", fold);

  return {
    element,
    /** Shows the query, or the ways to choose one. */
    render() {
      const { query, info } = state;
      preview = query && createPreview(state, query, handlers);
      if (preview) {
        const another = h(
          "details",
          { class: "new-query", open: state.failed },
          h("summary", {}, t("query.new")),
          querySources(handlers.search),
          hasWords(info) && wordsForm(),
        );
        const summary = h("summary", {}, t("options.all"));
        put(
          element,
          preview.element,
          h(
            "details",
            { class: "more", open: wide.matches || state.failed },
            summary,
            optionsForm(state, handlers),
            another,
          ),
        );
      } else if (info.images) {
        const heading = h("h1", { tabindex: "-1" }, t("search.title"));
        put(
          element,
          heading,
          dropZone(handlers.search),
          hasWords(info) && wordsForm(),
          optionsForm(state, handlers),
        );
      } else put(element, emptyCollection());
    },
    /** Shows the query image after its description has loaded. */
    updatePreview: () => preview?.update(),
    close: () => wide.removeEventListener("change", fold),
  };
}
