/** Searching: one question at a time, its options, its answer, and the way back to earlier ones. */

import { Problem, collectionPath, get, post, quote, send } from "./api.js";
import { dropZone, queryOf, ways } from "./ask.js";
import { columns } from "./columns.js";
import { announce, button, h, icon, problemBox, put, toast } from "./dom.js";
import { best, picture, show as showPicture } from "./images.js";
import { inspect } from "./inspector.js";
import { partOf } from "./part.js";
import { answer } from "./results.js";
import { build, changed, go, link, parse } from "./route.js";
import { about, mayWrite, method, session } from "./session.js";
import { count, filterOf, short } from "./words.js";

const ALL = "all";
const NUMBERS = [3, 10, 30, 100];
const KEPT = 20;
const AT_ONCE = 2;

/** Earlier answers, so that going back asks nothing again: key -> what was asked and answered. */
const kept = new Map();

const EXPIRED = {
  title: "This result is no longer kept",
  detail: "The link leads to the answer to an uploaded picture. Such pictures are kept for a while only, and then deleted.",
  hint: "Search again with the picture, if you have it.",
};

const root = h("div", { class: "search" });
const panel = h("section", { class: "ask", "aria-label": "Query" });
const said = h("section", { class: "answer", "aria-label": "Answer" });

let options = { method: "auto", k: 10, filter: "", mode: "" };
let info = null;
let now = blank();
let running = null;
let opened = null;

function blank() {
  return { query: null, results: null, box: null, key: null };
}

/** The address of a question, without what is opened in its answer. */
const keyOf = (route) => changed(route, { hit: null, of: null });

const methodsHere = () => info.methods.map((each) => each.name);

function remember() {
  kept.set(now.key, { ...now, options: { ...options } });
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
}

function recall(key) {
  const { options: then, ...rest } = kept.get(key);
  options = { ...then };
  now = rest;
  render();
}

// What is asked

function body(query, name, file, size) {
  const filter = filterOf(options.filter);
  const box = now.box && size ? now.box.map((value, index) => value * size[index % 2]) : null;
  const shared = { method: name, k: options.k, ...(options.mode ? { mode: options.mode } : {}) };
  if (!file) {
    const what = query.kind === "id" ? { id: query.id } : { url: query.url };
    return { ...what, ...shared, ...(box ? { boxes: [box] } : {}), ...(filter ? { filter } : {}) };
  }
  const form = new FormData();
  form.append("image", file, file.name || "query");
  for (const [key, value] of Object.entries(shared)) form.append(key, value);
  if (box) form.append("box", box.join(","));
  if (filter) form.append("filter", JSON.stringify(filter));
  return form;
}

/** The file to send, and the size that a box refers to. */
async function sent(query, signal) {
  if (query.kind === "handle" && !query.file) {
    const blob = await (await send(`v1/explanations/${query.handle}/query`, { signal })).blob();
    query.file = new File([blob], "query.jpg", { type: blob.type });
    query.size = null; // the server's copy may be smaller than the picture was
  }
  if (!now.box) return [query.file, null];
  if (query.file && !query.size) {
    const bitmap = await createImageBitmap(query.file);
    query.size = [bitmap.width, bitmap.height];
    bitmap.close();
  }
  return [query.file, query.size];
}

async function run(query, { key = null } = {}) {
  running?.abort();
  const mine = (running = new AbortController());
  const box = now.query === query || key ? now.box : null;
  now = { query, box, results: null, key: null };
  panelFor();
  progress(mine);
  scrollTo(0, 0);
  const names = options.method === ALL ? methodsHere() : [options.method];
  try {
    if (query.kind === "id" && !query.image) {
      query.image = await get(collectionPath(session.collection, `/images/${quote(query.id)}`), { signal: mine.signal });
      query.size = [query.image.width, query.image.height];
      preview();
    }
    const [file, size] = await sent(query, mine.signal);
    const results = [];
    const ask = async (name, place) => {
      results[place] = await post(collectionPath(session.collection, "/search"), body(query, name, file, size), { signal: mine.signal });
    };
    // A few at once: the server has others to answer, too.
    const waiting = names.map((name, place) => [name, place]);
    const worker = async () => {
      while (waiting.length) await ask(...waiting.shift());
    };
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, names.length) }, worker));
    if (running !== mine) return;
    running = null;
    query.size ??= [results[0].query.width, results[0].query.height];
    // A server that keeps no answers gives no handles: then there is nothing to link to.
    const handles = results.map((result) => result.explanations?.handle);
    const hash = key ?? (handles[0] ? build({ handles, params: new URLSearchParams() }) : location.hash);
    now = { query, results, box, key: hash };
    remember();
    go(hash);
    render();
  } catch (error) {
    if (running === mine) running = null;
    if (mine.signal.aborted) {
      if (!running) put(said, h("div", { class: "quiet" }, h("p", {}, "The search was cancelled."), button("again", "Search again", () => run(query, { key }))));
      return;
    }
    announce("The search failed");
    put(said, problemBox(error, () => run(query, { key }), "h1"));
  }
}

