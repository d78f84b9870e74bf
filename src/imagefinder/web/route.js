/** The current view as the URL's fragment, so that it can be shared and back and forward work.
 *
 *   #/c/NAME/search?id=…|url=…&method=…&k=…&filter=…&box=…    #/r/HANDLE[,HANDLE…]    both: &hit=ID (&of=HANDLE)
 *   #/c/NAME/similar?id=…|of=HANDLE&method=…
 *   #/c/NAME/words?text=…
 *   #/c/NAME/library?contains=…&filter=…&show=failures         #/c/NAME/duplicates     #/jobs
 */

/** @typedef {"search" | "similar" | "words" | "library" | "duplicates" | "jobs"} ViewName */

/** @typedef {object} Route
 * @property {ViewName | "start" | "unknown"} view
 * @property {string} [collection]
 * @property {string[]} [handles] of stored search results
 * @property {URLSearchParams} params */

const OF_COLLECTION = ["search", "similar", "words", "library", "duplicates"];

/** @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** @param {string} [hash] @returns {Route} */
export function parse(hash = location.hash) {
  const [path, search = ""] = hash.replace(/^#?\/?/, "").split(/\?(.*)/s);
  const [kind, name, view] = path.split("/").map(decoded);
  const params = new URLSearchParams(search);
  if (kind === "c" && OF_COLLECTION.includes(view)) {
    return { view: /** @type {ViewName} */ (view), collection: name, params };
  }
  if (kind === "r" && name) return { view: "search", handles: name.split(","), params };
  if (kind === "jobs") return { view: "jobs", params };
  return { view: kind ? "unknown" : "start", params };
}

/** @param {Route} route @returns {string} the fragment */
export function build({ view, collection = "default", handles, params }) {
  const search = params.size ? `?${params}` : "";
  if (handles) return `#/r/${handles.map(encodeURIComponent).join(",")}${search}`;
  if (view === "jobs") return `#/jobs${search}`;
  return `#/c/${encodeURIComponent(collection)}/${view}${search}`;
}

/** @param {ViewName} view
 * @param {string} collection
 * @param {Record<string, string | number | null | undefined>} [params] the empty ones are left out */
export function link(view, collection, params = {}) {
  return changed({ view, collection, params: new URLSearchParams() }, params);
}

/** The same route with other parameters; `null` removes one.
 * @param {Route} route
 * @param {Record<string, string | number | null | undefined>} values */
export function changed(route, values) {
  const params = new URLSearchParams(route.params);
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === undefined || value === "") params.delete(name);
    else params.set(name, String(value));
  }
  return build({ ...route, params });
}

/** @param {string} hash @param {{replace?: boolean}} [options] */
export function go(hash, { replace = false } = {}) {
  if (hash === location.hash) return;
  history[replace ? "replaceState" : "pushState"]({ inside: true }, "", hash);
  dispatchEvent(new HashChangeEvent("hashchange"));
}
