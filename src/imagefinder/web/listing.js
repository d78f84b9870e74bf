/** The images of a sorted listing by their place in it, loaded in chunks where they are needed. */

import { collectionPath, get } from "./api.js";
import { isAbort } from "./dom.js";

/** The parameters of a listing, as the REST API takes them.
 * @typedef {Record<string, string | number | boolean | null | string[]>} Query */

/** @typedef {{value: string, images: number}} Section */

const CHUNK = 100;
const KEPT = 60;
const PARALLEL = 3;
const GROUPS = { day: 10, month: 7, folder: 0 };

/** @param {Query} query @param {Query} more */
export function parameters(query, more = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...query, ...more })) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== "" && one !== false) search.append(name, String(one));
    }
  }
  return `?${search}`;
}

/** All groups of a listing.
 * @param {string} collection @param {Query} selection @param {string} by
 * @returns {Promise<Section[]>} */
export async function loadGroups(collection, selection, by) {
  /** @type {Section[]} */
  const found = [];
  let cursor = null;
  do {
    /** @type {Rest.GroupPage} */
    const page = await get(collectionPath(collection, `/groups${parameters(selection, { by, cursor })}`));
    found.push(...page.groups);
    cursor = page.next_cursor;
  } while (cursor !== null);
  return found;
}

/** The sections of a listing, in its order.
 * @param {string} collection @param {Query} selection
 * @param {{group: string, descending: boolean}} arrangement */
export async function loadSections(collection, selection, { group, descending }) {
  if (!Object.hasOwn(GROUPS, group)) {
    const years = await loadGroups(collection, selection, "year");
    return [{ value: "", images: years.reduce((sum, each) => sum + each.images, 0) }];
  }
  const sections = await loadGroups(collection, selection, group);
  return descending ? sections.reverse() : sections;
}

/** Images by their index in a listing; removed ones have an index until the server has removed them.
 * @param {string} collection @param {Query} query with the order
 * @param {() => void} onload called when images have arrived
 * @param {(error: unknown) => void} onfail */
export function createListing(collection, query, onload, onfail) {
  /** Chunk number -> its images; the most recently used last.
   * @type {Map<number, Rest.Image[]>} */
  const chunks = new Map();
  /** @type {Map<number, Promise<Rest.Image[]>>} */
  const loading = new Map();
  /** @type {number[]} chunks that are shown, the most important first */
  let wanted = [];
  let control = new AbortController();

  /** @param {number} number */
  function load(number) {
    const { signal } = control;
    const path = `/images${parameters(query, { offset: number * CHUNK, limit: CHUNK })}`;
    const running = get(collectionPath(collection, path), { signal }).then(
      (/** @type {Rest.ImagePage} */ page) => {
        chunks.set(number, page.images);
        for (const old of chunks.keys()) {
          if (chunks.size <= KEPT) break;
          if (!wanted.includes(old)) chunks.delete(old);
        }
        return page.images;
      },
    );
    loading.set(number, running);
    running
      .finally(() => loading.get(number) === running && loading.delete(number))
      .then(
        () => {
          onload();
          pump();
        },
        (error) => !isAbort(error) && onfail(error),
      );
    return running;
  }

  function pump() {
    for (const number of wanted) {
      if (loading.size >= PARALLEL) return;
      if (!chunks.has(number) && !loading.has(number)) load(number);
    }
  }

  return {
    /** The image at an index, if it has been loaded.
     * @param {number} index */
    at(index) {
      return chunks.get(Math.floor(index / CHUNK))?.[index % CHUNK];
    },
    /** The image at an index; `undefined` behind the end.
     * @param {number} index @returns {Promise<Rest.Image | undefined>} */
    async load(index) {
      const number = Math.floor(index / CHUNK);
      return (chunks.get(number) ?? (await (loading.get(number) ?? load(number))))[index % CHUNK];
    },
    /** Loads the images at these indexes, and forgets what was wanted before.
     * @param {Iterable<number>} indexes */
    want(indexes) {
      wanted = [...new Set([...indexes].map((index) => Math.floor(index / CHUNK)))];
      for (const number of wanted) {
        const images = chunks.get(number);
        if (images && chunks.delete(number)) chunks.set(number, images);
      }
      pump();
    },
    /** Forgets all images: others have their indexes now. */
    reset() {
      control.abort();
      control = new AbortController();
      chunks.clear();
      loading.clear();
    },
    close: () => control.abort(),
  };
}
