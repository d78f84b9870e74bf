/** The collection view: browse, filter, add and remove images. */

import { collectionPath, get, queryString, send } from "./api.js";
import { announce, button, h, openDialog, problemBox, put, textInput, toast } from "./dom.js";
import { checkFilter, filterInput, parseFilter } from "./filter.js";
import { bytes, dateTime } from "./format.js";
import { arrangementOf, createArrange } from "./arrange.js";
import { createFacets, restrictions } from "./facets.js";
import { createGrid } from "./grid.js";
import { createSelection } from "./picked.js";
import { remove } from "./remove.js";
import { changed, go, link, parse } from "./route.js";
import { acceptedFiles, collectionInfo, loadSession, mayWrite, session } from "./session.js";
import { t } from "./texts.js";
import { showDetails } from "./tile.js";
import { chosenFiles, createUploads, droppedFiles } from "./upload.js";

/** @typedef {import("./upload.js").Named} Named */
/** @typedef {ReturnType<typeof createUploads>} Uploads */

const TYPING_MS = 350;
const FAILURES = 100;

/** Upload queues continue while other views are open: collection -> queue.
 * @type {Map<string, Uploads>} */
const queues = new Map();

/** Refreshes the open view after uploads; set while a view is open.
 * @type {Map<string, () => void>} */
const refreshers = new Map();

/** @param {string} collection */
function uploadsOf(collection) {
  const queue = queues.get(collection) ?? createUploads(collection, () => refreshers.get(collection)?.());
  queues.set(collection, queue);
  return queue;
}

/** @param {string} collection @param {Element} into */
async function showFailures(collection, into) {
  const list = h("ul", { class: "failures", role: "list" });
  const more = h("div", {});
  put(into, list, more);
  /** @param {string | null} cursor */
  const load = async (cursor) => {
    put(more);
    /** @type {Rest.FailurePage} */
    const page = await get(collectionPath(collection, `/failures${queryString({ limit: FAILURES, cursor })}`));
    list.append(
      ...page.failures.map((failure) =>
        h(
          "li",
          {},
          h("p", { class: "id" }, failure.id || failure.uri),
          h("p", {}, failure.message),
          h(
            "p",
            { class: "small" },
            `${failure.code} · ${t("count.attempts", { count: failure.attempts })} · ${dateTime(failure.at)}`,
          ),
        ),
      ),
    );
    const { next_cursor: next } = page;
    if (next)
      put(
        more,
        button(null, t("page.load-more"), () => load(next)),
      );
    if (!list.children.length) put(into, h("p", { class: "quiet" }, t("collection.no-failures")));
  };
  await load(null);
}

/** Deletes a collection after the user has typed its name.
 * @param {Rest.CollectionInfo} info */
async function deleteCollection({ name, images }) {
  const deleted = await openDialog(
    t("delete.title", { name }),
    /** @param {(deleted: boolean) => void} close */
    (close) => {
      const input = textInput({ required: true, spellcheck: "false", autofocus: true });
      const problem = h("div", {});
      const form = h(
        "form",
        { class: "stack" },
        h("p", {}, t("delete.text", { count: images })),
        h("label", {}, t("delete.confirm"), input),
        problem,
        h("div", { class: "row end" }, h("button", { class: "danger" }, t("delete.action"))),
      );
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        try {
          await send(collectionPath(name, queryString({ confirm: input.value.trim() })), { method: "DELETE" });
          close(true);
        } catch (error) {
          put(problem, problemBox(error));
        }
      });
      return form;
    },
  );
  if (!deleted) return;
  queues.delete(name);
  session.collection = session.info.default_collection;
  await loadSession();
  go(link("library", session.collection));
  toast(t("delete.done", { name }));
}

/** The form that filters the images; its values are part of the route. */
function createFilters() {
  const contains = textInput({
    type: "search",
    placeholder: t("filter.contains"),
    "aria-label": t("filter.contains"),
  });
  const filter = filterInput({ placeholder: t("filter.metadata-example"), "aria-label": t("filter.metadata") });
  const element = h(
    "form",
    { class: "row filters", role: "search" },
    contains,
    filter,
    h("button", {}, t("filter.apply")),
  );
  let timer = 0;
  const apply = () => {
    clearTimeout(timer);
    if (!checkFilter(filter)) return;
    const values = { contains: contains.value.trim(), filter: filter.value.trim(), show: null };
    go(changed(parse(), values), { replace: true });
  };
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
  });
  contains.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(apply, TYPING_MS);
  });
  return {
    element,
    /** Shows the route's values, except where the user is typing.
     * @param {URLSearchParams} params */
    update(params) {
      if (document.activeElement !== contains) contains.value = params.get("contains") ?? "";
      if (document.activeElement !== filter) filter.value = params.get("filter") ?? "";
    },
    close: () => clearTimeout(timer),
  };
}

/** @param {(files: Named[]) => void} onfiles @param {import("./dom.js").Properties} properties */
function fileInput(onfiles, properties) {
  const hidden = { class: "hidden", tabindex: "-1", "aria-hidden": "true" };
  const input = h("input", { type: "file", multiple: true, ...hidden, ...properties });
  input.addEventListener("change", () => {
    onfiles(chosenFiles(input));
    input.value = "";
  });
  return input;
}

/** @param {import("./listing.js").Query} query */
const restricts = (query) => Object.values(query).some((value) => (Array.isArray(value) ? value.length : value));

