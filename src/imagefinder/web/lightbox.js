/** One image at a time over the whole window: with arrows, swipes and keys to the next one. */

import { announce, button, h, problemBox, put } from "./dom.js";
import { fileActions } from "./files.js";
import { fileName } from "./format.js";
import { previewElement } from "./images.js";
import { go, link } from "./route.js";
import { mayWrite } from "./session.js";
import { t } from "./texts.js";
import { properties } from "./tile.js";

const SWIPE = 50;

/** @param {string} collection @param {number} start position
 * @param {object} source
 * @param {() => number} source.count
 * @param {(position: number) => Promise<Rest.Image | undefined>} source.image
 * @param {(image: Rest.Image) => void} source.onremove
 * @param {(position: number) => void} source.onclose gets the position of the last image */
export function openLightbox(collection, start, { count, image: imageAt, onremove, onclose }) {
  let position = start;
  /** @type {Rest.Image | undefined} */
  let image;
  const name = h("h2", { class: "id" });
  const place = h("span", { class: "small" });
  const stage = h("div", { class: "shown" });
  const facts = h("aside", {
    class: "about",
    "aria-label": t("lightbox.properties"),
    hidden: true,
    tabindex: "0",
  });
  const previous = button("left", t("lightbox.previous"), () => step(-1), { quiet: true, class: "plain step" });
  const next = button("right", t("lightbox.next"), () => step(1), { quiet: true, class: "plain step" });
  const search = button("search", t("image.search-by-this"), () => leaveFor("search"), { class: "primary" });
  /** @type {HTMLDialogElement} */
  const box = h(
    "dialog",
    { class: "lightbox", "aria-label": t("lightbox.label") },
    h(
      "header",
      {},
      h("div", { class: "title" }, name, place),
      search,
      button("similar", t("similar.action"), () => leaveFor("similar"), { quiet: true, class: "plain" }),
      button("info", t("lightbox.properties"), () => toggleFacts(), { quiet: true, class: "plain" }),
      mayWrite() && button("trash", t("remove.action"), () => drop(), { quiet: true, class: "plain" }),
      button("close", t("page.close"), () => box.close(), { quiet: true, class: "plain" }),
    ),
    h("div", { class: "screen" }, previous, stage, next, facts),
  );

  async function show() {
    previous.disabled = position === 0;
    next.disabled = position >= count() - 1;
    const wanted = position;
    try {
      image = await imageAt(position);
    } catch (error) {
      return put(stage, problemBox(error, show));
    }
    if (wanted !== position || !box.isConnected) return;
    if (!image) return box.close();
    name.textContent = fileName(image.id);
    name.title = image.id;
    place.textContent = t("lightbox.place", { number: position + 1, count: count() });
    put(stage, previewElement(image, image.id, { loading: "eager" }));
    if (!facts.hidden) put(facts, properties(image), fileActions(image, collection));
    announce(`${fileName(image.id)}, ${place.textContent}`);
    for (const near of [position + 1, position - 1]) {
      const other = near >= 0 && near < count() ? await imageAt(near).catch(() => undefined) : undefined;
      if (other && wanted === position) previewElement(other, "", { loading: "eager" });
    }
  }

  /** @param {number} by */
  function step(by) {
    const target = position + by;
    if (target < 0 || target >= count()) return;
    position = target;
    show();
  }

  function toggleFacts() {
    facts.hidden = !facts.hidden;
    if (!facts.hidden && image) put(facts, properties(image), fileActions(image, collection));
  }

  /** @param {"search" | "similar"} view */
  function leaveFor(view) {
    if (!image) return;
    const target = link(view, collection, { id: image.id });
    box.close();
    go(target);
  }

  function drop() {
    if (!image) return;
    onremove(image);
    position = Math.min(position, count() - 1);
    if (position < 0) box.close();
    else show();
  }

  /** @type {Record<string, () => void>} */
  const keys = {
    ArrowLeft: () => step(-1),
    ArrowRight: () => step(1),
    s: () => leaveFor("search"),
    m: () => leaveFor("similar"),
    i: toggleFacts,
    Delete: () => mayWrite() && drop(),
  };
  box.addEventListener("keydown", (event) => {
    const run = event.ctrlKey || event.metaKey || event.altKey ? undefined : keys[event.key];
    if (!run) return;
    event.preventDefault();
    run();
  });
  let swiped = 0;
  stage.addEventListener("pointerdown", (event) => {
    swiped = event.clientX;
  });
  stage.addEventListener("pointerup", (event) => {
    const by = event.clientX - swiped;
    if (Math.abs(by) > SWIPE) step(by < 0 ? 1 : -1);
  });
  box.addEventListener("close", () => {
    box.remove();
    onclose(position);
  });
  document.body.append(box);
  box.showModal();
  next.focus();
  show();
}
