/** What the search view shows instead of results: the progress of a search, or images to start with. */

import { button, h } from "./dom.js";
import { thumbnail } from "./images.js";
import { link } from "./route.js";
import { session } from "./session.js";
import { t } from "./texts.js";

/** @param {AbortController} control cancels the search @param {number} images */
export function progressBox(control, images) {
  const since = Date.now();
  const clock = h("span", { "aria-hidden": "true" });
  const timer = setInterval(() => {
    if (!clock.isConnected) clearInterval(timer);
    else clock.textContent = `${Math.floor((Date.now() - since) / 1000)} s`;
  }, 500);
  return h(
    "div",
    { class: "progress", "aria-busy": "true" },
    h("p", { role: "status" }, t("search.searching", { count: images }), " ", clock),
    h("progress", { "aria-label": t("search.progress") }),
    button("close", t("page.cancel"), () => control.abort()),
  );
}

/** Some stored images to search by.
 * @param {Rest.Image[]} images @param {number} total */
export const samplesBox = (images, total) => [
  h("h2", {}, t("search.samples")),
  h(
    "ul",
    { class: "samples" },
    images.map((image) =>
      h(
        "li",
        {},
        h(
          "a",
          { href: link("search", session.collection, { id: image.id }) },
          thumbnail(image, t("image.search-by", { id: image.id })),
        ),
      ),
    ),
  ),
  h("p", {}, h("a", { href: link("library", session.collection) }, t("search.all-images", { count: total }))),
];
