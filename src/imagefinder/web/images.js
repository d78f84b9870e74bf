/** Pictures of the server in the page: lazily, and by fetch where a key must be sent along. */

import { address, getKey, send, sleep } from "./api.js";
import { h } from "./dom.js";

const PARALLEL = 6;

let running = 0;
const waiting = [];

async function blobOf(path) {
  while (running >= PARALLEL) await new Promise((resolve) => waiting.push(resolve));
  running += 1;
  try {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await (await send(path)).blob();
      } catch (error) {
        if (!error.retryable || attempt === 3) throw error;
        await sleep(error.retryAfter || 2 ** attempt);
      }
    }
  } finally {
    running -= 1;
    waiting.shift()?.();
  }
}

const seen = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      load(target);
    }
  },
  { rootMargin: "400px" },
);

async function load(image) {
  try {
    const url = URL.createObjectURL(await blobOf(image.dataset.path));
    image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    image.src = url;
  } catch {
    image.classList.add("missing");
  }
}

/** An image element. `width` and `height` keep its place before it is there. */
export function picture(path, alt, properties = {}) {
  const image = h("img", { alt, decoding: "async", loading: "lazy", draggable: "false", ...properties });
  image.addEventListener("error", () => image.classList.add("missing"));
  if (path) show(image, path);
  return image;
}

/** Lets an image element show another picture of the server, or a local `blob:` one. */
export function show(image, path) {
  image.classList.remove("missing");
  if (path.startsWith("blob:")) image.src = path;
  else if (!getKey()) image.src = address(path);
  else {
    image.dataset.path = path;
    seen.observe(image);
  }
}

/** An address that any element can show. @returns {Promise<{url: string, release: () => void}>} */
export async function source(path) {
  if (path.startsWith("blob:")) return { url: path, release: () => {} };
  if (!getKey()) return { url: address(path), release: () => {} };
  const url = URL.createObjectURL(await blobOf(path));
  return { url, release: () => URL.revokeObjectURL(url) };
}

const LARGE = 6e6;

/** The best of a stored picture that is not needlessly heavy. */
export const best = (image) => (image.content && image.size_bytes < LARGE ? image.content : image.thumbnail);
