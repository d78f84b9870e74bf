/** One hit looked at closely: query and stored picture, what joins them, one laid on the other, heat, numbers. */

import { announce, button, h, problemBox, put } from "./dom.js";
import { heatView } from "./heat.js";
import { best, source } from "./images.js";
import { linesView } from "./lines.js";
import { overlayView } from "./overlay.js";
import { badge } from "./results.js";
import { method as known } from "./session.js";
import { FOUND_BY, RELATIONS, number, percent, power, short, sure } from "./words.js";

const TABS = { lines: "Matches", overlay: "Overlay", heat: "Heat", drawing: "Drawing" };

const row = (name, value) => (value === null || value === undefined || value === "" ? [] : [h("dt", {}, name), h("dd", {}, value)]);

function facts(entry, explanation) {
  const { hit } = entry;
  const evidence = explanation?.evidence ?? hit.evidence;
  const evalue = hit.evalue ?? explanation?.evalue;
  return [
    hit.decision !== undefined && hit.decision !== null ? badge(hit.decision) : null,
    h("p", { class: "relation" }, entry.words ?? RELATIONS[hit.relation] ?? ""),
    evalue !== null && evalue !== undefined ? h("p", { class: "sure" }, `${sure(evalue)} (E = ${number(evalue)}).`) : null,
    h(
      "dl",
      {},
      evidence
        ? [
            row("Points that fit", evidence.inliers ? `${number(evidence.inliers)} of ${number(evidence.matches)} matches` : "none were needed"),
            row("Found by", FOUND_BY[evidence.found_by] ?? evidence.found_by),
            row("Looks alike", evidence.agreement === null ? null : `${percent(evidence.agreement)} of what both show`),
            row("Of your picture in it", percent(Math.min(1, evidence.query_overlap))),
            row("Of it in your picture", percent(Math.min(1, evidence.candidate_overlap))),
            row("Transform", `${evidence.model}${evidence.mirrored ? ", mirrored" : ""}`),
            row("So many by chance", evidence.inliers ? power(Math.round(evidence.log10_chance)) : null),
          ]
        : row("Geometry", "no placement of one on the other explains the matches"),
      Object.entries(hit.methods ?? {}).map(([name, score]) => row(name, `score ${number(score.score)}, E = ${number(score.evalue)}`)),
      row("Size of it", entry.image ? `${entry.image.width} × ${entry.image.height}` : null),
    ),
    explanation && Object.keys(explanation.numbers).length
      ? h("details", {}, h("summary", {}, "Numbers behind it"), h("dl", {}, Object.entries(explanation.numbers).map(([name, value]) => row(name.replaceAll("_", " "), number(value)))))
      : null,
  ];
}

/** Opens the dialogue.
 * @param entries `{id, hit, image, query: {path, size}, methods, explain?, drawing?, words?}`
 * @returns {{to: (index: number) => void, close: () => void}} */