function progress(control) {
  const since = Date.now();
  const clock = h("span", { "aria-hidden": "true" });
  put(
    said,
    h(
      "div",
      { class: "progress", "aria-busy": "true" },
      h("p", { role: "status" }, `Searching ${count(info.images, "picture")}… `, clock),
      h("progress", { "aria-label": "Searching" }),
      button("close", "Cancel", () => control.abort()),
    ),
  );
  const timer = setInterval(() => {
    if (running !== control) return clearInterval(timer);
    clock.textContent = `${Math.floor((Date.now() - since) / 1000)} s`;
  }, 500);
}

/** Asks with another picture, or the same one otherwise. Stored ones and addresses have an address of their own. */
function ask(query) {
  if (query.kind === "file" && query !== now.query) {
    now.box = null;
    query.preview = URL.createObjectURL(query.file);
  }
  if (query.kind === "file" || query.kind === "handle") return run(query);
  const params = {
    [query.kind]: query[query.kind],
    method: options.method === "auto" ? "" : options.method,
    k: options.k === 10 ? "" : options.k,
    filter: options.filter,
    mode: options.mode,
    box: now.query === query && now.box ? now.box.map((value) => value.toFixed(4)).join(",") : "",
  };
  const hash = link("search", session.collection, params);
  return hash === now.key ? run(query, { key: hash }) : go(hash);
}

const askAgain = () => now.query && ask(now.query);

function fromRoute(route) {
  const { params } = route;
  options.method = params.get("method") ?? "auto";
  options.k = Number(params.get("k")) || 10;
  options.filter = params.get("filter") ?? "";
  options.mode = params.get("mode") ?? "";
  const box = params.get("box")?.split(",").map(Number);
  now.box = box?.length === 4 && box.every((value) => value >= 0 && value <= 1) ? box : null;
  const [kind, value] = params.has("id") ? ["id", params.get("id")] : ["url", params.get("url")];
  const same = now.query?.kind === kind && now.query[kind] === value;
  return same ? now.query : { kind, [kind]: value };
}

async function fetchResults(route) {
  put(said, h("p", { class: "wait" }, "One moment…"));
  let results;
  try {
    results = await Promise.all(route.handles.map((handle) => get(`v1/explanations/${encodeURIComponent(handle)}`)));
  } catch (error) {
    throw error.code === "unknown_handle" ? new Problem({ ...EXPIRED, code: error.code, request_id: error.requestId }) : error;
  }
  const [first] = results;
  if (first.collection !== session.collection) {
    session.collection = first.collection;
    info = await about(session.collection);
  }
  options.method = results.length > 1 ? ALL : first.method;
  const { width, height, id } = first.query;
  const box = first.boxes[0]?.map((value, index) => value / (index % 2 ? height : width)) ?? null;
  const handle = first.explanations.handle;
  const query = id ? { kind: "id", id, size: [width, height] } : { kind: "handle", handle, size: [width, height] };
  query.preview = `v1/explanations/${handle}/query`;
  now = { query, results, box, key: keyOf(route) };
  remember();
  render();
}

// What is shown

/** Beside the answer there is room for the options; above it they are folded away. */
const wide = matchMedia("(min-width: 56rem)");
wide.addEventListener("change", () => {
  const more = panel.querySelector(".more");
  if (more) more.open = wide.matches;
});

let image = null;
let frame = null;
let part = null;
let partButtons = null;

function preview() {
  const { query, results } = now;
  const path =
    query.kind === "id" && query.image
      ? best(query.image)
      : (!query.unseen && query.preview) || (results?.[0].explanations && `v1/explanations/${results[0].explanations.handle}/query`);
  frame.hidden = !path;
  if (path && image.dataset.shows !== path) {
    image.dataset.shows = path;
    showPicture(image, path);
  }
}

