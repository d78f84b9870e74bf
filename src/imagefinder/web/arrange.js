/** How the collection view arranges images: order, headings, size of tiles, and jumps to a heading. */

import { h, put } from "./dom.js";
import { changed, go, parse } from "./route.js";
import { t } from "./texts.js";
import { groupLabel } from "./tile.js";

/** @typedef {import("./grid.js").Arrangement} Arrangement */

const STORAGE = "imagefinder.density";
/** @type {Arrangement["density"][]} */
const DENSITIES = ["small", "medium", "large"];
/** Choice -> property to sort by, and whether the largest comes first. @type {Record<string, [string, boolean]>} */
const ORDERS = {
  newest: ["taken", true],
  oldest: ["taken", false],
  name: ["name", false],
  added: ["added", true],
  largest: ["size", true],
  smallest: ["size", false],
  folder: ["folder", false],
};
/** @type {Record<string, import("./texts.js").Key>} */
const LABELS = {
  newest: "arrange.newest",
  oldest: "arrange.oldest",
  name: "arrange.name",
  added: "arrange.added",
  largest: "arrange.largest",
  smallest: "arrange.smallest",
  month: "arrange.by-month",
  day: "arrange.by-day",
  folder: "arrange.by-folder",
  none: "arrange.by-none",
  small: "arrange.small",
  medium: "arrange.medium",
  large: "arrange.large",
};
const GROUPS = ["month", "day", "folder", "none"];

/** The arrangement in a route; by default months, the newest first.
 * @param {URLSearchParams} params @returns {Arrangement} */
export function arrangementOf(params) {
  const chosen = params.get("group") ?? "month";
  const order = chosen === "folder" ? "folder" : (params.get("sort") ?? "newest");
  const [sort, descending] = ORDERS[order] ?? ORDERS.newest;
  const dated = chosen === "day" || chosen === "month";
  const group = dated && sort !== "taken" ? "none" : GROUPS.includes(chosen) ? chosen : "month";
  const stored = /** @type {Arrangement["density"]} */ (localStorage.getItem(STORAGE) ?? "medium");
  return { sort, descending, group, density: DENSITIES.includes(stored) ? stored : "medium" };
}

/** @param {string} label @param {[string, string][]} options @param {(value: string) => void} onchoose */
function chooser(label, options, onchoose) {
  const select = h(
    "select",
    { "aria-label": label, title: label },
    options.map(([value, text]) => h("option", { value }, text)),
  );
  select.addEventListener("change", () => onchoose(select.value));
  return select;
}

/** @param {(position: number) => void} onjump @param {() => void} ondensity */
export function createArrange(onjump, ondensity) {
  const sort = chooser(
    t("arrange.sort"),
    Object.keys(ORDERS)
      .filter((name) => name !== "folder")
      .map((name) => [name, t(LABELS[name])]),
    (value) => {
      const dated = ORDERS[value][0] === "taken";
      const { group } = arrangementOf(parse().params);
      const kept = dated && group === "day" ? "day" : dated ? null : "none";
      go(changed(parse(), { sort: value === "newest" ? null : value, group: kept }), { replace: true });
    },
  );
  const group = chooser(
    t("arrange.group"),
    GROUPS.map((name) => [name, t(LABELS[name])]),
    (value) => {
      const dated = value === "day" || value === "month";
      const { sort: now } = arrangementOf(parse().params);
      const values = {
        group: value === "month" ? null : value,
        ...(dated && now !== "taken" ? { sort: null } : {}),
      };
      go(changed(parse(), values), { replace: true });
    },
  );
  const density = chooser(
    t("arrange.density"),
    DENSITIES.map((name) => [name, t(LABELS[name])]),
    (value) => {
      localStorage.setItem(STORAGE, value);
      ondensity();
    },
  );
  const jump = chooser(t("arrange.jump"), [], (value) => {
    onjump(Number(value));
    jump.value = "";
  });
  return {
    element: h("div", { class: "row arrange" }, sort, group, density, jump),
    /** @param {Arrangement} arrangement */
    update(arrangement) {
      const order = Object.entries(ORDERS).find(
        ([, [by, descending]]) => by === arrangement.sort && descending === arrangement.descending,
      );
      sort.value = arrangement.group === "folder" ? "name" : (order?.[0] ?? "newest");
      sort.disabled = arrangement.group === "folder";
      group.value = arrangement.group;
      density.value = arrangement.density;
    },
    /** Offers a jump to each heading; of days, to the first one of each month.
     * @param {string} by @param {{value: string, first: number}[]} headings */
    offer(by, headings) {
      const months = by === "day" || by === "month";
      const seen = new Map();
      for (const { value, first } of headings) {
        const name = months ? value.slice(0, 7) : value;
        if (!seen.has(name)) seen.set(name, first);
      }
      jump.hidden = by === "none" || seen.size < 2;
      put(
        jump,
        h("option", { value: "" }, t("arrange.jump")),
        [...seen].map(([name, first]) => h("option", { value: first }, groupLabel(months ? "month" : by, name))),
      );
    },
  };
}