export function inspect(entries, start, { onmove = () => {}, onclose = () => {} } = {}) {
  let index = start;
  let tab = "lines";
  let method = "auto";
  let loading = null;
  let held = [];
  let explanation = null;
  let pictures = null;

  const title = h("h2", { id: "inspected" });
  const place = h("span", { class: "small place" });
  const stage = h("div", { class: "stage" });
  const controls = h("div", { class: "under" });
  const side = h("aside", { class: "side", "aria-label": "Evidence", tabindex: "0" });
  const earlier = button("left", "Earlier hit (left arrow)", () => move(-1), { quiet: true });
  const later = button("right", "Next hit (right arrow)", () => move(1), { quiet: true });
  const tabs = h(
    "div",
    { class: "segments", role: "radiogroup", "aria-label": "View" },
    Object.entries(TABS).map(([name, word]) => h("label", { "data-tab": name }, h("input", { type: "radio", name: "tab", value: name, onchange: () => choose(name) }), h("span", {}, word))),
  );
  const methods = h("select", { "aria-label": "Method that explains", onchange: () => ((method = methods.value), load()) });
  const box = h(
    "dialog",
    { class: "inspector", "aria-labelledby": "inspected", tabindex: "-1", autofocus: true },
    h("header", {}, h("div", { class: "row" }, earlier, later), h("div", { class: "title" }, title, place), tabs, methods, button("close", "Close (Esc)", () => box.close(), { quiet: true, class: "plain close" })),
    h("div", { class: "body" }, h("div", { class: "view" }, stage, controls), side),
  );

  const slider = h("input", { type: "range", min: 0, value: 0, "aria-label": "Highlight one match" });
  const marked = h("output", { class: "small" });
  const lines = linesView({ onmark: (each) => told(each, false) });
  const overlay = overlayView();
  const heat = heatView();
  const outliersToo = h("input", { type: "checkbox", checked: true, onchange: () => lines.classes.toggle("no-outliers", !outliersToo.checked) });

  function told(each, aloud = true) {
    const pair = lines.pairs()[each];
    const at = ([x, y]) => `(${Math.round(x)}, ${Math.round(y)})`;
    marked.textContent = pair ? `${each + 1} of ${lines.pairs().length}: ${at(pair[0])} in the query, ${at(pair[1])} in the stored picture` : "";
    if (aloud && pair) slider.setAttribute("aria-valuetext", marked.textContent);
  }

  slider.addEventListener("input", () => {
    lines.mark(slider.value - 1);
    told(slider.value - 1);
  });

  function legend(drawn) {
    const line = (kind, word) => h("span", { class: `key ${kind}` }, h("i", { "aria-hidden": "true" }), word);
    const { evidence } = seen();
    const out = explanation?.outliers.length ?? 0;
    const all = explanation?.inliers.length ?? 0;
    return h(
      "div",
      { class: "controls" },
      h(
        "div",
        { class: "legend" },
        drawn ? line("inlier", `${drawn < all ? `${drawn} of ` : ""}${number(all)} that fit, drawn through`) : null,
        out ? h("label", { class: "key outlier" }, outliersToo, h("i", { "aria-hidden": "true" }), `${number(out)} that do not, dashed`) : null,
        evidence ? line("frame-of", "the frame of the other") : null,
        !evidence && !drawn ? h("span", { class: "small" }, out ? "No placement explains these matches: they are what chance gives." : "No points were found in common.") : null,
      ),
      drawn ? h("label", { class: "slider" }, h("span", { class: "small" }, "One by one"), slider) : null,
      marked,
    );
  }

  const seen = () => {
    const entry = entries[index];
    return {
      query: { url: pictures[0].url, size: explanation?.query_size ?? entry.query.size },
      candidate: { url: pictures[1].url, size: explanation?.candidate_size ?? [entry.image.width, entry.image.height] },
      evidence: explanation?.evidence ?? (entry.explain ? null : entry.hit.evidence),
      inliers: explanation?.inliers ?? [],
      outliers: explanation?.outliers ?? [],
      explanation,
    };
  };

  const heatMethod = () => entries[index].methods.find((name) => known(name)?.explains.includes("heat"));

  function draw() {
    const what = seen();
    tabs.querySelector('[data-tab="overlay"] input').disabled = !what.evidence;
    tabs.querySelector('[data-tab="overlay"]').title = what.evidence ? "" : "There is no transform to lay one on the other by";
    if (tab === "overlay" && !what.evidence) tab = "lines";
    tabs.querySelector(`[value=${tab}]`).checked = true;
    if (tab === "lines") {
      put(stage, lines.element);
      const drawn = lines.draw(what);
      slider.max = drawn;
      slider.value = 0;
      told(-1);
      put(controls, legend(drawn));
    } else if (tab === "overlay") {
      put(stage, overlay.element);
      overlay.draw(what);
      put(controls, overlay.controls);
    } else if (tab === "heat") {
      if (!explanation.query_heat.length) return wholeHeat();
      put(stage, heat.element);
      heat.draw(what);
      put(controls, heat.controls);
    } else drawn();
    return null;
  }

  /** Heat is of one network: where another method was asked, that network is. */
  function wholeHeat() {
    if (method !== heatMethod()) {
      method = heatMethod();
      methods.value = method;
      load();
    } else put(stage, h("p", { class: "wait" }, "This network has no heat for these pictures."));
  }

  async function drawn() {
    put(controls);
    put(stage, h("p", { class: "wait", role: "status" }, "Drawing…"));
    const entry = entries[index];
    const mine = loading;
    try {
      const { url, release } = await source(entry.drawing(method));
      held.push(release);
      if (mine !== loading || tab !== "drawing") return;
      put(stage, h("div", { class: "drawn", tabindex: "0", role: "group", "aria-label": "The explanation as a picture" }, h("img", { src: url, alt: `Why ${entry.id} was found: the query and the stored picture, what joins them, what differs` })));
      put(controls, h("div", { class: "controls" }, h("a", { href: url, download: `why-${short(entry.id).replace(/\.\w+$/, "")}.png` }, "Save it"), h("a", { href: url, target: "_blank", rel: "noopener" }, "Open it alone")));
    } catch (error) {
      put(stage, problemBox(error));
    }
  }

  async function load() {
    loading?.abort();
    const mine = (loading = new AbortController());
    const entry = entries[index];
    title.textContent = short(entry.id);
    title.title = entry.id;
    place.textContent = `${index + 1} of ${entries.length}`;
    // A button that is switched off would take the focus, and with it the keys, out of the dialogue.
    if ([earlier, later].includes(document.activeElement)) box.focus();
    earlier.disabled = index === 0;
    later.disabled = index === entries.length - 1;
    for (const release of held) release();
    held = [];
    tabs.querySelector('[data-tab="heat"]').hidden = !entry.explain || !heatMethod();
    tabs.querySelector('[data-tab="drawing"]').hidden = !entry.drawing;
    methods.hidden = !entry.explain || entry.methods.length < 2;
    if (entry.methods) put(methods, [["auto", "All methods"], ...entry.methods.map((name) => [name, name])].map(([value, word]) => h("option", { value, selected: value === method }, word)));
    explanation = null;
    pictures = null;
    put(side, facts(entry, null));
    if (!stage.firstChild) put(stage, h("p", { class: "wait", role: "status" }, "Looking closely…"));
    stage.setAttribute("aria-busy", "true");
    try {
      const [both, why] = await Promise.all([
        Promise.all([source(entry.query.path), source(best(entry.image))]),
        entry.explain?.(method, mine.signal),
      ]);
      held.push(...both.map((each) => each.release));
      if (mine.signal.aborted) return;
      pictures = both;
      explanation = why ?? null;
      put(side, facts(entry, explanation));
      draw();
      announce(`${entry.id}, hit ${index + 1} of ${entries.length}`);
    } catch (error) {
      if (!mine.signal.aborted) put(stage, problemBox(error, load));
    } finally {
      if (loading === mine) stage.removeAttribute("aria-busy");
    }
  }

  function choose(name) {
    tab = name;
    if (!pictures) return;
    if (name === "lines" && method !== "auto" && !explanation.inliers.length && !explanation.outliers.length) {
      method = "auto"; // heat had asked for a network
      load();
    } else draw();
  }

  function to(next) {
    if (next === index) return;
    index = next;
    load();
  }

  function move(by) {
    const next = index + by;
    if (next < 0 || next >= entries.length) return;
    to(next);
    onmove(next);
  }

  box.addEventListener("keydown", (event) => {
    if (event.shiftKey || event.altKey || event.ctrlKey || event.target.matches("input, select")) return;
    if (event.key === "ArrowLeft") move(-1);
    else if (event.key === "ArrowRight") move(1);
  });
  let silent = false;
  box.addEventListener("close", () => {
    loading?.abort();
    for (const release of held) release();
    box.remove();
    if (!silent) onclose();
  });
  document.body.append(box);
  box.showModal();
  load();
  return {
    to,
    close() {
      silent = true;
      box.close();
    },
  };
}
