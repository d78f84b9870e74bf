/** A dialog that compares the query with one hit: matches, overlay, heat map, drawing and evidence. */

import { announce, button, closest, errorText, find, h, problemBox, put } from "./dom.js";
import { evidencePanel } from "./evidence.js";
import { fileName } from "./format.js";
import { createHeat } from "./heat.js";
import { createDetail, previewPath, source } from "./images.js";
import { createLines } from "./lines.js";
import { createOverlay } from "./overlay.js";
import { methodStatus } from "./session.js";
import { labelLine } from "./suggestions.js";
import { t } from "./texts.js";

/** One comparison.
 * @typedef {object} Entry
 * @property {string} id
 * @property {Rest.Image} image the stored image
 * @property {{path: string, size: [number, number], image?: Rest.Image}} query `image`: of a stored query
 * @property {string} relation in words
 * @property {Rest.SearchHit | null} hit `null` for a pair of duplicates
 * @property {Rest.Evidence | null} evidence
 * @property {string[]} methods
 * @property {(method: string, signal: AbortSignal) => Promise<Rest.Explanation>} [explain]
 * @property {(method: string) => string} [drawing] the drawing's path */

/** @typedef {"lines" | "overlay" | "heat" | "drawing"} Tab */
/** @typedef {{url: string, release: () => void}} Source */

/** @type {Record<Tab, string>} */
const TABS = {
  lines: t("inspector.lines"),
  overlay: t("inspector.overlay"),
  heat: t("inspector.heat"),
  drawing: t("inspector.drawing"),
};

const VIEW_KEYS = ["+", "=", "-", "0"];

/** @param {readonly number[]} point */
const coordinates = ([x, y]) => `(${Math.round(x)}, ${Math.round(y)})`;

/** @param {string} text */
const waitText = (text) => h("p", { class: "wait" }, text);

/** The view of matching keypoints, with its legend and a slider that steps through the lines. */
function createMatches() {
  const slider = h("input", { type: "range", min: 0, value: "0", "aria-label": t("matches.highlight") });
  const output = h("output", { class: "small" });
  const lines = createLines({ onmark: describe });
  const outliersShown = h("input", { type: "checkbox", checked: true });
  outliersShown.addEventListener("change", () => lines.showOutliers(outliersShown.checked));
  slider.addEventListener("input", () => {
    const index = Number(slider.value) - 1;
    lines.mark(index);
    describe(index);
    slider.setAttribute("aria-valuetext", output.textContent ?? "");
  });

  /** @param {number} index */
  function describe(index) {
    const pairs = lines.pairs();
    const pair = pairs[index];
    output.textContent = pair
      ? t("matches.pair", {
          index: index + 1,
          total: pairs.length,
          query: coordinates(pair[0]),
          stored: coordinates(pair[1]),
        })
      : "";
  }

  /** @param {import("./lines.js").Comparison} comparison @param {number} drawn */
  function legend({ evidence, inliers, outliers }, drawn) {
    /** @param {string} kind @param {string} label */
    const key = (kind, label) => h("span", { class: `key ${kind}` }, h("i", { "aria-hidden": "true" }), label);
    const count = inliers.length;
    const nothing = outliers.length ? t("matches.chance") : t("matches.none");
    return h(
      "div",
      { class: "controls" },
      h(
        "div",
        { class: "legend" },
        drawn > 0 &&
          key(
            "inlier",
            drawn < count ? t("matches.inliers-of", { drawn, count }) : t("matches.inliers", { count }),
          ),
        outliers.length > 0 &&
          h(
            "label",
            { class: "key outlier" },
            outliersShown,
            h("i", { "aria-hidden": "true" }),
            t("matches.outliers", { count: outliers.length }),
          ),
        evidence && key("frame-of", t("matches.outline")),
        !evidence && !drawn && h("span", { class: "small" }, nothing),
      ),
      drawn > 0 && h("label", { class: "slider" }, h("span", { class: "small" }, t("matches.step")), slider),
      output,
    );
  }

  return {
    element: lines.element,
    /** @param {import("./lines.js").Comparison} comparison @returns the controls */
    draw(comparison) {
      const drawn = lines.draw(comparison);
      slider.max = String(drawn);
      slider.value = "0";
      describe(-1);
      return legend(comparison, drawn);
    },
  };
}

