/** The search view: one query at a time, its results, and the results of earlier queries. */

import { Problem, collectionPath, get, queryString } from "./api.js";
import { progressBox, samplesBox } from "./boxes.js";
import { announce, button, focusOn, h, isAbort, problemBox, put, toast } from "./dom.js";
import { previewPath } from "./images.js";
import { createPanel } from "./panel.js";
import { queriesOf } from "./query.js";
import { ALL_METHODS, defaultOptions, loadStoredImage, search } from "./request.js";
import { columnsView, relationOf, resultView, savedDisplay } from "./results.js";
import { build, changed, go, link, parse } from "./route.js";
import { collectionInfo, session } from "./session.js";
import { createStrip, note } from "./strip.js";
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
 * @property {boolean} failed whether the query itself cannot be searched
 * @property {AbortController | null} running */

/** @typedef {Pick<SearchState, "options" | "query" | "region" | "results" | "key">} Saved */

const HISTORY_SIZE = 60;
const LIVE_MS = 350; // between searches while a region is moved
const PATIENCE_MS = 2000;
const SAMPLES = 12;

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
const loadResults = (handles) =>
  Promise.all(handles.map((handle) => get(`v1/explanations/${encodeURIComponent(handle)}`)));

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
    failed: false,
    running: null,
  };
  /** @type {{result: Rest.SearchAnswer, to: (index: number) => void, close: () => void} | null} */
  let inspector = null;
  const panel = createPanel(state, { search: startAll, searchAgain, regionChanged });
  const strip = createStrip({ open: openEntry, current: () => state.query });
  let timer = 0;
  let since = 0; // the start of the latest search with a moved region
  let isLive = false; // whether the shown route is that of a region being moved
  const output = h("section", { class: "results", "aria-label": t("search.results") });
  const root = h("div", { class: "search" }, panel.element, output);
  main.append(strip.element, root);

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
    Object.assign(state, entry, { failed: false });
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
    clearTimeout(timer);
    timer = 0;
    state.running?.abort();
    state.running = null;
    output.removeAttribute("aria-busy");
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

  function render() {
    renderPanel();
    return renderOutput();
  }

  async function renderOutput() {
    strip.render();
    const { query, results } = state;
    if (!query || !results) return renderSamples();
    const route = parse();
    /** @type {import("./results.js").Links} */
    const links = {
      search: (id) => link("search", session.collection, { id }),
      similar: (id) => link("similar", session.collection, { id }),
      versions: (stack) => link("library", session.collection, { stack }),
      inspect: ({ explanations }, hit) =>
        explanations && changed(route, { hit: hit.id, of: results.length > 1 ? explanations.handle : null }),
    };
    // A link to a stored image or a URL repeats the search; a link to an upload works while the server keeps it.
    const expires = query.kind === "file" || query.kind === "handle";
    const display = savedDisplay();
    /** @param {import("./results.js").Display} chosen */
    const ondisplay = (chosen) => {
      put(output, resultView(results[0], links, { expires, display: chosen, ondisplay }));
      focusOn(output, "[aria-pressed]");
    };
    if (results.length > 1) put(output, columnsView(results, links));
    else put(output, resultView(results[0], links, { expires, display, ondisplay }));
    announce(output.querySelector("h1")?.textContent ?? "");
  }

  /** Runs a search and shows its results.
   * @param {Query} query @param {string | null} key the route, if it is already shown */
  async function run(query, key) {
    cancel();
    const control = new AbortController();
    const { signal } = control;
    const region = state.query === query || key ? state.region : null;
    Object.assign(state, { query, region, results: null, key: null, failed: false, running: control });
    isLive = false;
    const retry = () => run(query, key);
    note(query, { state: "running" });
    strip.render();
    renderPanel();
    put(output, progressBox(control, state.info.images));
    scrollTo(0, 0);
    try {
      if (query.kind === "id" && !query.image) {
        await loadStoredImage(query, signal);
        panel.updatePreview();
      }
      const results = await search(query, state.options, { region, methods: methodNames(), signal });
      if (signal.aborted) return;
      finish(query, results, key);
      render();
    } catch (error) {
      const current = state.running === control;
      if (current) state.running = null;
      if (!current) return;
      note(query, { state: "failed" });
      strip.render();
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
        state.failed = !(error instanceof Problem && error.retryable);
        renderPanel();
        announce(t("search.failed"));
        put(output, problemBox(error, retry, "h1"));
      }
    }
  }

  /** The methods that the options name; several if they are compared. */
  function methodNames() {
    const { method } = state.options;
    return method === ALL_METHODS ? state.info.methods.map((each) => each.name) : [method];
  }

  /** The route of results that were not opened by one, and what the strip shows of them.
   * @param {Query} query @param {Rest.SearchAnswer[]} results @param {string | null} key */
  function routeOf(query, results, key) {
    query.size ??= [results[0].query.width, results[0].query.height];
    // A server that stores no results gives no handles; then there is nothing to link to.
    const handles = results.flatMap(({ explanations }) => explanations?.handle ?? []);
    const route = handles.length ? build({ view: "search", handles, params: new URLSearchParams() }) : null;
    const matches = results[0].hits.filter(({ decision }) => decision === "match").length;
    const uploaded = handles.length ? `v1/explanations/${handles[0]}/query?width=160` : (query.preview ?? null);
    const preview = query.image?.thumbnail ?? uploaded;
    note(query, { key: key ?? route, state: "done", matches, preview });
    return key ?? route;
  }

  /** @param {Query} query @param {Rest.SearchAnswer[]} results @param {string | null} key */
  function finish(query, results, key) {
    const route = routeOf(query, results, key) ?? location.hash;
    Object.assign(state, { results, key: route, running: null });
    save();
    go(route, { replace: isLive });
  }

  /** @param {"moved" | "placed"} how */
  function regionChanged(how) {
    if (how === "moved") timer ||= setTimeout(searchMoved, LIVE_MS);
    else if (isLive || timer) searchRegion();
  }

  /** Searches with the moved region, unless the search before may soon show something. */
  function searchMoved() {
    timer = state.running && Date.now() - since < PATIENCE_MS ? setTimeout(searchMoved, LIVE_MS) : 0;
    if (!timer) searchRegion();
  }

  /** Searches with the region while the user moves it; the latest search wins. The first adds to the history. */
  async function searchRegion() {
    const { query } = state;
    if (!query || !state.results) return;
    cancel();
    since = Date.now();
    const control = new AbortController();
    state.running = control;
    output.setAttribute("aria-busy", "true");
    try {
      const options = { region: state.region, methods: methodNames(), signal: control.signal };
      const results = await search(query, state.options, options);
      if (control.signal.aborted) return;
      output.removeAttribute("aria-busy");
      finish(query, results, query.kind === "id" || query.kind === "url" ? hashOf(query) : null);
      isLive = true;
      renderOutput();
    } catch (error) {
      if (state.running !== control) return;
      cancel();
      // A busy server answers the next search.
      if (!(error instanceof Problem && error.retryable)) put(output, problemBox(error, searchAgain, "h1"));
    }
  }

  /** @param {Query[]} queries the first is shown, the others are searched one after the other */
  function startAll([first, ...others]) {
    if (!first) return;
    for (const query of [first, ...others]) {
      if (query.file) query.preview = URL.createObjectURL(query.file);
      if (others.length) note(query, { state: "waiting" });
    }
    start(first);
    if (others.length) strip.work(searchAside);
  }

  /** Searches with a query without showing its results.
   * @param {Query} query @param {AbortSignal} signal */
  async function searchAside(query, signal) {
    const options = { ...state.options };
    const results = await search(query, options, { region: null, methods: methodNames(), signal });
    const key = routeOf(query, results, null);
    if (key) saved.set(key, { options, query, region: null, results, key });
  }

  /** @param {import("./strip.js").Entry} entry */
  function openEntry({ key, query }) {
    if (key) go(key);
    else if (query) start(query);
  }

  /** Searches with another query, or again with other options. Stored images and URLs have routes.
   * @param {Query} query */
  function start(query) {
    if (query.kind === "file" && query !== state.query) state.region = null;
    if (query.kind === "file" || query.kind === "handle") return void run(query, null);
    const hash = hashOf(query);
    if (hash === state.key) run(query, hash);
    else go(hash);
  }

  /** The route of a stored image or a URL with the current options.
   * @param {Query} query */
  function hashOf(query) {
    const { method, k, filter, mode } = state.options;
    const defaults = defaultOptions();
    const region = query === state.query ? state.region : null;
    return link("search", session.collection, {
      [query.kind]: query.value,
      method: method === defaults.method ? null : method,
      k: k === defaults.k ? null : k,
      filter,
      mode,
      box: region?.map((value) => value.toFixed(4)).join(","),
    });
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
    const query = storedQuery(first);
    Object.assign(state, { query, results, key });
    routeOf(query, results, key);
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
    const queries = queriesOf(transfer);
    if (state.info.images) startAll(queries);
    else if (queries.length) toast(t("search.empty-collection"));
  }

  strip.render();
  strip.work(searchAside);
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
      strip.close();
    },
    drop: receive,
    paste: receive,
  };
}
