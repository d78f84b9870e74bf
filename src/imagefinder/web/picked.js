/** The images that the user has selected, and what can be done with them. */

import { collectionPath, post, send } from "./api.js";
import { announce, button, h, openDialog, problemBox, put, textInput, toast } from "./dom.js";
import { loadGroups } from "./listing.js";
import { mayWrite } from "./session.js";
import { t } from "./texts.js";

/** The server takes as many ids in one request. */
export const MOST = 10_000;

/** Requests tags to add and to remove.
 * @param {string} collection @param {string[]} ids */
async function tag(collection, ids) {
  const known = await loadGroups(collection, {}, "tag").catch(() => []);
  const list = h(
    "datalist",
    { id: "known-tags" },
    known.map(({ value }) => h("option", { value })),
  );
  /** @param {HTMLInputElement} input */
  const words = (input) =>
    input.value
      .split(",")
      .map((word) => word.trim())
      .filter(Boolean);
  return openDialog(
    t("tag.title", { count: ids.length }),
    /** @param {(changed: boolean) => void} close */
    (close) => {
      const add = textInput({ list: "known-tags", autofocus: true, maxlength: 1000 });
      const remove = textInput({ list: "known-tags", maxlength: 1000 });
      const problem = h("div", {});
      const form = h(
        "form",
        { class: "stack" },
        list,
        h("label", {}, t("tag.add"), add),
        h("label", {}, t("tag.remove"), remove),
        h("p", { class: "small" }, t("tag.commas")),
        problem,
        h("div", { class: "row end" }, h("button", { class: "primary" }, t("tag.apply"))),
      );
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        try {
          const body = { ids, add: words(add), remove: words(remove) };
          /** @type {Rest.ChangedImages} */
          const { images } = await post(collectionPath(collection, "/tags"), body);
          toast(t("tag.done", { count: images }));
          close(true);
        } catch (error) {
          put(problem, problemBox(error));
        }
      });
      return form;
    },
  );
}

/** Saves a list of images as a file.
 * @param {string} collection @param {string[]} ids @param {"csv" | "json"} format */
async function exportList(collection, ids, format) {
  try {
    const response = await send(collectionPath(collection, "/exports"), {
      method: "POST",
      body: JSON.stringify({ ids, format }),
      headers: { "Content-Type": "application/json" },
    });
    const href = URL.createObjectURL(await response.blob());
    h("a", { href, download: `${collection}.${format}` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
  } catch (error) {
    const { message } = error instanceof Error ? error : { message: String(error) };
    toast(message, { kind: "bad", seconds: 15 });
  }
}

/** Requests a format, and saves a list of images.
 * @param {string} collection @param {string[]} ids */
async function exportImages(collection, ids) {
  const format = await openDialog(
    t("export.title", { count: ids.length }),
    /** @param {(format: "csv" | "json") => void} close */
    (close) => [
      h("p", {}, t("export.text")),
      h(
        "div",
        { class: "row end" },
        button(null, "JSON", () => close("json")),
        button(null, "CSV", () => close("csv"), { class: "primary" }),
      ),
    ],
  );
  if (format) await exportList(collection, ids, format);
}

/** @param {import("./texts.js").Key} key the label is hidden in narrow windows */
const titled = (key) => ({ title: t(key) });

/** The selection of a view, with a bar of actions that is shown while something is selected.
 * @param {string} collection
 * @param {object} handlers
 * @param {() => void} handlers.onchange the selection has changed
 * @param {() => void} handlers.onedit metadata of images have changed
 * @param {() => unknown} handlers.onall selects all images
 * @param {(images: Rest.Image[]) => void} handlers.onremove */
export function createSelection(collection, { onchange, onedit, onall, onremove }) {
  /** @type {Map<string, Rest.Image>} */
  const images = new Map();
  const number = h("span", { class: "number" });
  const bar = h(
    "section",
    { class: "selection", "aria-label": t("selection.label"), hidden: true },
    number,
    button("check", t("selection.all"), () => onall(), titled("selection.all")),
    mayWrite() &&
      button(
        "plus",
        t("tag.action"),
        async () => {
          if (await tag(collection, [...images.keys()])) onedit();
        },
        titled("tag.action"),
      ),
    button(
      "share",
      t("export.action"),
      () => exportImages(collection, [...images.keys()]),
      titled("export.action"),
    ),
    mayWrite() &&
      button(
        "trash",
        t("remove.action"),
        () => {
          const chosen = [...images.values()];
          clear();
          onremove(chosen);
        },
        titled("remove.action"),
      ),
    button("close", t("selection.clear"), () => clear(), { quiet: true, class: "plain" }),
  );

  function changed() {
    bar.hidden = !images.size;
    number.textContent = t("selection.count", { count: images.size });
    announce(number.textContent);
    onchange();
  }

  function clear() {
    images.clear();
    changed();
  }

  return {
    bar,
    has: (/** @type {string} */ id) => images.has(id),
    size: () => images.size,
    clear,
    /** Selects images, or the opposite; up to the most that one request takes.
     * @param {Rest.Image[]} changing @param {boolean} [on] */
    set(changing, on = true) {
      for (const image of changing) {
        if (!on) images.delete(image.id);
        else if (images.size < MOST) images.set(image.id, image);
      }
      if (images.size === MOST) toast(t("selection.most", { count: MOST }));
      changed();
    },
  };
}