function boxButtons() {
  put(
    partButtons,
    now.box && button("search", "Search this part", askAgain, { class: "primary" }),
    now.box
      ? button("close", "Whole picture", () => {
          now.box = null;
          part.set(null);
          boxButtons();
          if (now.results?.[0].boxes.length) askAgain();
        })
      : button("box", "Search a part of it", () => {
          part.arm(true);
          part.begin();
        }),
  );
}

/** Of an empty collection there is nothing to ask. */
function invitation() {
  return [
    h("h1", { tabindex: "-1" }, "There are no pictures here yet"),
    h("p", {}, "Add those that shall be searched. Then ask which of them another picture is."),
    mayWrite()
      ? h("p", {}, h("a", { href: link("library", session.collection), class: "button primary" }, icon("upload"), h("span", {}, "Add pictures")))
      : h("p", {}, "This key may only search; to add pictures takes one that may write."),
    h("p", { class: "small" }, "Whole folders of the server's machine: ", h("a", { href: "#/jobs" }, "as a job"), ", or there by the command ", h("code", {}, "imagefinder add FOLDER"), "."),
  ];
}

function panelFor() {
  root.classList.toggle("asked", Boolean(now.query));
  if (!now.query && !info.images) {
    put(panel, h("div", { class: "quiet" }, invitation()));
    return;
  }
  if (!now.query) {
    put(panel, h("h1", { tabindex: "-1" }, "Which of these pictures is it?"), dropZone(ask), optionsForm());
    return;
  }
  const { query } = now;
  image = picture(null, "The picture that is asked with", { loading: "eager" });
  image.addEventListener("error", () => {
    if (query.kind === "file" && query.unseen !== true) {
      query.unseen = true; // a kind of file that the browser cannot show; the server's copy can be
      preview();
    }
  });
  image.addEventListener("load", () => frame.classList.add("ready"));
  frame = h("div", { class: "frame", hidden: true }, image);
  partButtons = h("div", { class: "row" });
  part = partOf(frame, {
    onchange: (box) => {
      now.box = box;
      boxButtons();
    },
    onenter: askAgain,
  });
  part.set(now.box);
  const name = { file: query.file?.name, id: query.id, url: query.url, handle: "A picture that was uploaded" }[query.kind];
  put(
    panel,
    h(
      "div",
      { class: "query" },
      frame,
      h("p", { class: "name", title: name }, query.kind === "id" ? short(name) : name),
      partButtons,
    ),
    h(
      "details",
      { class: "more", open: wide.matches },
      h("summary", {}, "Method, filter, another picture"),
      optionsForm(),
      h("details", { class: "another" }, h("summary", {}, "Another picture"), ways(ask)),
    ),
  );
  boxButtons();
  preview();
}

function optionsForm() {
  const choose = (name, value) => {
    options[name] = value;
    askAgain();
  };
  const methods = h(
    "select",
    { onchange: () => choose("method", methods.value) },
    h("option", { value: "auto" }, "All together"),
    methodsHere().map((name) => h("option", { value: name, disabled: method(name)?.ready === false }, name)),
    methodsHere().length > 1 && h("option", { value: ALL }, "Side by side"),
  );
  methods.value = options.method;
  const numbers = h(
    "select",
    { onchange: () => choose("k", Number(numbers.value)) },
    [...new Set([...NUMBERS, options.k])].sort((a, b) => a - b).filter((n) => n <= session.limits.max_k).map((n) => h("option", { value: n, selected: n === options.k }, n)),
  );
  const mode = h(
    "select",
    { onchange: () => choose("mode", mode.value) },
    [["", "Automatic"], ["exact", "Every picture is scored"], ["fast", "A shortlist is scored"]].map(([value, word]) => h("option", { value, selected: value === options.mode }, word)),
  );
  const filter = h("input", {
    value: options.filter,
    placeholder: "kind=cat year=1999",
    autocomplete: "off",
    "aria-describedby": "filter-help",
    onchange: () => {
      try {
        filterOf(filter.value);
        filter.setCustomValidity("");
        choose("filter", filter.value.trim());
      } catch (error) {
        filter.setCustomValidity(error.message);
        filter.reportValidity();
      }
    },
  });
  return h(
    "form",
    { class: "options", onsubmit: (event) => event.preventDefault() },
    h("div", { class: "pair" }, h("label", {}, "Method", methods), h("label", {}, "Results", numbers)),
    h(
      "details",
      { open: Boolean(options.filter || options.mode) },
      h("summary", {}, "Filter and mode"),
      h("label", {}, "Only pictures whose metadata say", filter),
      h("p", { class: "small", id: "filter-help" }, "name=value, several with a space between; or JSON"),
      h("label", {}, "Mode", mode),
    ),
  );
}

