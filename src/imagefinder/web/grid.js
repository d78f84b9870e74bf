/** A grid of any number of images under headings: only the tiles near the window have elements. */

import { closest, h, problemBox, put } from "./dom.js";
import { createLayout } from "./layout.js";
import { createListing, loadSections } from "./listing.js";
import { isPending } from "./remove.js";
import { createTile, headingOf } from "./tile.js";

/** @typedef {import("./listing.js").Query} Query */
/** @typedef {import("./listing.js").Section} Section */

/** @typedef {object} Arrangement
 * @property {string} sort @property {boolean} descending @property {string} group
 * @property {"small" | "medium" | "large"} density */

/** @typedef {object} Handlers
 * @property {(count: number, hidden: number) => void} oncount called with the number of tiles, and of images that
 * are about to be removed, also when it changes
 * @property {(position: number) => void} onopen
 * @property {(image: Rest.Image) => void} ondetails
 * @property {(images: Rest.Image[]) => void} onremove
 * @property {ReturnType<typeof import("./picked.js").createSelection>} selection */

const TILES = { small: 6.5, medium: 10.5, large: 16 };
const NEAR = 700;
const SETTLED_MS = 70;

/** @param {string} collection @param {Query} selected which images
 * @param {Arrangement} arrangement @param {Handlers} handlers */
