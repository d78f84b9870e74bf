/** Adding pictures: files and folders, a few at a time, what became of each, and another try. */

import { collectionPath, get, quote, sleep, upload } from "./api.js";
import { announce, button, h, put } from "./dom.js";
import { bytes, count } from "./words.js";

const AT_ONCE = 3;
const PATIENCE = 5;
const ROWS = 200;
const PICTURE = /\.(jpe?g|jfif|png|webp|gif|tiff?|bmp|hei[cf]|avif)$/i;

const STATES = {
  waiting: "waiting",
  sending: "sending",
  working: "being indexed",
  busy: "the server is busy, waiting",
  added: "added",
  replaced: "replaced",
  there: "already there",
  failed: "failed",
  cancelled: "cancelled",
};

const isPicture = (file) => file.type.startsWith("image/") || PICTURE.test(file.name);

/** Everything below what was dropped. @returns {Promise<{file: File, id: string}[]>} */
export async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, id: file.name }));
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      found.push({ file, id: entry.fullPath.replace(/^\//, "") });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      // A reader gives some at a time, and none at its end.
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return;
      for (const each of some) await walk(each);
    }
  };
  for (const entry of entries) await walk(entry);
  return found;
}

export const filesOfInput = (input) => [...input.files].map((file) => ({ file, id: file.webkitRelativePath || file.name }));

/** A queue of one collection, with an element that shows it. It goes on while other views are looked at. */
export function uploads(collection, onadded) {
  let items = [];
  let working = 0;
  let control = new AbortController();
  let left = 0;
  let strangers = 0;
  const bar = h("progress", { max: 1, value: 0, "aria-label": "All files" });
  const words = h("p", {});
  const rows = h("ul", { class: "uploads", role: "list" });
  const replace = h("input", { type: "checkbox" });
  const buttons = h("div", { class: "row" });
  const element = h(
    "section",
    { class: "card tray", hidden: true, "aria-label": "Pictures being added" },
    h("h2", {}, "Adding"),
    words,
    bar,
    buttons,
    rows,
    h("label", { class: "check" }, replace, "Replace pictures that have the same name"),
  );

  const of = (state) => items.filter((item) => item.state === state).length;

  function tell() {
    const done = items.length - of("waiting") - of("sending") - of("working") - of("busy");
    bar.max = items.length || 1;
    bar.value = done;
    const parts = ["added", "replaced", "there", "failed", "cancelled"].map((state) => of(state) && `${of(state).toLocaleString("en")} ${STATES[state]}`).filter(Boolean);
    words.textContent = `${done.toLocaleString("en")} of ${count(items.length, "picture")}${parts.length ? `: ${parts.join(", ")}` : ""}${strangers ? `. ${count(strangers, "file")} left out: not pictures` : ""}`;
    const over = done === items.length;
    put(
      buttons,
      !over && button("close", "Cancel", () => control.abort()),
      over && of("failed") + of("cancelled") > 0 && button("again", "Try the failed ones again", retry),
      over && of("there") > 0 && button(null, "Replace those already there", replaceAll),
      over && button(null, "Done", () => {
        items = [];
        strangers = 0;
        put(rows);
        element.hidden = true;
      }),
    );
  }

  function rowOf(item) {
    item.bar = h("progress", { max: 1, value: 0, "aria-label": item.id });
    item.word = h("span", { class: "state" });
    item.row = h("li", { "data-state": item.state }, h("span", { class: "id", title: item.id }, item.id), h("span", { class: "small" }, bytes(item.file.size)), item.bar, item.word);
    if (rows.children.length < ROWS) rows.append(item.row);
  }

  function set(item, state, reason = "") {
    item.state = state;
    item.row.dataset.state = state;
    item.word.textContent = reason ? `${STATES[state]}: ${reason}` : STATES[state];
    item.bar.hidden = !["sending", "working"].includes(state);
    // Of many files those are listed that need a look.
    if (state === "failed" || state === "sending") rows.prepend(item.row);
    while (rows.children.length > ROWS) rows.lastChild.remove();
    tell();
  }

  async function isThere(item) {
    if (replace.checked || item.force) return false;
    try {
      await get(collectionPath(collection, `/images/${quote(item.id)}`), { signal: control.signal });
      return true;
    } catch (error) {
      if (error.status === 404) return false;
      throw error;
    }
  }

  async function one(item) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        set(item, "sending");
        if (await isThere(item)) return set(item, "there");
        const { status } = await upload(collectionPath(collection, `/images/${quote(item.id)}?wait=true`), item.file, {
          signal: control.signal,
          onprogress: (part) => {
            item.bar.value = part;
            if (part === 1 && item.state === "sending") {
              item.bar.removeAttribute("value");
              set(item, "working");
            }
          },
        });
        return set(item, status === 201 ? "added" : "replaced");
      } catch (error) {
        if (error.name === "AbortError") return set(item, "cancelled");
        if (!error.retryable || attempt === PATIENCE) return set(item, "failed", [error.message, error.hint].filter(Boolean).join(" · "));
        set(item, "busy");
        try {
          await sleep(error.retryAfter || 2 ** attempt, control.signal);
        } catch {
          return set(item, "cancelled");
        }
      }
    }
  }

  async function work() {
    working += 1;
    for (let item = next(); item; item = next()) await one(item);
    working -= 1;
    if (working === 0 && left > 0) {
      left = 0;
      announce(words.textContent);
      onadded();
    }
  }

  function next() {
    if (control.signal.aborted) for (const item of items) if (item.state === "waiting") set(item, "cancelled");
    const item = items.find(({ state }) => state === "waiting");
    if (item) item.state = "sending";
    return item;
  }

  function start() {
    if (control.signal.aborted) control = new AbortController();
    element.hidden = false;
    left = of("waiting");
    tell();
    while (working < Math.min(AT_ONCE, left)) work();
  }

  function again(states, force) {
    for (const item of items) {
      if (!states.includes(item.state)) continue;
      item.force = force;
      set(item, "waiting");
    }
    start();
  }

  const retry = () => again(["failed", "cancelled"], false);
  const replaceAll = () => again(["there"], true);

  return {
    element,
    add(files) {
      const pictures = files.filter(({ file }) => isPicture(file));
      strangers += files.length - pictures.length;
      for (const { file, id } of pictures) {
        const item = { file, id, state: "waiting", force: false };
        items.push(item);
        rowOf(item);
        item.word.textContent = STATES.waiting;
        item.bar.hidden = true;
      }
      if (!items.length) {
        strangers = 0;
        return false;
      }
      start();
      return true;
    },
  };
}