/** @param {HTMLElement} main @returns {import("./app.js").View} */
export function openLibrary(main) {
  const { collection } = session;
  const isDefault = collection === session.info.default_collection;
  const heading = h("h1", { tabindex: "-1" }, isDefault ? t("view.collection") : collection);
  const sub = h("p", { class: "sub" });
  const actions = h("div", { class: "row" });
  const content = h("div", {});
  const uploads = uploadsOf(collection);
  const filters = createFilters();
  const facets = createFacets(collection);
  const arrange = createArrange(
    (position) => state.grid?.goTo(position, { focus: true }),
    () => refresh(),
  );
  const selection = createSelection(collection, {
    onchange: () => state.grid?.mark(),
    onedit: () => reload(),
    onall: () => state.grid?.selectAll(),
    onremove: drop,
  });
  const files = fileInput(add, { accept: acceptedFiles(), "data-pick": "files" });
  const folder = fileInput(add, { webkitdirectory: true, "data-pick": "folder" });
  const state = {
    /** @type {ReturnType<typeof createGrid> | null} */
    grid: null,
    /** @type {string | null} what the content shows */
    shown: null,
    /** @type {Rest.CollectionInfo | null} */
    info: null,
    hidden: 0,
    announced: -1,
  };
  put(
    main,
    h(
      "div",
      { class: "library" },
      h("header", { class: "view-header" }, h("div", {}, heading, sub), actions),
      files,
      folder,
      uploads.element,
      filters.element,
      facets.element,
      arrange.element,
      content,
      selection.bar,
    ),
  );
  refreshers.set(collection, refresh);

  /** @param {Named[]} named */
  function add(named) {
    if (uploads.add(named)) uploads.element.scrollIntoView({ block: "nearest" });
    else toast(t("collection.no-images-found"));
  }

  function renderCounts() {
    const { info } = state;
    if (!info) return;
    const images = info.images - state.hidden;
    const methods = info.methods.map((method) => method.name).join(", ");
    sub.textContent = [t("count.images", { count: images }), bytes(info.bytes), methods]
      .filter(Boolean)
      .join(" · ");
  }

  /** @param {import("./route.js").Route} route */
  async function renderHeader(route) {
    const info = (state.info = await collectionInfo(collection));
    renderCounts();
    const show = route.params.get("show");
    const href = changed(route, { show: show ? null : "failures" });
    const failures = show ? t("collection.back") : t("count.failures", { count: info.failures });
    put(
      actions,
      mayWrite() && button("upload", t("collection.add-images"), () => files.click(), { class: "primary" }),
      mayWrite() && button("folder", t("collection.add-folder"), () => folder.click()),
      (info.failures > 0 || show) && h("a", { class: "button", href }, failures),
      mayWrite() &&
        !isDefault &&
        button("trash", t("delete.label"), () => deleteCollection(info), { quiet: true }),
    );
  }

  /** Removes images, unless the user undoes it.
   * @param {Rest.Image[]} images */
  function drop(images) {
    const ids = images.map((image) => image.id);
    remove(collection, images, () => state.grid?.hide([]), reload);
    state.grid?.hide(ids);
  }

  /** Images have changed on the server. */
  async function reload() {
    facets.refresh();
    state.info = await collectionInfo(collection);
    await state.grid?.refresh();
    renderCounts();
  }

  /** @param {import("./listing.js").Query} query @param {import("./grid.js").Arrangement} arrangement */
  function showImages(query, arrangement) {
    const filtered = restricts(query);
    const quiet = h("div", { class: "quiet" });
    // A filter could reject the one version that stands for the others.
    const { folder: _, ...others } = query;
    const collapsed = !restricts(others);
    const grid = createGrid(collection, { ...query, collapsed }, arrangement, {
      selection,
      oncount: (number, hidden) => {
        state.hidden = hidden;
        renderCounts();
        arrange.offer(arrangement.group, grid.headings());
        if (filtered && number !== state.announced) announce(t("count.images", { count: number }));
        state.announced = number;
        const empty = filtered ? t("collection.none-pass") : t("collection.empty");
        const hint = !filtered && mayWrite() && h("p", {}, t("collection.drop-here"));
        quiet.hidden = number > 0;
        put(quiet, h("p", {}, empty), hint);
      },
      onopen: async (position) =>
        (await import("./lightbox.js")).openLightbox(collection, position, {
          count: grid.count,
          image: grid.image,
          onremove: (image) => drop([image]),
          onclose: (last) => grid.goTo(last, { focus: true }),
        }),
      ondetails: (image) => showDetails(image, collection, () => drop([image])),
      onremove: drop,
    });
    state.grid = grid;
    quiet.hidden = true;
    put(content, quiet, grid.element);
    grid.refresh();
  }

  /** @param {import("./route.js").Route} route */
  async function update(route) {
    await renderHeader(route);
    const { params } = route;
    filters.update(params);
    const filter = parseFilter(params.get("filter") ?? "");
    const arrangement = arrangementOf(params);
    const query = {
      ...restrictions(params),
      contains: params.get("contains"),
      filter: filter && JSON.stringify(filter),
    };
    const shown = JSON.stringify([query, arrangement, params.get("show")]);
    if (state.shown === shown) return;
    state.shown = shown;
    state.grid?.close();
    state.grid = null;
    const failures = params.get("show") === "failures";
    for (const each of [filters.element, facets.element, arrange.element]) each.hidden = failures;
    if (failures) return showFailures(collection, content);
    facets.update(params, query);
    arrange.update(arrangement);
    showImages(query, arrangement);
  }

  function refresh() {
    facets.refresh();
    state.shown = null;
    return update(parse());
  }

  return {
    update,
    close() {
      refreshers.delete(collection);
      filters.close();
      state.grid?.close();
    },
    async drop(transfer) {
      if (mayWrite()) add(await droppedFiles(transfer));
      else toast(t("collection.read-only"));
    },
  };
}
