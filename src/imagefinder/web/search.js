/** The search view: one query at a time, its results, and the results of earlier queries. */

import { Problem, collectionPath, get, queryString } from "./api.js";
import { announce, button, h, isAbort, problemBox, put, toast } from "./dom.js";
import { previewPath, thumbnail } from "./images.js";
import { createPanel } from "./panel.js";
import { queryOf } from "./query.js";
import { ALL_METHODS, defaultOptions, loadStoredImage, search } from "./request.js";
import { columnsView, relationOf, resultView } from "./results.js";
import { build, changed, go, link, parse } from "./route.js";
import { collectionInfo, session } from "./session.js";
import { t } from "./texts.js";

/** @typedef {import("./query.js").Query} Query */
/** @typedef {import("./route.js").Route} Route */

/** @typedef {object} SearchState
 * @property {Rest.CollectionInfo} info
 * @property {import("./request.js").Options} options
 * @property {Query | null} query
 * @property {import("./crop.js").Box | null} region of the query image
 * @property {Rest.SearchAnswer[] | null} results one for each method; `null` before the search has ended
 * @property {string | null} key the route of the results
 * @property {AbortController | null} running */

/** @typedef {Pick<SearchState, "options" | "query" | "region" | "results" | "key">} Saved */

const HISTORY_SIZE = 20;
const SAMPLES = 12;
const EXPIRED = {
  title: t("search.expired"),
  detail: t("search.expired.detail"),
  hint: t("search.expired.hint"),
};

/** Earlier results, so that back and forward send no requests: route -> results.
 * @type {Map<string, Saved>} */
const saved = new Map();

/** The route of a search, without the hit that is inspected.
 * @param {Route} route */
const keyOf = (route) => changed(route, { hit: null, of: null });

/** @param {Route} route */
const isSearch = (route) => Boolean(route.handles) || route.params.has("id") || route.params.has("url");

/** @param {string | null} text @returns {import("./crop.js").Box | null} */
function parseRegion(text) {
  const values = text?.split(",").map(Number) ?? [];
  if (values.length !== 4 || !values.every((value) => value >= 0 && value <= 1)) return null;
  const [left, top, width, height] = values;
  return [left, top, width, height];
}

/** Loads stored search results.
 * @param {string[]} handles
 * @returns {Promise<Rest.SearchAnswer[]>} */
async function loadResults(handles) {
  try {
    return await Promise.all(handles.map((handle) => get(`v1/explanations/${encodeURIComponent(handle)}`)));
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== "unknown_handle") throw error;
    throw new Problem({ ...EXPIRED, code: error.code, request_id: error.requestId });
  }
}

/** The query of stored search results.
 * @param {Rest.SearchAnswer} result @returns {Query} */
function storedQuery({ query: { id, width, height }, explanations }) {
  const handle = explanations?.handle ?? "";
  return {
    kind: id ? "id" : "handle",
    value: id ?? handle,
    size: [width, height],
    preview: `v1/explanations/${handle}/query`,
  };
}

/** @param {Rest.SearchAnswer} result
 * @param {Query | null} query if it is known
 * @returns {import("./inspector.js").Entry[]} */
function entriesOf(result, query) {
  const handle = result.explanations?.handle ?? "";
  const { width, height } = result.query;
  const base = `v1/explanations/${handle}`;
  const local = query?.kind === "file" ? query.preview : undefined;
  const path = query?.image ? previewPath(query.image) : (local ?? `${base}/query`);
  return result.hits.map((hit) => ({
    id: hit.id,
    hit,
    image: hit.image,
    relation: relationOf(hit),
    evidence: hit.evidence,
    query: { path, size: [width, height], image: query?.image },
    methods: Object.keys(result.fingerprints),
    explain: (method, signal) => get(`${base}/image${queryString({ id: hit.id, method })}`, { signal }),
    drawing: (method) => `${base}/drawing${queryString({ id: hit.id, method })}`,
  }));
}

