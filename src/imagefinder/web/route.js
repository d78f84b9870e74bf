/** Where one is, as the fragment of the address: it can be shared, and back and forward work.
 *
 *   #/c/NAME/search?id=…|url=…&method=…&k=…&filter=…&box=…    #/r/HANDLE[,HANDLE…]    both: &hit=ID (&of=HANDLE)
 *   #/c/NAME/library?contains=…&filter=…&show=failures         #/c/NAME/duplicates     #/jobs
 */

export function parse(hash = location.hash) {
  const [path, search = ""] = hash.replace(/^#?\/?/, "").split(/\?(.*)/s);
  const parts = path.split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  const params = new URLSearchParams(search);
  if (parts[0] === "c" && ["search", "library", "duplicates"].includes(parts[2])) {
    return { view: parts[2], collection: parts[1], params };
  }
  if (parts[0] === "r" && parts[1]) return { view: "search", handles: parts[1].split(","), params };
  if (parts[0] === "jobs") return { view: "jobs", params };
  return { view: parts[0] ? "unknown" : "start", params };
}

export function build(route) {
  const search = route.params && [...route.params].length ? `?${route.params}` : "";
  if (route.handles) return `#/r/${route.handles.map(encodeURIComponent).join(",")}${search}`;
  if (route.view === "jobs") return `#/jobs${search}`;
  return `#/c/${encodeURIComponent(route.collection)}/${route.view}${search}`;
}

export const link = (view, collection, params = {}) =>
  build({ view, collection, params: new URLSearchParams(Object.entries(params).filter(([, value]) => value)) });

/** The same place with other parameters; `null` takes one away. */
export function changed(route, values) {
  const params = new URLSearchParams(route.params);
  for (const [name, value] of Object.entries(values)) value === null || value === "" ? params.delete(name) : params.set(name, value);
  return build({ ...route, params });
}

export function go(hash, { replace = false } = {}) {
  if (hash === location.hash) return;
  history[replace ? "replaceState" : "pushState"]({ inside: true }, "", hash);
  dispatchEvent(new HashChangeEvent("hashchange"));
}
