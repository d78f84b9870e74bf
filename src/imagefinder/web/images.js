/** Images from the server: loaded lazily, and by fetch where an API key must be sent. */

import { Problem, getKey, resolve, send, sleep } from "./api.js";
import { h } from "./dom.js";

const PARALLEL = 6;
const ATTEMPTS = 4;

/** Runs at most `parallel` tasks at the same time.
 * @param {number} parallel */
function limiter(parallel) {
  let running = 0;
  /** @type {(() => void)[]} */
  const waiting = [];
  /** @template T @param {() => Promise<T>} task @returns {Promise<T>} */
  return async (task) => {
    while (running >= parallel) await new Promise((start) => waiting.push(() => start(null)));
    running += 1;
    try {
      return await task();
    } finally {
      running -= 1;
      waiting.shift()?.();
    }
  };
}

const limited = limiter(PARALLEL);

/** @param {string} path */
const fetchBlob = (path) =>
  limited(async () => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await (await send(path)).blob();
      } catch (error) {
        if (!(error instanceof Problem) || !error.retryable || attempt === ATTEMPTS) throw error;
        await sleep(error.retryAfter || 2 ** (attempt - 1));
      }
    }
  });

const visible = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting || !(target instanceof HTMLImageElement)) continue;
      visible.unobserve(target);
      load(target);
    }
  },
  { rootMargin: "400px" },
);

/** @param {HTMLImageElement} image */
async function load(image) {
  try {
    const url = URL.createObjectURL(await fetchBlob(image.dataset.path ?? ""));
    image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    image.src = url;
  } catch {
    image.classList.add("missing");
  }
}

/** An image element. `width` and `height` reserve its space until it has loaded.
 * @param {string | null} path
 * @param {string} alt
 * @param {import("./dom.js").Properties} [properties] */
export function imageElement(path, alt, properties = {}) {
  const image = h("img", { alt, decoding: "async", loading: "lazy", draggable: "false", ...properties });
  image.addEventListener("error", () => image.classList.add("missing"));
  if (path) show(image, path);
  return image;
}

/** A stored image's thumbnail.
 * @param {Rest.Image} image @param {string} [alt] */
export const thumbnail = (image, alt = "") =>
  imageElement(image.thumbnail, alt, { width: image.width, height: image.height });

/** Shows another image of the server, or a local one (`blob:`), in an image element.
 * @param {HTMLImageElement} image @param {string} path */
export function show(image, path) {
  image.classList.remove("missing");
  if (path.startsWith("blob:")) image.src = path;
  else if (!getKey()) image.src = resolve(path);
  else {
    image.dataset.path = path;
    visible.observe(image);
  }
}

/** A URL that any element can show.
 * @param {string} path
 * @returns {Promise<{url: string, release: () => void}>} */
export async function source(path) {
  if (path.startsWith("blob:")) return { url: path, release: () => {} };
  if (!getKey()) return { url: resolve(path), release: () => {} };
  const url = URL.createObjectURL(await fetchBlob(path));
  return { url, release: () => URL.revokeObjectURL(url) };
}

/** Lengths of the longer side of previews, in pixels. */
const SIZES = [400, 800, 1600, 3200, 6400, 12800, 25600];
const SHOWN = 1600;
const ZOOM_DELAY = 250;

/** @param {number} pixels */
const sizeFor = (pixels) => SIZES.find((size) => size >= pixels) ?? SIZES[SIZES.length - 1];

/** The path of a picture that every browser shows, whatever the format of the image.
 * @param {Rest.Image} image @param {number} [size] length of the longer side in pixels */
export const previewPath = ({ preview, thumbnail: small }, size = SHOWN) =>
  preview ? `${preview}${preview.includes("?") ? "&" : "?"}size=${size}` : small;

/** A preview of a stored image, as large as it is shown; its thumbnail until then, and if it fails.
 * @param {Rest.Image} image @param {string} alt
 * @param {import("./dom.js").Properties & {size?: number}} [properties] */
export function previewElement(image, alt, { size = SHOWN, ...properties } = {}) {
  const element = imageElement(previewPath(image, size), alt, {
    width: image.width,
    height: image.height,
    ...properties,
  });
  element.addEventListener("error", () => show(element, image.thumbnail), { once: true });
  return element;
}

/** Loads larger previews of an image while it is enlarged, up to the size of the original.
 * @param {Rest.Image} image of which a preview is shown */
export function createDetail(image) {
  const whole = Math.max(image.width, image.height);
  /** @type {{url: string, release: () => void}[]} */
  const loaded = [];
  let size = SHOWN;
  let timer = 0;
  let closed = false;
  /** @type {string | null} */
  let latest = null;

  /** @param {number} next @param {(url: string) => void} onload */
  async function load(next, onload) {
    size = next;
    try {
      const found = await source(previewPath(image, next));
      loaded.push(found);
      await h("img", { src: found.url }).decode();
      if (!closed && size === next) onload((latest = found.url));
    } catch {
      // The smaller preview stays.
    }
    if (closed) release();
  }

  function release() {
    closed = true;
    clearTimeout(timer);
    for (const each of loaded.splice(0)) each.release();
  }

  return {
    /** The largest preview so far; `null` if no larger one was loaded. */
    url: () => latest,
    /** @param {number} pixels length of the longer side on the screen
     * @param {(url: string) => void} onload gets a larger preview */
    want(pixels, onload) {
      const next = sizeFor(Math.min(pixels, whole));
      clearTimeout(timer);
      if (next > size) timer = window.setTimeout(() => load(next, onload), ZOOM_DELAY);
    },
    release,
  };
}
