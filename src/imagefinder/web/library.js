/** A collection: looked through page by page, filtered, added to, cleaned up. */

import { collectionPath, get, query, send } from "./api.js";
import { announce, button, dialogue, h, problemBox, put, toast } from "./dom.js";
import { best, picture } from "./images.js";
import { changed, go, link, parse } from "./route.js";
import { about, begin, mayWrite, session } from "./session.js";
import { isPending, remove } from "./undo.js";
import { filesOf, filesOfInput, uploads } from "./upload.js";
import { bytes, count, filterOf, short, when } from "./words.js";

const PAGE = 60;
const FAR = "2000px";

/** Queues outlive the view: a collection -> its uploads. */
const queues = new Map();

let page = null;

function queueOf(collection) {
  if (!queues.has(collection)) {
    queues.set(
      collection,
      uploads(collection, () => {
        if (session.collection === collection && page) page.again();
      }),
    );
  }
  return queues.get(collection);
}

async function showDetails(image, ondelete) {
  const link_ = (href, words, properties = {}) => h("a", { href, ...properties }, words);
  const chosen = await dialogue(
    short(image.id),
    (close) => [
      h("div", { class: "detail" }, picture(best(image), image.id, { loading: "eager", width: image.width, height: image.height })),
      h(
        "dl",
        {},
        [
          ["Id", image.id],
          ["Size", `${image.width} × ${image.height}, ${bytes(image.size_bytes)}, ${image.format}`],
          ["Added", when(image.added_at)],
          ["From", image.uri && link_(image.uri, image.uri, { rel: "noreferrer", target: "_blank" })],
          ["SHA-256", h("code", {}, image.sha256)],
          ...Object.entries(image.metadata ?? {}).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]),
        ]
          .filter(([, value]) => value)
          .map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
      ),
      h(
        "div",
        { class: "row end" },
        mayWrite() && button("trash", "Delete", () => close("delete")),
        image.content && link_(image.content.replace(/^\//, ""), "Original file", { target: "_blank", rel: "noopener", class: "button" }),
        h("a", { href: link("search", session.collection, { id: image.id }), class: "button primary", onclick: () => close() }, "Search by it"),
      ),
    ],
    { wide: true },
  );
  if (chosen === "delete") ondelete();
}

function tile(image, collection, ongone) {
  const item = h(
    "li",
    { class: "tile", "data-id": image.id },
    h("a", { href: link("search", collection, { id: image.id }), "aria-label": `Search by ${image.id}`, title: image.id }, picture(image.thumbnail, "", { width: image.width, height: image.height })),
    h(
      "div",
      { class: "caption" },
      h("span", { class: "id" }, short(image.id)),
      button("info", `About ${image.id}`, () => showDetails(image, drop), { quiet: true, class: "plain" }),
      mayWrite() && button("trash", `Delete ${image.id}`, () => drop(), { quiet: true, class: "plain" }),
    ),
  );
  item.style.setProperty("--ratio", Math.min(Math.max(image.width / image.height, 0.6), 2.2));
  function drop() {
    const beside = item.nextElementSibling ?? item.previousElementSibling;
    item.hidden = true;
    ongone(-1);
    beside?.querySelector("a").focus();
    remove(collection, [image.id], {
      onundo: () => {
        item.hidden = false;
        ongone(1);
      },
    });
  }
  return item;
}

/** Pages of pictures as one scrolls. Pages far from the window are emptied, and filled again when they come near,
 * so a collection of any size takes the same room. */
