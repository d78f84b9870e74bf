/** The view of similar images: an endless grid in the order of one method's score, without decisions. */

import { collectionPath, get, imagePath, queryString } from "./api.js";
import { announce, button, h, icon, isAbort, problemBox, put } from "./dom.js";
import { fileName, number } from "./format.js";
import { imageElement, thumbnail } from "./images.js";
import { changed, go, link, parse } from "./route.js";
import { collectionInfo, methodStatus, session } from "./session.js";
import { t } from "./texts.js";

const PAGE_SIZE = 60;
const NEAR = "1500px";
/** @type {Record<string, (columns: number) => number>} */
const STEPS = {
  ArrowLeft: () => -1,
  ArrowRight: () => 1,
  ArrowUp: (columns) => -columns,
  ArrowDown: (columns) => columns,
};

/** Moves the focus between the tiles of a grid with the arrow keys.
 * @param {KeyboardEvent} event @param {HTMLElement} grid */
export function moveByArrows(event, grid) {
  const step = STEPS[event.key];
  if (!step || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  const tiles = [...grid.children].filter((tile) => tile instanceof HTMLElement);
  const current = tiles.findIndex((tile) => tile.contains(document.activeElement));
  if (current < 0) return;
  const next = tiles.findIndex((tile) => tile.offsetTop > tiles[0].offsetTop);
  const target = tiles[current + step(next < 0 ? tiles.length : next)];
  target?.querySelector("a")?.focus();
  event.preventDefault();
}

/** @param {Pick<Rest.SimilarImage, "image" | "score">} similar @param {string} collection */
export function tile({ image, score }, collection) {
  const { id } = image;
  return h(
    "li",
    { "data-id": id },
    h(
      "a",
      { href: link("similar", collection, { id }), "aria-label": t("similar.to", { id }), title: id },
      thumbnail(image),
    ),
    h(
      "div",
      { class: "caption" },
      h("span", { class: "id", title: t("columns.score", { score: number(score) }) }, fileName(id)),
      h(
        "a",
        {
          href: link("search", collection, { id }),
          "aria-label": t("image.search-by", { id }),
          title: t("image.search-by-this"),
          class: "icon-link",
        },
        icon("search"),
      ),
    ),
  );
}

/** @param {HTMLElement} main @returns {Promise<import("./app.js").View>} */
export async function openSimilar(main) {
  const { collection } = session;
  const info = await collectionInfo(collection);
  const sub = h("p", { class: "sub", role: "status" });
  const query = h("div", { class: "similar-query" });
  const tools = h("div", { class: "row" });
  const grid = h("ul", { class: "dense", role: "list" });
  grid.addEventListener("keydown", (event) => moveByArrows(event, grid));
  const end = h("div", { class: "row middle" });
  let control = new AbortController();
  /** @type {string | null | undefined} the next page's cursor; `undefined` while a page loads */
  let next;

  put(
    main,
    h(
      "div",
      { class: "similar" },
      h(
        "header",
        { class: "view-header" },
        query,
        h("div", { class: "grow" }, h("h1", { tabindex: "-1" }, t("similar.title")), sub),
        tools,
      ),
      grid,
      end,
    ),
  );
  const near = new IntersectionObserver(
    ([{ isIntersecting }]) => {
      if (isIntersecting && typeof next === "string") load(next);
    },
    { rootMargin: `${NEAR} 0px` },
  );
  near.observe(end);

  /** @param {string | null} cursor @returns {string} */
  function path(cursor) {
    const { params } = parse();
    const values = { method: params.get("method"), limit: PAGE_SIZE, cursor };
    const handle = params.get("of");
    if (handle) return `v1/explanations/${encodeURIComponent(handle)}/similar${queryString(values)}`;
    return collectionPath(collection, `/similar${queryString({ id: params.get("id"), ...values })}`);
  }

  /** @param {string | null} cursor */
  async function load(cursor) {
    next = undefined;
    const { signal } = control;
    put(end, h("p", { class: "wait" }, t("page.loading")));
    try {
      /** @type {Rest.SimilarPage} */
      const page = await get(path(cursor), { signal });
      grid.append(...page.images.map((each) => tile(each, collection)));
      if (cursor === null) {
        sub.textContent = t("similar.order", { method: page.method });
        if (!page.images.length) return put(end, h("p", { class: "quiet" }, t("similar.none")));
        announce(t("similar.title"));
      }
      next = page.next_cursor;
      put(end, next === null && h("p", { class: "quiet" }, t("similar.end", { count: grid.children.length })));
      // The observer reports changes, and when it starts: the end may still be near.
      near.unobserve(end);
      near.observe(end);
    } catch (error) {
      if (!isAbort(error))
        put(
          end,
          problemBox(error, () => load(cursor)),
        );
    }
  }

  function methodSelect() {
    const { params } = parse();
    const select = h(
      "select",
      {},
      h("option", { value: "" }, t("mode.auto")),
      info.methods.map(({ name }) => h("option", { value: name, disabled: !methodStatus(name)?.ready }, name)),
    );
    select.value = params.get("method") ?? "";
    select.addEventListener("change", () => go(changed(parse(), { method: select.value }), { replace: true }));
    return h("label", { class: "inline" }, t("options.method"), select);
  }

  /** @param {URLSearchParams} params */
  async function renderQuery(params) {
    const [id, handle] = [params.get("id"), params.get("of")];
    put(query, imageElement(handle ? `v1/explanations/${handle}/query?width=200` : null, t("query.image")));
    const search = handle ? `#/r/${encodeURIComponent(handle)}` : link("search", collection, { id });
    put(
      tools,
      info.methods.length > 1 && methodSelect(),
      button("search", handle ? t("similar.back") : t("image.search-by-this"), () => go(search)),
    );
    if (!id) return;
    /** @type {Rest.Image} */
    const image = await get(imagePath(collection, id), { signal: control.signal });
    put(query, thumbnail(image, id));
  }

  return {
    /** @param {import("./route.js").Route} route */
    async update({ params }) {
      control.abort();
      control = new AbortController();
      put(grid);
      scrollTo(0, 0);
      try {
        await renderQuery(params);
      } catch (error) {
        if (!isAbort(error)) put(end, problemBox(error, null));
        return;
      }
      await load(null);
    },
    close() {
      control.abort();
      near.disconnect();
    },
  };
}