/** The dialog's elements.
 * @param {{move: (by: number) => void, choose: (tab: Tab) => void, explainBy: (method: string) => void}} handlers */
function createLayout({ move, choose, explainBy }) {
  const title = h("h2", { id: "inspected" });
  const position = h("span", { class: "small position" });
  const stage = h("div", { class: "stage" });
  const controls = h("div", { class: "toolbar" });
  const side = h("aside", { class: "side", "aria-label": t("inspector.evidence"), tabindex: "0" });
  const previous = button("left", t("inspector.previous"), () => move(-1), { quiet: true });
  const next = button("right", t("inspector.next"), () => move(1), { quiet: true });
  const tabs = h(
    "div",
    { class: "segments", role: "radiogroup", "aria-label": t("inspector.view") },
    Object.entries(TABS).map(([name, label]) =>
      h(
        "label",
        { "data-tab": name },
        h("input", {
          type: "radio",
          name: "tab",
          value: name,
          onchange: () => choose(/** @type {Tab} */ (name)),
        }),
        h("span", {}, label),
      ),
    ),
  );
  const methods = h("select", { "aria-label": t("inspector.method") });
  methods.addEventListener("change", () => explainBy(methods.value));
  const close = button("close", t("inspector.close"), () => void dialog.close(), {
    quiet: true,
    class: "plain close",
  });
  /** @type {HTMLDialogElement} */
  const dialog = h(
    "dialog",
    { class: "inspector", "aria-labelledby": "inspected", tabindex: "-1", autofocus: true },
    h(
      "header",
      {},
      h("div", { class: "row" }, previous, next),
      h("div", { class: "title" }, title, position),
      tabs,
      methods,
      close,
    ),
    h("div", { class: "body" }, h("div", { class: "view" }, stage, controls), side),
  );
  /** @param {Tab} name */
  const tab = (name) => find(`[data-tab="${name}"]`, HTMLElement, tabs);
  /** @param {Tab} name */
  const radio = (name) => find("input", HTMLInputElement, tab(name));
  return { dialog, title, position, stage, controls, side, previous, next, methods, tab, radio };
}

/** Opens the dialog.
 * @param {Entry[]} entries
 * @param {number} start index of the first entry shown
 * @param {{onmove?: (index: number) => void, onclose?: () => void}} [handlers] called when the user moves or closes */