function grid(collection, params, { onchange, onend }) {
  const element = h("div", { class: "pages" });
  let over = false;
  const near = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) isIntersecting ? fill(target.page) : empty(target.page);
    },
    { rootMargin: `${FAR} 0px` },
  );

  function append(cursor) {
    const list = h("ul", { class: "tiles", role: "list" });
    const one = { cursor, list, state: "empty", next: undefined };
    list.page = one;
    element.append(list);
    near.observe(list);
    return one;
  }

  async function fill(one) {
    if (one.state !== "empty") return;
    one.state = "loading";
    try {
      const body = await get(collectionPath(collection, `/images${query({ ...params, limit: PAGE, cursor: one.cursor })}`));
      if (over) return;
      put(one.list, body.images.filter((image) => !isPending(collection, image.id)).map((image) => tile(image, collection, onchange)));
      one.list.style.minHeight = "";
      one.state = "full";
      if (one.next === undefined) {
        one.next = body.next_cursor;
        onend(body.images.length, one.cursor === null, one.next);
        if (one.next !== null) append(one.next);
      }
    } catch (error) {
      one.state = "failed";
      put(one.list, h("li", { class: "whole" }, problemBox(error, () => ((one.state = "empty"), fill(one)))));
    }
  }

  function empty(one) {
    if (one.state !== "full" || one.list.contains(document.activeElement)) return;
    one.list.style.minHeight = `${one.list.offsetHeight}px`;
    put(one.list);
    one.state = "empty";
  }

  fill(append(null));
  return {
    element,
    end() {
      over = true;
      near.disconnect();
    },
  };
}

async function failuresList(collection, into) {
  const list = h("ul", { class: "failures", role: "list" });
  const more = h("div", {});
  put(into, list, more);
  const load = async (cursor) => {
    put(more);
    const body = await get(collectionPath(collection, `/failures${query({ limit: 100, cursor })}`));
    list.append(
      ...body.failures.map((failure) =>
        h(
          "li",
          {},
          h("p", { class: "id" }, failure.id ?? failure.uri),
          h("p", {}, failure.message),
          h("p", { class: "small" }, `${failure.code} · ${count(failure.attempts, "attempt")} · ${when(failure.at)}`),
        ),
      ),
    );
    if (body.next_cursor) put(more, button(null, "More", () => load(body.next_cursor)));
    if (!list.children.length) put(into, h("p", { class: "quiet" }, "Nothing failed."));
  };
  await load(null);
}

