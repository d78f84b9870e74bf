/** Turns a query and its options into search requests. */

import { collectionPath, get, imagePath, post, send } from "./api.js";
import { parseFilter } from "./filter.js";
import { session } from "./session.js";

/** @typedef {import("./query.js").Query} Query */

/** @typedef {object} Options
 * @property {string} method `auto`, `ALL_METHODS` or a method's name
 * @property {number} k number of results
 * @property {string} filter as the user typed it
 * @property {string} mode `exact`, `fast`, or empty for automatic */

export const ALL_METHODS = "all";
const CONCURRENT = 2; // leaves the server capacity for other clients

/** @returns {Options} */
export const defaultOptions = () => ({ method: "auto", k: 10, filter: "", mode: "" });

/** The image file of a query, and its size if a region needs it.
 * @param {Query} query
 * @param {boolean} needsSize
 * @param {AbortSignal} signal
 * @returns {Promise<void>} */
async function loadQuery(query, needsSize, signal) {
  if (query.kind === "handle" && !query.file) {
    const blob = await (await send(`v1/explanations/${query.value}/query`, { signal })).blob();
    query.file = new File([blob], "query.jpg", { type: blob.type });
    query.size = undefined; // the server's copy may be smaller than the original
  }
  if (needsSize && query.file && !query.size) {
    const bitmap = await createImageBitmap(query.file);
    query.size = [bitmap.width, bitmap.height];
    bitmap.close();
  }
}

/** Loads what the collection says about a stored query image.
 * @param {Query} query @param {AbortSignal} signal */
export async function loadStoredImage(query, signal) {
  /** @type {Rest.Image} */
  const image = await get(imagePath(session.collection, query.value), { signal });
  query.image = image;
  query.size = [image.width, image.height];
}

/** @param {Query} query
 * @param {Options} options
 * @param {import("./crop.js").Box | null} region
 * @param {string} method */
function requestBody(query, options, region, method) {
  const filter = parseFilter(options.filter);
  const { size, file } = query;
  const box = region && size ? region.map((value, index) => value * size[index % 2]) : null;
  const shared = { method, k: options.k, ...(options.mode ? { mode: options.mode } : {}) };
  if (!file) {
    return { [query.kind]: query.value, ...shared, ...(box && { boxes: [box] }), ...(filter && { filter }) };
  }
  const form = new FormData();
  form.append("image", file, file.name || "query");
  for (const [name, value] of Object.entries(shared)) form.append(name, String(value));
  if (box) form.append("box", box.join(","));
  if (filter) form.append("filter", JSON.stringify(filter));
  return form;
}

/** Searches with each method, a few requests at a time.
 * @param {Query} query gets its file and size
 * @param {Options} options
 * @param {{region: import("./crop.js").Box | null, methods: string[], signal: AbortSignal}} parts
 * @returns {Promise<Rest.SearchAnswer[]>} in the order of `methods` */
export async function search(query, options, { region, methods, signal }) {
  await loadQuery(query, region !== null, signal);
  const path = collectionPath(session.collection, "/search");
  /** @type {Rest.SearchAnswer[]} */
  const results = [];
  const queue = [...methods.entries()];
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const [index, method] = next;
      results[index] = await post(path, requestBody(query, options, region, method), { signal });
    }
  };
  await Promise.all(Array.from({ length: Math.min(CONCURRENT, methods.length) }, worker));
  return results;
}
