/** Filters of the collection view: folders, and properties of images with the number of images for each value. */

import { button, h, put } from "./dom.js";
import { loadGroups } from "./listing.js";
import { changed, go, parse } from "./route.js";
import { locale, t } from "./texts.js";
import { groupLabel } from "./tile.js";

/** @typedef {import("./listing.js").Query} Query */

/** Property -> whether several values may be chosen: then an image has one of them. */
const FACETS = { format: true, camera: true, place: true, rating: true, tag: false };
const SINGLE = ["folder", "taken", "stack"];
const SHOWN = 12;
/** @type {Record<string, import("./texts.js").Key>} */
const LABELS = {
  folder: "facet.folder",
  taken: "facet.taken",
  format: "facet.format",
  camera: "facet.camera",
  place: "facet.place",
  rating: "facet.rating",
  tag: "facet.tag",
  stack: "facet.stack",
};

/** The restrictions of a route, as the REST API takes them.
 * @param {URLSearchParams} params @returns {Query} */
export function restrictions(params) {
  /** @type {Query} */
  const found = Object.fromEntries(SINGLE.map((name) => [name, params.get(name)]));
  for (const name of Object.keys(FACETS)) found[name] = valuesOf(params, name);
  return found;
}

/** Values are separated by a character that none of them has.
 * @param {URLSearchParams} params @param {string} name */
const valuesOf = (params, name) => (params.has(name) ? (params.get(name) ?? "").split("\n") : []);

/** @param {string} name @param {string} value */
function toggled(name, value) {
  const route = parse();
  const values = valuesOf(route.params, name);
  const rest = values.filter((each) => each !== value);
  const next = rest.length < values.length ? rest : [...values, value];
  const params = new URLSearchParams(route.params);
  if (next.length) params.set(name, next.join("\n"));
  else params.delete(name);
  return changed({ ...route, params }, {});
}

/** @param {string} collection */
export function createFacets(collection) {
  const chips = h("div", { class: "row chips" });
  const body = h("div", { class: "facets" });
  const panel = h("details", { class: "filter-panel" }, h("summary", {}, t("facet.more")), body);
  const element = h("div", { class: "stack narrowing" }, panel, chips);
  /** @type {Query} */
  let query = {};
  let shown = "";

  /** @param {string} name @param {string} value */
  const chip = (name, value) =>
    button("close", name === "stack" ? t("facet.stack") : `${t(LABELS[name])}: ${groupLabel(name, value)}`, () =>
      go(SINGLE.includes(name) ? changed(parse(), { [name]: null }) : toggled(name, value)),
    );

  async function fill() {
    if (!panel.open || shown === JSON.stringify(query)) return;
    shown = JSON.stringify(query);
    const parts = await Promise.all([folders(), ...Object.keys(FACETS).map(facet)]);
    put(body, parts);
  }

  /** @param {string} name */
  async function facet(name) {
    // The other values of the same property are those that could be chosen instead.
    const others = FACETS[/** @type {"format"} */ (name)] ? { ...query, [name]: [] } : query;
    const groups = await loadGroups(collection, others, name).catch(() => []);
    if (!groups.length || (groups.length === 1 && groups[0].value === (name === "rating" ? "0" : ""))) return null;
    const chosen = /** @type {string[]} */ (query[name] ?? []);
    groups.sort((a, b) => (name === "rating" ? Number(b.value) - Number(a.value) : b.images - a.images));
    const boxes = groups.map(({ value, images }) => {
      const box = h("input", { type: "checkbox", checked: chosen.includes(value) });
      box.addEventListener("change", () => go(toggled(name, value)));
      return h("label", { class: "check" }, box, h("span", {}, groupLabel(name, value)), number(images));
    });
    const rest = boxes.slice(SHOWN);
    return h(
      "fieldset",
      {},
      h("legend", {}, t(LABELS[name])),
      boxes.slice(0, SHOWN),
      rest.length > 0 && h("details", {}, h("summary", {}, t("facet.others", { count: rest.length })), rest),
    );
  }

  async function folders() {
    const groups = await loadGroups(collection, { ...query, folder: null }, "folder").catch(() => []);
    const tree = treeOf(groups);
    if (!tree.inner.size) return null;
    return h("fieldset", {}, h("legend", {}, t("facet.folder")), branch(tree, ""));
  }

  /** @param {Tree} tree @param {string} path @returns {HTMLElement} */
  function branch(tree, path) {
    const open = String(query.folder ?? "");
    const items = [...tree.inner].map(([name, inner]) => {
      const whole = path ? `${path}/${name}` : name;
      const href = changed(parse(), { folder: open === whole ? null : whole });
      const current = open === whole ? "true" : null;
      const line = [h("a", { href, "aria-current": current }, name || "/"), number(inner.images)];
      if (!inner.inner.size) return h("li", { class: "leaf" }, line);
      const details = h(
        "details",
        { open: open === whole || open.startsWith(`${whole}/`) },
        h("summary", {}, line),
      );
      const unfold = () => {
        if (details.open && details.children.length === 1) details.append(branch(inner, whole));
      };
      details.addEventListener("toggle", unfold);
      unfold();
      return h("li", {}, details);
    });
    return h("ul", { class: "folders", role: "list" }, items);
  }

  panel.addEventListener("toggle", fill);

  return {
    element,
    /** @param {URLSearchParams} params @param {Query} selected all that restricts the images */
    update(params, selected) {
      query = selected;
      const single = SINGLE.filter((name) => params.get(name));
      put(
        chips,
        single.map((name) => chip(name, params.get(name) ?? "")),
        Object.keys(FACETS).map((name) => valuesOf(params, name).map((value) => chip(name, value))),
      );
      chips.hidden = !chips.children.length;
      fill();
    },
    /** Counts again: images have changed. */
    refresh() {
      shown = "";
      fill();
    },
  };
}

/** @param {number} images */
const number = (images) => h("span", { class: "small" }, images.toLocaleString(locale));

/** @typedef {{images: number, inner: Map<string, Tree>}} Tree */

/** Folders with the number of images in them and below.
 * @param {import("./listing.js").Section[]} groups @returns {Tree} */
export function treeOf(groups) {
  /** @type {Tree} */
  const root = { images: 0, inner: new Map() };
  for (const { value, images } of groups) {
    if (!value) continue;
    let tree = root;
    for (const name of value.split("/")) {
      const inner = tree.inner.get(name) ?? { images: 0, inner: new Map() };
      inner.images += images;
      tree.inner.set(name, inner);
      tree = inner;
    }
  }
  return root;
}
