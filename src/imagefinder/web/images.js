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

const MAX_CONTENT_BYTES = 6e6;

/** Formats that every browser displays. */
const DISPLAYED = new Set(["JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF", "BMP"]);

/** The original of a stored image, or its thumbnail where the original is missing or large, shows another page, or
 * has a format that browsers do not display.
 * @param {Rest.Image} image */
export const largest = (image) =>
  image.content &&
  image.size_bytes < MAX_CONTENT_BYTES &&
  DISPLAYED.has(image.format) &&
  !/#page=\d+$/.test(image.id)
    ? image.content
    : image.thumbnail;