export function createGrid(collection, selected, arrangement, { selection, ...handlers }) {
  const { sort, descending, group, density } = arrangement;
  const element = h("div", { class: `grid ${density}` });
  const listing = createListing(collection, { ...selected, sort, descending }, render, fail);
  /** @type {Section[]} */
  let sections = [];
  /** Indexes of images that are hidden until the server has removed them, ascending.
   * @type {number[]} */
  let hidden = [];
  let layout = createLayout([], measure());
  /** Position -> its tile. @type {Map<number, HTMLElement>} */
  const tiles = new Map();
  /** First position of a block -> its heading and its list. @type {Map<number, HTMLElement>} */
  const lists = new Map();
  let current = 0;
  let anchor = 0;
  let frame = 0;
  let settled = 0;
  let closed = false;

  function measure() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const width = element.clientWidth || 1;
    return {
      width,
      tile: Math.min(TILES[density] * rem, (width - 0.5 * rem) / 2),
      gap: 0.4 * rem,
      below: density === "small" ? 0 : 2.2 * rem,
      heading: group === "none" ? 0 : 3 * rem,
    };
  }

  /** @param {unknown} error */
  function fail(error) {
    if (!closed) put(element, problemBox(error, refresh));
    element.style.height = "";
  }

  /** @param {number} position */
  function indexOf(position) {
    let index = position;
    for (const gone of hidden) if (gone <= index) index += 1;
    return index;
  }

  /** Arranges everything again, and keeps the image at the top of the window where it is. */
  function arrange() {
    const above = -element.getBoundingClientRect().top;
    const old = above > 0 && layout.count ? layout.between(above, above + 1).first : -1;
    let start = 0;
    let next = 0;
    const shown = sections.map(({ value, images }) => {
      start += images;
      const before = next;
      while (next < hidden.length && hidden[next] < start) next += 1;
      return { value, images: images - (next - before) };
    });
    layout = createLayout(shown, measure());
    element.style.height = `${layout.height}px`;
    current = Math.min(current, Math.max(0, layout.count - 1));
    for (const each of lists.values()) each.remove();
    lists.clear();
    tiles.clear();
    if (old >= 0 && layout.count) {
      const { top } = layout.place(Math.min(old, layout.count - 1));
      scrollBy(0, element.getBoundingClientRect().top + top);
    }
    handlers.oncount(layout.count, hidden.length);
    render();
  }

  async function refresh() {
    try {
      const found = await loadSections(collection, selected, arrangement);
      if (closed) return;
      sections = found;
      hidden = [];
      listing.reset();
      if (element.firstElementChild?.matches(".problem")) put(element);
      arrange();
    } catch (error) {
      fail(error);
    }
  }

  /** @param {import("./layout.js").Block} block */
  function listOf(block) {
    const existing = lists.get(block.first);
    if (existing) return existing;
    const label = headingOf(group, block.section);
    const list = h("ul", { class: "tiles", role: "list", "aria-label": label || null });
    const part = h("section", {}, label && h("h2", {}, label), list);
    part.style.transform = `translateY(${block.top}px)`;
    lists.set(block.first, part);
    element.append(part);
    return part;
  }

  function render() {
    if (closed || !layout.count) return;
    const { top } = element.getBoundingClientRect();
    const { blocks, first, end } = layout.between(-top - NEAR, -top + innerHeight + NEAR);
    const starts = new Set(blocks.map((block) => block.first));
    const focused = document.activeElement;
    for (const [position, tile] of tiles) {
      if ((position < first || position >= end) && !tile.contains(focused)) {
        tile.remove();
        tiles.delete(position);
      }
    }
    for (const [start, part] of lists) {
      if (starts.has(start) || part.contains(focused)) continue;
      part.remove();
      lists.delete(start);
    }
    for (const block of blocks) {
      const last = Math.min(end, block.first + block.section.images);
      for (let position = Math.max(first, block.first); position < last; position += 1) show(position, block);
    }
    clearTimeout(settled);
    settled = window.setTimeout(() => {
      listing.want(Array.from({ length: end - first }, (_, place) => indexOf(first + place)));
    }, SETTLED_MS);
  }

  /** @param {number} position @param {import("./layout.js").Block} block */
  function show(position, block) {
    const image = listing.at(indexOf(position));
    const existing = tiles.get(position);
    if (existing && existing.dataset.id === (image?.id ?? "")) return;
    const { left, top } = layout.place(position);
    const tile = createTile(image, {
      collection,
      side: layout.side,
      density,
      selected: Boolean(image && selection.has(image.id)),
    });
    tile.dataset.position = String(position);
    tile.setAttribute("aria-posinset", String(position + 1 - block.first));
    tile.setAttribute("aria-setsize", String(block.section.images));
    tile.style.transform = `translate(${left}px, ${top - block.top - (group === "none" ? 0 : measureHeading())}px)`;
    setCurrent(tile, position === current);
    const had = existing?.contains(document.activeElement);
    if (existing) existing.replaceWith(tile);
    else insert(listOf(block), tile, position);
    tiles.set(position, tile);
    if (had) focusTile(tile);
  }

  function measureHeading() {
    return measured.heading;
  }
  let measured = measure();

  /** Keeps tiles in order, for those who read or step through them.
   * @param {HTMLElement} part @param {HTMLElement} tile @param {number} position */
  function insert(part, tile, position) {
    const list = /** @type {HTMLElement} */ (part.lastElementChild);
    let next = null;
    for (let each = list.lastElementChild; each; each = each.previousElementSibling) {
      if (Number(/** @type {HTMLElement} */ (each).dataset.position) < position) break;
      next = each;
    }
    list.insertBefore(tile, next);
  }

  /** @param {HTMLElement} tile @param {boolean} on */
  function setCurrent(tile, on) {
    for (const control of tile.querySelectorAll("button, input, a"))
      control.setAttribute("tabindex", on ? "0" : "-1");
  }

  /** @param {HTMLElement | undefined} tile */
  function focusTile(tile) {
    const picture = tile?.querySelector(".picture");
    if (picture instanceof HTMLElement) picture.focus({ preventScroll: true });
  }

  /** Shows the tile at a position, and makes it the current one.
   * @param {number} position @param {{focus?: boolean}} [options] */
  function goTo(position, { focus = false } = {}) {
    if (!layout.count) return;
    const before = tiles.get(current);
    current = Math.min(Math.max(position, 0), layout.count - 1);
    if (before) setCurrent(before, false);
    const { top } = layout.place(current);
    const onPage = element.getBoundingClientRect().top + top;
    const margin = 80;
    if (onPage < margin) scrollBy(0, onPage - margin - measured.heading);
    else if (onPage + layout.side + margin > innerHeight) scrollBy(0, onPage + layout.side + margin - innerHeight);
    render();
    const tile = tiles.get(current);
    if (tile) setCurrent(tile, true);
    if (focus) focusTile(tile);
  }

  /** @param {number} from @param {number} to positions @returns {Promise<Rest.Image[]>} */
  async function range(from, to) {
    const found = [];
    for (let position = Math.min(from, to); position <= Math.max(from, to); position += 1) {
      const image = await listing.load(indexOf(position));
      if (image) found.push(image);
    }
    return found;
  }

  /** @param {number} position @param {boolean} extend from the last one */
  async function pick(position, extend) {
    const image = await listing.load(indexOf(position));
    if (!image) return;
    if (extend) selection.set(await range(anchor, position));
    else selection.set([image], !selection.has(image.id));
    anchor = position;
  }

  /** @param {Event} event */
  function positionOf(event) {
    const tile = closest(event, ".tile");
    return tile ? Number(tile.dataset.position) : -1;
  }

  /** @param {number} position */
  const imageAt = (position) => listing.load(indexOf(position));

  element.addEventListener("click", async (event) => {
    const position = positionOf(event);
    if (position < 0) return;
    const modified = event.ctrlKey || event.metaKey || event.shiftKey;
    if (closest(event, ".pick") || (closest(event, ".picture") && (modified || selection.size()))) {
      if (event.shiftKey || !closest(event, ".pick")) event.preventDefault();
      await pick(position, event.shiftKey);
      return;
    }
    const image = await imageAt(position);
    if (!image) return;
    if (closest(event, ".picture")) handlers.onopen(position);
    else if (closest(event, "[data-do=details]")) handlers.ondetails(image);
    else if (closest(event, "[data-do=remove]")) handlers.onremove([image]);
  });

  element.addEventListener("focusin", (event) => {
    const position = positionOf(event);
    if (position < 0 || position === current) return;
    const before = tiles.get(current);
    if (before) setCurrent(before, false);
    current = position;
    const tile = tiles.get(position);
    if (tile) setCurrent(tile, true);
  });

  element.addEventListener("keydown", async (event) => {
    const position = positionOf(event);
    if (position < 0 || !closest(event, ".picture")) return;
    /** @type {Record<string, number>} */
    const moves = {
      ArrowLeft: position - 1,
      ArrowRight: position + 1,
      ArrowUp: layout.vertical(position, -1),
      ArrowDown: layout.vertical(position, 1),
      Home: 0,
      End: layout.count - 1,
    };
    if (event.key in moves) {
      event.preventDefault();
      const next = Math.min(Math.max(moves[event.key], 0), layout.count - 1);
      goTo(next, { focus: true });
      if (event.shiftKey) selection.set(await range(position, next));
    } else if (event.key === " ") {
      event.preventDefault();
      await pick(position, event.shiftKey);
    } else if (event.key === "a" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      await selectAll();
    } else if (event.key === "Escape" && selection.size()) selection.clear();
    else if (event.key === "Delete") {
      const image = await imageAt(position);
      if (image) handlers.onremove([image]);
    }
  });

  async function selectAll() {
    const { MOST } = await import("./picked.js");
    selection.set(await range(0, Math.min(layout.count, MOST) - 1));
  }

  const onscroll = () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(render);
  };
  addEventListener("scroll", onscroll, { passive: true });
  let width = 0;
  const resized = new ResizeObserver(() => {
    if (element.clientWidth === width) return;
    width = element.clientWidth;
    measured = measure();
    arrange();
  });
  resized.observe(element);

  return {
    element,
    refresh,
    goTo,
    selectAll,
    count: () => layout.count,
    image: imageAt,
    /** The headings, and the position of the first image under each. */
    headings: () => layout.blocks.map(({ section, first }) => ({ value: section.value, first })),
    /** Shows which tiles are selected. */
    mark() {
      for (const [position, tile] of tiles) {
        const image = listing.at(indexOf(position));
        const box = tile.querySelector("input");
        if (box && image) box.checked = selection.has(image.id);
      }
      element.classList.toggle("selecting", selection.size() > 0);
    },
    /** Hides images that are about to be removed; shows them again when they are not.
     * @param {string[]} ids */
    async hide(ids) {
      const wanted = new Set(ids.filter((id) => isPending(collection, id)));
      const total = sections.reduce((sum, each) => sum + each.images, 0);
      for (let index = 0; index < total && wanted.size; index += 1) {
        const image = listing.at(index);
        if (image && wanted.delete(image.id) && !hidden.includes(index)) hidden.push(index);
      }
      hidden = hidden.filter((index) => {
        const image = listing.at(index);
        return !image || isPending(collection, image.id);
      });
      hidden.sort((a, b) => a - b);
      const hadFocus = element.contains(document.activeElement);
      arrange();
      if (hadFocus) goTo(current, { focus: true });
    },
    close() {
      closed = true;
      clearTimeout(settled);
      cancelAnimationFrame(frame);
      removeEventListener("scroll", onscroll);
      resized.disconnect();
      listing.close();
    },
  };
}