export function openInspector(entries, start, { onmove = () => {}, onclose = () => {} } = {}) {
  const state = {
    index: start,
    tab: /** @type {Tab} */ ("lines"),
    method: "auto",
    /** @type {string | null} the network whose heat map is shown; the other views keep their method */
    network: null,
    /** @type {Map<string, Rest.Explanation>} network -> explanation with a heat map */
    heats: new Map(),
    loading: new AbortController(),
    /** @type {Source[]} query and stored image; empty while they are loading */
    sources: [],
    /** @type {(import("./lines.js").Detail | undefined)[]} larger previews of both */
    details: [],
    /** @type {Rest.Explanation | null} */
    explanation: null,
    silent: false,
  };
  const layout = createLayout({ move, choose, explainBy });
  const { dialog, stage, controls, side } = layout;
  const matches = createMatches();
  const overlay = createOverlay();
  const heat = createHeat();

  /** The networks that can explain an entry by a heat map.
   * @param {Entry} entry */
  const networksOf = (entry) => entry.methods.filter((name) => methodStatus(name)?.explains.includes("heat"));

  /** The network of the heat map: the one chosen, or the first.
   * @param {Entry} entry */
  function networkOf(entry) {
    const networks = networksOf(entry);
    const chosen = state.network ?? state.method;
    return networks.includes(chosen) ? chosen : networks[0];
  }

  /** @param {Rest.Explanation | null} [explanation] @returns {import("./lines.js").Comparison} */
  function comparison(explanation = state.explanation) {
    const { image, query, evidence, explain } = entries[state.index];
    const { sources, details } = state;
    return {
      query: {
        url: details[0]?.url() ?? sources[0].url,
        size: explanation?.query_size ?? query.size,
        detail: details[0],
      },
      candidate: {
        url: details[1]?.url() ?? sources[1].url,
        size: explanation?.candidate_size ?? [image.width, image.height],
        detail: details[1],
      },
      evidence: explanation?.evidence ?? (explain ? null : evidence),
      inliers: explanation?.inliers ?? [],
      outliers: explanation?.outliers ?? [],
      explanation,
    };
  }

  function draw() {
    const entry = entries[state.index];
    const current = comparison();
    layout.radio("overlay").disabled = !current.evidence;
    layout.tab("overlay").title = current.evidence ? "" : t("inspector.no-transform");
    if (state.tab === "overlay" && !current.evidence) state.tab = "lines";
    layout.radio(state.tab).checked = true;
    drawMethods(entry);
    if (state.tab === "lines") {
      put(stage, matches.element);
      put(controls, matches.draw(current));
    } else if (state.tab === "overlay") {
      put(stage, overlay.element);
      overlay.draw(current);
      put(controls, overlay.controls);
    } else if (state.tab === "heat") drawHeat(entry);
    else drawDrawing(entry);
  }

  /** The methods that the current view can show: only networks have heat maps.
   * @param {Entry} entry */
  function drawMethods(entry) {
    const { methods } = layout;
    const heat = state.tab === "heat";
    const names = heat ? networksOf(entry) : ["auto", ...entry.methods];
    const chosen = heat ? networkOf(entry) : state.method;
    methods.hidden = !entry.explain || entry.methods.length < 2;
    put(
      methods,
      names.map((name) =>
        h(
          "option",
          { value: name, selected: name === chosen },
          name === "auto" ? t("inspector.all-methods") : name,
        ),
      ),
    );
  }

  /** @param {Entry} entry */
  async function drawHeat(entry) {
    const network = networkOf(entry);
    const { signal } = state.loading;
    const { explanation } = state;
    put(controls);
    try {
      let found = state.method === network ? (explanation ?? undefined) : state.heats.get(network);
      if (!found && entry.explain) {
        put(stage, waitText(t("page.loading")));
        found = await entry.explain(network, signal);
        state.heats.set(network, found);
      }
      if (signal.aborted || state.tab !== "heat" || networkOf(entry) !== network) return;
      if (!found?.query_heat.length) return put(stage, waitText(t("heat.none")));
      put(stage, heat.element);
      heat.draw(comparison(found), found);
      put(controls, heat.controls);
    } catch (error) {
      if (!signal.aborted && state.tab === "heat")
        put(
          stage,
          problemBox(error, () => drawHeat(entry)),
        );
    }
  }

  /** @param {Entry} entry */
  async function drawDrawing(entry) {
    if (!entry.drawing) return;
    put(stage, waitText(t("drawing.wait")));
    put(controls);
    const { signal } = state.loading;
    try {
      const drawing = await source(entry.drawing(state.method));
      if (signal.aborted) return drawing.release();
      state.sources.push(drawing);
      const image = h("img", { src: drawing.url });
      await image.decode();
      if (signal.aborted || state.tab !== "drawing") return;
      image.alt = t("drawing.alt", { id: entry.id });
      const name = `explanation-${fileName(entry.id).replace(/\.\w+$/, "")}.png`;
      const scrolling = { class: "drawing", tabindex: "0", role: "group", "aria-label": t("drawing.label") };
      put(stage, h("div", scrolling, image));
      put(
        controls,
        h(
          "div",
          { class: "controls" },
          h("a", { href: drawing.url, download: name }, t("drawing.download")),
          h("a", { href: drawing.url, target: "_blank", rel: "noopener" }, t("drawing.open")),
        ),
      );
    } catch (error) {
      const failed = { title: t("drawing.failed"), message: errorText(error).message };
      if (!signal.aborted)
        put(
          stage,
          problemBox(failed, () => drawDrawing(entry)),
        );
    }
  }

  /** Shows the entry before its explanation has loaded.
   * @param {Entry} entry */
  function drawHeader(entry) {
    const { title, position, previous, next } = layout;
    title.textContent = fileName(entry.id);
    title.title = entry.id;
    position.textContent = t("inspector.position", { index: state.index + 1, total: entries.length });
    // A disabled button would lose the focus, and the dialog its keys.
    if (document.activeElement === previous || document.activeElement === next) dialog.focus();
    previous.disabled = state.index === 0;
    next.disabled = state.index === entries.length - 1;
    layout.tab("heat").hidden = !entry.explain || !networksOf(entry).length;
    layout.tab("drawing").hidden = !entry.drawing;
    drawMethods(entry);
    put(side, evidencePanel(entry, null));
    if (!stage.firstChild) put(stage, h("p", { class: "wait", role: "status" }, t("page.loading")));
  }

  function releaseSources() {
    for (const each of [...state.sources, ...state.details]) each?.release();
    Object.assign(state, { sources: [], details: [] });
  }

  async function load() {
    state.loading.abort();
    const control = (state.loading = new AbortController());
    const entry = entries[state.index];
    releaseSources();
    state.explanation = null;
    state.heats.clear();
    drawHeader(entry);
    stage.setAttribute("aria-busy", "true");
    try {
      const [query, stored, explanation] = await Promise.all([
        source(entry.query.path),
        source(previewPath(entry.image)),
        entry.explain?.(state.method, control.signal),
      ]);
      if (control.signal.aborted) {
        query.release();
        stored.release();
        return;
      }
      state.sources = [query, stored];
      state.details = [entry.query.image, entry.image].map((image) => image && createDetail(image));
      state.explanation = explanation ?? null;
      put(side, evidencePanel(entry, state.explanation), labelLine(entry.id, control.signal));
      draw();
      announce(`${entry.id}, ${layout.position.textContent}`);
    } catch (error) {
      if (!control.signal.aborted) put(stage, problemBox(error, load));
    } finally {
      if (state.loading === control) stage.removeAttribute("aria-busy");
    }
  }

  /** @param {string} method */
  function explainBy(method) {
    if (state.tab === "heat") {
      state.network = method;
      return draw();
    }
    state.method = method;
    return load();
  }

  /** @param {Tab} name */
  function choose(name) {
    state.tab = name;
    if (state.sources.length) draw();
  }

  /** @param {number} index */
  function to(index) {
    if (index === state.index) return;
    state.index = index;
    load();
  }

  /** @param {number} by */
  function move(by) {
    const index = state.index + by;
    if (index < 0 || index >= entries.length) return;
    to(index);
    onmove(index);
  }

  dialog.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || closest(event, "input, select")) return;
    if (VIEW_KEYS.includes(event.key) || (event.shiftKey && event.key.startsWith("Arrow"))) {
      // Zooming and panning also work before the image has the focus.
      const { key, shiftKey } = event;
      stage.querySelector(".viewport")?.dispatchEvent(new KeyboardEvent("keydown", { key, shiftKey }));
      event.preventDefault();
    } else if (event.shiftKey) return;
    else if (event.key === "ArrowLeft") move(-1);
    else if (event.key === "ArrowRight") move(1);
  });
  dialog.addEventListener("close", () => {
    state.loading.abort();
    releaseSources();
    dialog.remove();
    if (!state.silent) onclose();
  });
  document.body.append(dialog);
  dialog.showModal();
  load();
  return {
    to,
    /** Closes without calling `onclose`. */
    close() {
      state.silent = true;
      dialog.close();
    },
  };
}