async function beginning() {
  put(said);
  if (!info.images) return;
  const { images } = await get(collectionPath(session.collection, "/images?limit=12"));
  if (now.query) return;
  put(
    said,
    h("h2", {}, "Or ask with one of this collection"),
    h("ul", { class: "strip" }, images.map((each) => h("li", {}, h("a", { href: link("search", session.collection, { id: each.id }) }, picture(each.thumbnail, `Search by ${each.id}`, { width: each.width, height: each.height }))))),
    h("p", {}, h("a", { href: link("library", session.collection) }, `All ${count(info.images, "picture")}`)),
  );
}

function render() {
  panelFor();
  if (!now.query) return beginning();
  const { results } = now;
  const route = parse();
  const hrefOf = ({ explanations }, hit) =>
    explanations && changed(route, { hit: hit.id, of: results.length > 1 ? explanations.handle : null });
  const by = (id) => link("search", session.collection, { id });
  put(said, results.length > 1 ? columns(results, { hrefOf }) : answer(results[0], { hrefOf, by, kind: now.query.kind }));
  announce(said.querySelector("h1")?.textContent ?? "");
  return null;
}

function entriesOf(result) {
  const { handle } = result.explanations;
  return result.hits.map((hit) => ({
    id: hit.id,
    hit,
    image: hit.image,
    query: { path: now.query.kind === "file" && !now.query.unseen ? now.query.preview : `v1/explanations/${handle}/query`, size: [result.query.width, result.query.height] },
    methods: Object.keys(result.fingerprints),
    explain: (name, signal) => get(`v1/explanations/${handle}/images/${quote(hit.id)}?method=${encodeURIComponent(name)}`, { signal }),
    drawing: (name) => `v1/explanations/${handle}/drawings/${quote(hit.id)}?method=${encodeURIComponent(name)}`,
  }));
}

function syncInspector(route) {
  const id = route.params.get("hit");
  const result = id && now.results?.find((each) => [null, each.explanations?.handle].includes(route.params.get("of")));
  const index = result ? result.hits.findIndex((hit) => hit.id === id) : -1;
  if (index < 0) {
    opened?.close();
    opened = null;
    return;
  }
  if (opened?.result === result) return void opened.to(index);
  opened?.close();
  const inside = history.state?.inside;
  opened = inspect(entriesOf(result), index, {
    onmove: (next) => go(changed(parse(), { hit: result.hits[next].id }), { replace: true }),
    onclose: () => {
      opened = null;
      if (!parse().params.has("hit")) return;
      if (inside) history.back();
      else go(keyOf(parse()), { replace: true });
    },
  });
  opened.result = result;
}

function handedOver(transfer) {
  const query = queryOf(transfer);
  if (query && info.images) ask(query);
  else if (query) toast("There is nothing to search yet. Under Collection, pictures can be added.");
}

export const searchView = {
  async enter(main) {
    main.append(root);
    info = await about(session.collection);
    put(root, panel, said);
    if (now.results && now.results[0].collection !== session.collection) now = blank();
  },

  async update(route) {
    const key = keyOf(route);
    const asked = route.handles || route.params.has("id") || route.params.has("url");
    if (!asked) {
      if (now.key || !panel.firstChild || (now.query && !running && !now.results)) {
        running?.abort();
        running = null;
        now = blank();
      }
      if (!now.query) render();
    } else if (now.key !== key || !panel.firstChild) {
      if (kept.has(key)) recall(key);
      else if (route.handles) {
        running?.abort();
        running = null;
        await fetchResults(route);
      } else {
        const query = fromRoute(route);
        run(query, { key });
      }
    }
    syncInspector(route);
  },

  leave() {
    opened?.close();
    opened = null;
  },

  drop: handedOver,
  paste: handedOver,
};
