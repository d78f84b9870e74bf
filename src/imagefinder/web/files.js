/** Buttons for the file of a stored image: its path, and downloading it. */

import { collectionPath, get, getKey, queryString, resolve, send } from "./api.js";
import { button, errorText, h, put, toast } from "./dom.js";
import { fileName } from "./format.js";
import { session } from "./session.js";
import { t } from "./texts.js";

/** @param {Rest.Image} image */
async function download({ id, content }) {
  try {
    // A link sends no API key.
    const url = getKey() ? URL.createObjectURL(await (await send(content ?? "")).blob()) : resolve(content ?? "");
    h("a", { href: url, download: fileName(id) }).click();
    if (url.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(url), 10_000);
  } catch (error) {
    toast(errorText(error).message, { kind: "bad" });
  }
}

/** @param {string} path */
async function copy(path) {
  try {
    await navigator.clipboard.writeText(path);
    toast(t("file.path-copied"));
  } catch {
    toast(t("file.copy-blocked"));
  }
}

/** The path of an image's file and buttons for it; the path only if the server is on this machine.
 * @param {Rest.Image} image @param {string} collection */
export function fileActions(image, collection) {
  const place = h("p", { class: "small path" });
  const row = h("div", { class: "row" });
  const element = h("div", { class: "file" }, place, row);
  /** @param {string | null} path */
  const render = (path) => {
    put(place, path && h("code", {}, path));
    put(
      row,
      path && button("link", t("file.copy-path"), () => copy(path)),
      image.content && button("download", t("file.download"), () => download(image)),
    );
  };
  render(null);
  if (session.info.shows_locations && image.content) {
    get(collectionPath(collection, `/location${queryString({ id: image.id })}`)).then(
      (/** @type {Rest.ImageLocation} */ { path }) => render(path),
      () => {}, // without the path, the other button remains
    );
  }
  return element;
}