/** @param {AbortController} control cancels the search @param {number} images */
function progressBox(control, images) {
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
const samplesBox = (images, total) => [
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

/** @param {HTMLElement} main @returns {Promise<import("./app.js").View>} */
export async function openSearch(main) {
  /** @type {SearchState} */
  const state = {
    info: await collectionInfo(session.collection),
    options: defaultOptions(),
    query: null,
    region: null,
    results: null,
    key: null,
    running: null,
  };
  /** @type {{result: Rest.SearchAnswer, to: (index: number) => void, close: () => void} | null} */
  let inspector = null;
  const panel = createPanel(state, { search: start, searchAgain });
  const output = h("section", { class: "results", "aria-label": t("search.results") });
  const root = h("div", { class: "search" }, panel.element, output);
  main.append(root);

  function save() {
    const { options, query, region, results, key } = state;
    if (!key) return;
    saved.set(key, { options: { ...options }, query, region, results, key });
    const [oldest] = saved.keys();
    if (saved.size > HISTORY_SIZE) saved.delete(oldest);
  }

  /** @param {Saved} entry */
  async function restore(entry) {
    cancel();
    Object.assign(state, entry);
    state.options = { ...entry.options };
    await useCollection(entry.results?.[0].collection ?? session.collection);
    render();
  }

  /** The collection of a result is not part of its route.
   * @param {string} collection */
  async function useCollection(collection) {
    if (collection === session.collection) return;
    session.collection = collection;
    state.info = await collectionInfo(collection);
  }

  function cancel() {
    state.running?.abort();
    state.running = null;
  }

  function clear() {
    cancel();
    Object.assign(state, { query: null, region: null, results: null, key: null });
  }

  function renderPanel() {
    root.classList.toggle("has-query", state.query !== null);
    panel.render();
  }

  async function renderSamples() {
    put(output);
    if (!state.info.images) return;
    /** @type {Rest.ImagePage} */
    const { images } = await get(collectionPath(session.collection, `/images?limit=${SAMPLES}`));
    if (!state.query) put(output, samplesBox(images, state.info.images));
  }

  async function render() {
    renderPanel();
    const { query, results } = state;
    if (!query || !results) return renderSamples();
    const route = parse();
    /** @type {import("./results.js").Links} */
    const links = {
      search: (id) => link("search", session.collection, { id }),
      inspect: ({ explanations }, hit) =>
        explanations && changed(route, { hit: hit.id, of: results.length > 1 ? explanations.handle : null }),
    };
    // A link to a stored image or a URL repeats the search; a link to an upload works while the server keeps it.
    const expires = query.kind === "file" || query.kind === "handle";
    if (results.length > 1) put(output, columnsView(results, links));
    else put(output, resultView(results[0], links, expires));
    announce(output.querySelector("h1")?.textContent ?? "");
  }

  /** Runs a search and shows its results.
   * @param {Query} query @param {string | null} key the route, if it is already shown */
  async function run(query, key) {
    cancel();
    const control = new AbortController();
    const { signal } = control;
    const region = state.query === query || key ? state.region : null;
    Object.assign(state, { query, region, results: null, key: null, running: control });
    const retry = () => run(query, key);
    renderPanel();
    put(output, progressBox(control, state.info.images));
    scrollTo(0, 0);
    try {
      if (query.kind === "id" && !query.image) {
        await loadStoredImage(query, signal);
        panel.updatePreview();
      }
      const { method } = state.options;
      const methods = method === ALL_METHODS ? state.info.methods.map((each) => each.name) : [method];
      const results = await search(query, state.options, { region, methods, signal });
      if (signal.aborted) return;
      finish(query, results, key);
    } catch (error) {
      const current = state.running === control;
      if (current) state.running = null;
      if (!current) return;
      if (isAbort(error)) {
        put(
          output,
          h(
            "div",
            { class: "quiet" },
            h("p", {}, t("search.cancelled")),
            button("again", t("search.again"), retry),
          ),
        );
      } else {
        announce(t("search.failed"));
        put(output, problemBox(error, retry, "h1"));
      }
    }
  }

  /** @param {Query} query @param {Rest.SearchAnswer[]} results @param {string | null} key */
  function finish(query, results, key) {
    query.size ??= [results[0].query.width, results[0].query.height];
    // A server that stores no results gives no handles; then there is nothing to link to.
    const handles = results.flatMap(({ explanations }) => explanations?.handle ?? []);
    const route = handles.length
      ? build({ view: "search", handles, params: new URLSearchParams() })
      : location.hash;
    Object.assign(state, { results, key: key ?? route, running: null });
    save();
    go(key ?? route);
    render();
  }

  /** Searches with another query, or again with other options. Stored images and URLs have routes.
   * @param {Query} query */
  function start(query) {
    if (query.kind === "file" && query !== state.query && query.file) {
      state.region = null;
      query.preview = URL.createObjectURL(query.file);
    }
    if (query.kind === "file" || query.kind === "handle") return void run(query, null);
    const { method, k, filter, mode } = state.options;
    const defaults = defaultOptions();
    const region = query === state.query ? state.region : null;
    const hash = link("search", session.collection, {
      [query.kind]: query.value,
      method: method === defaults.method ? null : method,
      k: k === defaults.k ? null : k,
      filter,
      mode,
      box: region?.map((value) => value.toFixed(4)).join(","),
    });
    if (hash === state.key) run(query, hash);
    else go(hash);
  }

  function searchAgain() {
    if (state.query) start(state.query);
  }

  /** Runs the search of a route.
   * @param {Route} route @param {string} key */
  function runRoute({ params }, key) {
    const defaults = defaultOptions();
    state.options = {
      method: params.get("method") ?? defaults.method,
      k: Number(params.get("k")) || defaults.k,
      filter: params.get("filter") ?? "",
      mode: params.get("mode") ?? "",
    };
    state.region = parseRegion(params.get("box"));
    const kind = params.has("id") ? "id" : "url";
    const value = params.get(kind) ?? "";
    const { query } = state;
    run(query?.kind === kind && query.value === value ? query : { kind, value }, key);
  }

  /** @param {string[]} handles @param {string} key */
  async function showStored(handles, key) {
    cancel();
    put(output, h("p", { class: "wait" }, t("page.loading")));
    const results = await loadResults(handles);
    const [first] = results;
    await useCollection(first.collection);
    const { width, height } = first.query;
    state.options.method = results.length > 1 ? ALL_METHODS : first.method;
    const [box] = first.boxes;
    state.region = box ? [box[0] / width, box[1] / height, box[2] / width, box[3] / height] : null;
    Object.assign(state, { query: storedQuery(first), results, key });
    save();
    render();
  }

  /** Opens, moves or closes the inspector, as the route says.
   * @param {Route} route */
  async function syncInspector({ params }) {
    const [id, handle] = [params.get("hit"), params.get("of")];
    const result = state.results?.find(
      ({ explanations }) => explanations && (!handle || explanations.handle === handle),
    );
    const index = id && result ? result.hits.findIndex((hit) => hit.id === id) : -1;
    if (inspector && inspector.result === result && index >= 0) return inspector.to(index);
    inspector?.close();
    inspector = null;
    if (!result || index < 0) return;
    const inside = history.state?.inside;
    const { openInspector } = await import("./inspector.js");
    if (parse().params.get("hit") !== id || inspector) return; // the route has changed meanwhile
    const opened = openInspector(entriesOf(result, state.query), index, {
      onmove: (next) => go(changed(parse(), { hit: result.hits[next].id }), { replace: true }),
      onclose: () => {
        inspector = null;
        if (!parse().params.has("hit")) return;
        if (inside) history.back();
        else go(keyOf(parse()), { replace: true });
      },
    });
    inspector = { result, ...opened };
  }

  /** @param {DataTransfer} transfer */
  function receive(transfer) {
    const query = queryOf(transfer);
    if (query && state.info.images) start(query);
    else if (query) toast(t("search.empty-collection"));
  }

  return {
    /** @param {Route} route */
    async update(route) {
      const key = keyOf(route);
      const entry = saved.get(key);
      if (!isSearch(route)) {
        const stale = state.key || (state.query && !state.running && !state.results);
        if (stale) clear();
        if (!state.query) await render();
      } else if (state.key !== key) {
        if (entry) await restore(entry);
        else if (route.handles) await showStored(route.handles, key);
        else runRoute(route, key);
      }
      await syncInspector(route);
    },
    close() {
      cancel();
      inspector?.close();
      panel.close();
    },
    drop: receive,
    paste: receive,
  };
}
