/** The dialog that lists the keys of the page. */

import { h, openDialog } from "./dom.js";
import { t } from "./texts.js";

/** Keys as they are printed on a keyboard, and what they do.
 * @typedef {[keys: string[], action: string]} Row */

/** @returns {[title: string, rows: Row[]][]} */
const groups = () => [
  [
    t("keys.everywhere"),
    [
      [["?"], t("keys.show")],
      [[t("keys.key-paste"), "⌘V"], t("keys.paste")],
      [[t("keys.key-tab")], t("keys.tab")],
      [[t("keys.key-escape")], t("keys.escape")],
    ],
  ],
  [
    t("keys.region"),
    [
      [["←", "→", "↑", "↓"], t("keys.region-move")],
      [[t("keys.shift-arrows")], t("keys.region-resize")],
      [[t("keys.key-enter")], t("keys.region-search")],
      [[t("keys.key-delete")], t("keys.region-delete")],
    ],
  ],
  [
    t("view.collection"),
    [
      [["←", "→", "↑", "↓"], t("keys.grid-move")],
      [[t("keys.key-enter")], t("keys.grid-open")],
      [[t("keys.key-space")], t("keys.grid-select")],
      [[t("keys.key-all"), "⌘A"], t("selection.all")],
      [[t("keys.key-delete")], t("remove.action")],
    ],
  ],
  [
    t("keys.lightbox"),
    [
      [["←", "→"], t("keys.lightbox-move")],
      [["S"], t("image.search-by-this")],
      [["M"], t("similar.action")],
      [["I"], t("lightbox.properties")],
      [[t("keys.key-delete")], t("remove.action")],
    ],
  ],
  [
    t("keys.inspector"),
    [
      [["←", "→"], t("keys.inspector-move")],
      [["+", "−", "0"], t("keys.inspector-zoom")],
      [[t("keys.shift-arrows")], t("keys.inspector-pan")],
    ],
  ],
];

export function showKeys() {
  if (document.querySelector(".keys")) return;
  openDialog(t("keys.title"), () =>
    h(
      "div",
      { class: "keys" },
      groups().map(([title, rows]) => [
        h("h3", {}, title),
        h(
          "dl",
          {},
          rows.map(([keys, action]) => [
            h(
              "dt",
              {},
              keys.map((key) => h("kbd", {}, key)),
            ),
            h("dd", {}, action),
          ]),
        ),
      ]),
    ),
  );
}
