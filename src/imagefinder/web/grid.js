/** The images of a collection as tiles, loaded page by page while scrolling. */

import { collectionPath, get, queryString, resolve } from "./api.js";
import { button, focusOn, h, openDialog, problemBox, put } from "./dom.js";
import { bytes, dateTime, dimensions, fileName } from "./format.js";
import { previewElement, thumbnail } from "./images.js";
import { filesNote, isPending, removalNote, remove } from "./remove.js";
import { link } from "./route.js";
import { mayWrite } from "./session.js";
import { t } from "./texts.js";

/** A page of the grid. Pages far from the window are emptied, so that any collection takes little memory.
 * @typedef {object} GridPage
 * @property {string | null} cursor
 * @property {string | null} [next] the next page's cursor; `undefined` before the page has loaded
 * @property {HTMLElement} list
 * @property {"empty" | "loading" | "full" | "failed"} state */

const PAGE_SIZE = 60;
const NEAR = "2000px";
const RATIOS = { narrowest: 0.6, widest: 2.2 };

/** A dialog with everything the collection stores about an image.
 * @param {Rest.Image} image @param {string} collection @param {() => void} onremove */
async function showDetails(image, collection, onremove) {
  const rows = /** @type {[string, import("./dom.js").Child][]} */ ([
    [t("image.id"), image.id],
    [t("image.dimensions"), dimensions(image)],
    [t("image.size"), `${bytes(image.size_bytes)}, ${image.format}`],
    [t("image.added"), dateTime(image.added_at)],
    [t("image.source"), image.uri && h("a", { href: image.uri, rel: "noreferrer", target: "_blank" }, image.uri)],
    [t("image.sha256"), h("code", {}, image.sha256)],
    ...Object.entries(image.metadata).map(([name, value]) => [
      name,
      typeof value === "string" ? value : JSON.stringify(value),
    ]),
  ]);
  const original = image.content && resolve(image.content);
  const note = filesNote([image]);
  const chosen = await openDialog(
    fileName(image.id),
    /** @param {(choice?: "remove") => void} close */
    (close) => [
      h("div", { class: "detail" }, previewElement(image, image.id, { loading: "eager" })),
      h(
        "dl",
        {},
        rows.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
      ),
      mayWrite() && note && h("p", { class: "small" }, t("remove.if-removed", { note })),
      h(
        "div",
        { class: "row end" },
        mayWrite() && button("trash", t("remove.action"), () => close("remove"), { title: removalNote([image]) }),
        original &&
          h("a", { href: original, target: "_blank", rel: "noopener", class: "button" }, t("image.open-original")),
        h(
          "a",
          { href: link("search", collection, { id: image.id }), class: "button primary", onclick: () => close() },
          t("image.search-by-this"),
        ),
      ),
    ],
    { wide: true },
  );
  if (chosen === "remove") onremove();
}

/** @param {Rest.Image} image
 * @param {string} collection
 * @param {(change: number) => void} onchange gets -1 when the image is removed, 1 when that is undone */
function tile(image, collection, onchange) {
  const { id } = image;
  const item = h(
    "li",
    { class: "tile", "data-id": id },
    h(
      "a",
      { href: link("search", collection, { id }), "aria-label": t("image.search-by", { id }), title: id },
      thumbnail(image),
    ),
    h(
      "div",
      { class: "caption" },
      h("span", { class: "id" }, fileName(id)),
      button("info", t("image.details", { id }), () => showDetails(image, collection, drop), {
        quiet: true,
        class: "plain",
      }),
      mayWrite() &&
        button("trash", t("remove.image", { id }), drop, {
          quiet: true,
          class: "plain",
          title: removalNote([image]),
        }),
    ),
  );
  const ratio = Math.min(Math.max(image.width / image.height, RATIOS.narrowest), RATIOS.widest);
  item.style.setProperty("--ratio", String(ratio));

  function drop() {
    const neighbour = item.nextElementSibling ?? item.previousElementSibling;
    item.hidden = true;
    onchange(-1);
    if (neighbour) focusOn(neighbour, "a");
    remove(collection, [image], () => {
      item.hidden = false;
      onchange(1);
    });
  }
  return item;
}

/** @param {string} collection
 * @param {{contains: string | null, filter: string | null}} query
 * @param {object} handlers
 * @param {(change: number) => void} handlers.onchange gets -1 for a removed image, 1 when that is undone
 * @param {(count: number, more: boolean) => void} handlers.onfirst called when the first page has loaded */
export function createGrid(collection, query, { onchange, onfirst }) {
  const element = h("div", { class: "pages" });
  /** @type {Map<Element, GridPage>} */
  const pages = new Map();
  let closed = false;
  const near = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        const page = pages.get(target);
        if (page) isIntersecting ? fill(page) : empty(page);
      }
    },
    { rootMargin: `${NEAR} 0px` },
  );

  /** @param {string | null} cursor @returns {GridPage} */
  function append(cursor) {
    const list = h("ul", { class: "tiles", role: "list" });
    /** @type {GridPage} */
    const page = { cursor, list, state: "empty" };
    pages.set(list, page);
    element.append(list);
    near.observe(list);
    return page;
  }

  /** @param {GridPage} page */
  async function fill(page) {
    if (page.state !== "empty") return;
    page.state = "loading";
    const path = `/images${queryString({ ...query, limit: PAGE_SIZE, cursor: page.cursor })}`;
    try {
      /** @type {Rest.ImagePage} */
      const { images, next_cursor: next } = await get(collectionPath(collection, path));
      if (closed) return;
      const shown = images.filter((image) => !isPending(collection, image.id));
      put(
        page.list,
        shown.map((image) => tile(image, collection, onchange)),
      );
      page.list.style.minHeight = "";
      page.state = "full";
      if (page.next !== undefined) return;
      page.next = next;
      if (page.cursor === null) onfirst(images.length, next !== null);
      if (next !== null) append(next);
    } catch (error) {
      page.state = "failed";
      const retry = () => {
        page.state = "empty";
        return fill(page);
      };
      put(page.list, h("li", { class: "whole" }, problemBox(error, retry)));
    }
  }

  /** @param {GridPage} page */
  function empty(page) {
    if (page.state !== "full" || page.list.contains(document.activeElement)) return;
    page.list.style.minHeight = `${page.list.offsetHeight}px`;
    put(page.list);
    page.state = "empty";
  }

  fill(append(null));
  return {
    element,
    close() {
      closed = true;
      near.disconnect();
    },
  };
}
