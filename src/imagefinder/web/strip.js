/** The queries of this tab as a strip of pictures, one click from their results; those that wait are searched in turn. */

import { Problem, sleep } from "./api.js";
import { button, h, icon, isAbort, put } from "./dom.js";
import { fileName } from "./format.js";
import { imageElement } from "./images.js";
import { session } from "./session.js";
import { t } from "./texts.js";

/** @typedef {import("./query.js").Query} Query */

/** @typedef {object} Entry
 * @property {Query | null} query `null` after the page was loaded again
 * @property {string} collection in which it waits to be searched
 * @property {string} name
 * @property {string | null} preview
 * @property {string | null} key the route of its latest results
 * @property {"waiting" | "running" | "done" | "failed"} state
 * @property {number} matches found by the latest search */

const STORAGE = "imagefinder.queries";
const MOST = 60;
const ATTEMPTS = 4;

/** @type {Entry[]} oldest first */
const entries = read();

/** @returns {Entry[]} */
function read() {
  try {
    return JSON.parse(sessionStorage.getItem(STORAGE) ?? "[]").map((/** @type {Entry} */ entry) => ({
      ...entry,
      query: null,
    }));
  } catch {
    return [];
  }
}

function store() {
  const kept = entries.filter(({ key, preview }) => key && !preview?.startsWith("blob:"));
  sessionStorage.setItem(STORAGE, JSON.stringify(kept.map((entry) => ({ ...entry, query: undefined }))));
}

/** @param {Query} query @param {string | null} key */
const entryOf = (query, key) =>
  entries.find((entry) => entry.query === query) ??
  entries.find((entry) => key !== null && entry.key === key) ??
  entries.find(
    ({ query: other }) => query.kind !== "file" && other?.kind === query.kind && other.value === query.value,
  );

/** @param {Query} query */
function nameOf({ kind, value }) {
  if (kind === "handle") return t("query.uploaded");
  return kind === "id" ? fileName(value) : value;
}

/** Records what is known about a query.
 * @param {Query} query @param {Partial<Entry>} values */
export function note(query, values) {
  const found = entryOf(query, values.key ?? null);
  const { collection } = session;
  const entry = found ?? {
    ...{ query, collection, name: nameOf(query), preview: null, key: null },
    ...{ state: "waiting", matches: 0 },
  };
  Object.assign(entry, { query, preview: query.preview ?? entry.preview }, values);
  if (!found) entries.push(entry);
  if (entries.length > MOST) entries.shift();
  store();
}

/** @param {Entry} entry */
function label({ name, state, matches }) {
  if (state === "done") return t("strip.done", { name, matches: t("count.matches", { count: matches }) });
  if (state === "failed") return t("strip.failed", { name });
  return state === "running" ? t("strip.running", { name }) : t("strip.waiting", { name });
}

/** @param {Entry} entry */
function mark({ state, matches }) {
  if (state === "done") return matches ? String(matches) : icon("none");
  return state === "failed" ? icon("close") : "…";
}

/** @param {{open: (entry: Entry) => void, current: () => Query | null}} handlers */
export function createStrip({ open, current }) {
  const list = h("ol", { role: "list" });
  const element = h("nav", { class: "strip", "aria-label": t("strip.label"), hidden: true }, list);
  const clear = button("close", t("strip.clear"), forget, { quiet: true, class: "plain" });
  element.append(clear);
  let working = false;
  const control = new AbortController();

  function forget() {
    const shown = entries.find(({ query }) => query !== null && query === current());
    entries.splice(0, entries.length, ...(shown ? [shown] : []));
    store();
    render();
  }

  function render() {
    element.hidden = entries.length < 2;
    put(
      list,
      entries.map((entry) =>
        h(
          "li",
          {},
          h(
            "button",
            {
              type: "button",
              "data-state": entry.state,
              "aria-label": label(entry),
              title: entry.name,
              "aria-current": entry.query !== null && entry.query === current() ? "true" : null,
              onclick: () => open(entry),
            },
            imageElement(entry.preview, ""),
            h("span", { class: `mark ${entry.state} ${entry.matches ? "match" : ""}` }, mark(entry)),
          ),
        ),
      ),
    );
    list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** Searches with the queries that wait, one after the other.
   * @param {(query: Query, signal: AbortSignal) => Promise<void>} search records its result */
  async function work(search) {
    if (working) return;
    working = true;
    const { signal } = control;
    const next = () =>
      entries.find(
        ({ state, query, collection }) => state === "waiting" && query && collection === session.collection,
      );
    for (let entry = next(); entry && !signal.aborted; entry = next()) {
      const query = /** @type {Query} */ (entry.query);
      entry.state = "running";
      render();
      for (let attempt = 1; entry.state === "running"; attempt += 1) {
        try {
          await search(query, signal);
        } catch (error) {
          const again = error instanceof Problem && error.retryable && attempt < ATTEMPTS;
          if (isAbort(error)) entry.state = "waiting";
          else if (again) await sleep(error.retryAfter || 2 ** attempt);
          else entry.state = "failed";
        }
      }
      if (element.isConnected) render();
    }
    working = false;
  }

  return { element, render, work, close: () => control.abort() };
}
