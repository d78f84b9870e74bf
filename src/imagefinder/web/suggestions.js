/** What a classifier suggests that an image shows. */

import { get, imagePath } from "./api.js";
import { h, put } from "./dom.js";
import { percent } from "./format.js";
import { session } from "./session.js";
import { t } from "./texts.js";

/** A line with the labels of a stored image; empty until they have loaded, and without any.
 * @param {string} id @param {AbortSignal} signal */
export function labelLine(id, signal) {
  const line = h("p", { class: "small", title: t("words.labels-title") });
  load();
  return line;

  async function load() {
    if (!session.methods.some((each) => each.words)) return;
    try {
      /** @type {Rest.Image} */
      const { labels } = await get(imagePath(session.collection, id, { labels: "true" }), { signal });
      const names = labels.map(({ name, probability }) => `${name} (${percent(probability)})`);
      if (names.length) put(line, t("words.labels", { labels: names.join(", ") }));
    } catch {
      // A failure to suggest words is not shown.
    }
  }
}