const library = (main) => {
  const { collection } = session;
  const heading = h("h1", { tabindex: "-1" }, "Collection");
  const sub = h("p", { class: "sub" });
  const views = h("div", { class: "row" });
  const below = h("div", {});
  const queue = queueOf(collection);
  let pages = null;
  let shownFor = null;
  let info = null;

  const contains = h("input", { type: "search", placeholder: "Part of a name", "aria-label": "Name contains", autocomplete: "off" });
  const filter = h("input", { placeholder: "Metadata: kind=cat", "aria-label": "Filter by metadata, name=value", autocomplete: "off" });
  const form = h(
    "form",
    {
      class: "row filters",
      role: "search",
      onsubmit: (event) => {
        event.preventDefault();
        apply();
      },
    },
    contains,
    filter,
    h("button", {}, "Filter"),
  );
  let typing = 0;
  contains.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(apply, 350);
  });

  function apply() {
    clearTimeout(typing);
    try {
      filterOf(filter.value);
      filter.setCustomValidity("");
    } catch (error) {
      filter.setCustomValidity(error.message);
      return filter.reportValidity();
    }
    return go(changed(parse(), { contains: contains.value.trim(), filter: filter.value.trim(), show: null }), { replace: true });
  }

  const pick = (properties) => {
    const input = h("input", { type: "file", multiple: true, class: "hidden", tabindex: "-1", "aria-hidden": "true", ...properties });
    input.addEventListener("change", () => {
      add(filesOfInput(input));
      input.value = "";
    });
    return input;
  };
  const files = pick({ accept: "image/*,.heic,.heif,.avif,.tif,.tiff", "data-pick": "files" });
  const folder = pick({ webkitdirectory: true, "data-pick": "folder" });

  function add(list) {
    if (!queue.add(list)) toast("There are no pictures in that.");
    else queue.element.scrollIntoView({ block: "nearest" });
  }

  function tell() {
    heading.textContent = collection === "default" ? "Collection" : collection;
    sub.textContent = `${count(info.images, "picture")} · ${bytes(info.bytes)}${info.methods.length ? ` · ${info.methods.map((method) => method.name).join(", ")}` : ""}`;
  }

  async function counts() {
    info = await about(collection);
    tell();
    const show = parse().params.get("show");
    put(
      views,
      mayWrite() && button("upload", "Add pictures", () => files.click(), { class: "primary" }),
      mayWrite() && button("folder", "Add a folder", () => folder.click()),
      info.failures || show
        ? h("a", { class: "button", href: changed(parse(), { show: show ? null : "failures" }) }, show ? "Back to the pictures" : count(info.failures, "failure"))
        : null,
      mayWrite() && collection !== session.info.default_collection && button("trash", "Delete the collection", removeAll, { quiet: true }),
    );
  }

  async function removeAll() {
    const gone = await dialogue(`Delete the collection ${collection}?`, (close) => {
      const input = h("input", { required: true, autocomplete: "off", spellcheck: "false" });
      const said = h("div", {});
      return h(
        "form",
        {
          class: "stack",
          onsubmit: async (event) => {
            event.preventDefault();
            try {
              await send(collectionPath(collection, query({ confirm: input.value.trim() })), { method: "DELETE" });
              close(true);
            } catch (error) {
              put(said, problemBox(error));
            }
          },
        },
        h("p", {}, `${count(info.images, "picture")} of it can then no longer be searched, and there is no way back. Picture files elsewhere are not touched.`),
        h("label", {}, "Type its name to confirm", input),
        said,
        h("div", { class: "row end" }, h("button", { class: "danger" }, "Delete it for good")),
      );
    });
    if (!gone) return;
    queues.delete(collection);
    session.collection = session.info.default_collection;
    await begin();
    go(link("library", session.collection));
    toast(`The collection ${collection} is deleted.`);
  }

  async function update(route) {
    await counts();
    const params = { contains: route.params.get("contains"), filter: route.params.get("filter") };
    contains.value = document.activeElement === contains ? contains.value : (params.contains ?? "");
    filter.value = document.activeElement === filter ? filter.value : (params.filter ?? "");
    const key = JSON.stringify([params, route.params.get("show")]);
    if (shownFor === key) return;
    shownFor = key;
    pages?.end();
    pages = null;
    form.hidden = route.params.get("show") === "failures";
    if (form.hidden) {
      await failuresList(collection, below);
      return;
    }
    const asked = { contains: params.contains, filter: params.filter ? JSON.stringify(filterOf(params.filter)) : null };
    pages = grid(collection, asked, {
      onchange: (by) => {
        info.images += by;
        tell();
      },
      onend: (length, first, next) => {
        if (!first) return;
        const filtered = asked.contains || asked.filter;
        if (filtered) announce(next ? `More than ${length} pictures` : count(length, "picture"));
        if (length) return;
        put(
          below,
          h(
            "div",
            { class: "quiet" },
            h("p", {}, filtered ? "No picture passes this filter." : "This collection is empty."),
            !filtered && mayWrite() ? h("p", {}, "Drop pictures or folders here to add them.") : null,
          ),
        );
      },
    });
    put(below, pages.element);
  }

  put(
    main,
    h("div", { class: "library" }, h("header", { class: "verdict" }, h("div", {}, heading, sub), views), files, folder, queue.element, form, below),
  );
  return {
    update,
    add,
    again() {
      shownFor = null;
      return update(parse());
    },
    end: () => pages?.end(),
  };
};

export const libraryView = {
  enter(main) {
    page = library(main);
  },
  update: (route) => page.update(route),
  leave() {
    page.end();
    page = null;
  },
  async drop(transfer) {
    if (!mayWrite()) return toast("With this key nothing can be added.");
    return page.add(await filesOf(transfer));
  },
};

