/** A tile of the grid, its headings, and the dialog with everything that is stored about an image. */

import { resolve } from "./api.js";
import { button, h, openDialog } from "./dom.js";
import { fileActions } from "./files.js";
import { bytes, dateTime, dimensions, fileName, localTime } from "./format.js";
import { previewElement, thumbnail } from "./images.js";
import { filesNote, removalNote } from "./remove.js";
import { link } from "./route.js";
import { mayWrite } from "./session.js";
import { locale, t } from "./texts.js";

/** The heading of a section; empty if it has none.
 * @param {string} group @param {import("./listing.js").Section} section */
export function headingOf(group, { value, images }) {
  if (group === "none") return "";
  const number = t("count.images", { count: images });
  return `${groupLabel(group, value)} · ${number}`;
}

/** The name of a group for people.
 * @param {string} group @param {string} value */
export function groupLabel(group, value) {
  if (group === "folder") return value || t("arrange.top");
  if (group === "rating")
    return value === "0" ? t("arrange.unrated") : "★".repeat(Math.max(0, Number(value))) || t("arrange.rejected");
  if (group !== "day" && group !== "month") return value || t("arrange.unknown");
  const [year, month, day = 1] = value.split("-").map(Number);
  /** @type {Intl.DateTimeFormatOptions} */
  const form = {
    year: "numeric",
    month: "long",
    ...(group === "day" ? { day: "numeric", weekday: "short" } : {}),
  };
  return new Intl.DateTimeFormat(locale, { ...form, timeZone: "UTC" }).format(Date.UTC(year, month - 1, day));
}

/** A link to all versions of a picture; `false` if it has one.
 * @param {Rest.Image} image @param {string} collection */
const versionsLink = ({ id, stack, versions }, collection) => {
  const label = t("count.versions", { count: versions });
  const href = link("library", collection, { stack });
  return (
    versions > 1 && h("a", { class: "versions", href, "aria-label": `${label}: ${id}`, title: label }, versions)
  );
};

/** @param {Rest.Image | undefined} image `undefined` before it has been loaded
 * @param {{collection: string, side: number, density: string, selected: boolean}} options */
export function createTile(image, { collection, side, density, selected }) {
  const id = image?.id ?? "";
  const tile = h(
    "li",
    { class: "tile", "data-id": id },
    image && [
      h(
        "button",
        { type: "button", class: "picture", "aria-label": t("image.show", { id }), title: id },
        thumbnail(image),
      ),
      versionsLink(image, collection),
      h("input", { type: "checkbox", class: "pick", "aria-label": t("image.select", { id }), checked: selected }),
      density !== "small" &&
        h(
          "div",
          { class: "caption" },
          h("span", { class: "id" }, fileName(id)),
          action("info", "details", t("image.details", { id })),
          mayWrite() && action("trash", "remove", t("remove.image", { id }), removalNote([image])),
        ),
    ],
  );
  tile.style.setProperty("--side", `${side}px`);
  return tile;
}

/** @param {string} name @param {string} what @param {string} label @param {string} [title] */
const action = (name, what, label, title = label) =>
  button(name, label, () => {}, { quiet: true, class: "plain", "data-do": what, title });

/** What the file says about an image: property -> its name.
 * @type {Record<string, import("./texts.js").Key>} */
const FILE_PROPERTIES = {
  "exif.taken": "file.taken",
  "exif.camera": "file.camera",
  "exif.lens": "file.lens",
  "exif.latitude": "file.latitude",
  "exif.longitude": "file.longitude",
  "exif.altitude": "file.altitude",
  "iptc.title": "file.title",
  "iptc.caption": "file.caption",
  "iptc.keywords": "file.keywords",
  "iptc.creator": "file.creator",
  "iptc.copyright": "file.copyright",
  "iptc.city": "file.city",
  "iptc.country": "file.country",
  "live.video": "file.video",
  "xmp.rating": "file.rating",
};

/** @param {string} name @param {unknown} value @returns {string} */
function valueText(name, value) {
  if (value === undefined || value === null) return "";
  if (name === "exif.taken") return localTime(String(value));
  if (name === "xmp.rating") return groupLabel("rating", String(value));
  return Array.isArray(value) ? value.join(", ") : String(value);
}

/** @param {Rest.Image} image @returns {[string, import("./dom.js").Child][]} */
const ofFile = (image) =>
  Object.entries(FILE_PROPERTIES).map(([name, key]) => {
    const [namespace, property] = name.split(".");
    return [t(key), valueText(name, image.file_metadata[namespace]?.[property])];
  });

/** What is stored about an image: names and values.
 * @param {Rest.Image} image @returns {HTMLElement} */
export function properties(image) {
  const rows = /** @type {[string, import("./dom.js").Child][]} */ ([
    [t("image.id"), image.id],
    [t("image.dimensions"), dimensions(image)],
    [t("image.size"), `${bytes(image.size_bytes)}, ${image.format}`],
    [t("image.added"), dateTime(image.added_at)],
    ...ofFile(image),
    [t("image.source"), image.uri && h("a", { href: image.uri, rel: "noreferrer", target: "_blank" }, image.uri)],
    [t("image.sha256"), h("code", {}, image.sha256)],
    ...Object.entries(image.metadata).map(([name, value]) => [
      name,
      typeof value === "string" ? value : JSON.stringify(value),
    ]),
  ]);
  return h(
    "dl",
    {},
    rows.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );
}

/** A dialog with everything the collection stores about an image.
 * @param {Rest.Image} image @param {string} collection @param {() => void} onremove */
export async function showDetails(image, collection, onremove) {
  const original = image.content && resolve(image.content);
  const note = filesNote([image]);
  const chosen = await openDialog(
    fileName(image.id),
    /** @param {(choice?: "remove") => void} close */
    (close) => [
      h("div", { class: "detail" }, previewElement(image, image.id, { loading: "eager" })),
      properties(image),
      fileActions(image, collection),
      mayWrite() && note && h("p", { class: "small" }, t("remove.if-removed", { note })),
      h(
        "div",
        { class: "row end" },
        mayWrite() && button("trash", t("remove.action"), () => close("remove"), { title: removalNote([image]) }),
        original &&
          h("a", { href: original, target: "_blank", rel: "noopener", class: "button" }, t("image.open-original")),
        h(
          "a",
          { href: link("similar", collection, { id: image.id }), class: "button", onclick: () => close() },
          t("similar.action"),
        ),
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
