/** Uploads images to a collection: files and folders, a few at a time, each with its state, and retries. */

import { Problem, get, imagePath, sleep, upload } from "./api.js";
import { announce, button, h, isAbort, put } from "./dom.js";
import { bytes } from "./format.js";
import { session } from "./session.js";
import { t } from "./texts.js";

/** A file with the id under which it is added.
 * @typedef {{file: File, id: string}} Named */

/** @typedef {keyof typeof STATES} State */

/** @typedef {object} Item
 * @property {File} file
 * @property {string} id
 * @property {State} state
 * @property {boolean} replace also an image that exists
 * @property {HTMLProgressElement} bar
 * @property {HTMLElement} label
 * @property {HTMLElement} row */

const CONCURRENT = 3;
const ATTEMPTS = 5;
const MAX_ROWS = 200;

const STATES = {
  queued: t("upload.queued"),
  uploading: t("upload.uploading"),
  indexing: t("upload.indexing"),
  busy: t("upload.busy"),
  added: t("upload.added"),
  replaced: t("upload.replaced"),
  existing: t("upload.existing"),
  failed: t("upload.failed"),
  cancelled: t("upload.cancelled"),
};
/** @type {State[]} */
const FINAL = ["added", "replaced", "existing", "failed", "cancelled"];

/** @param {File} file */
const isImage = (file) =>
  file.type.startsWith("image/") ||
  session.info.image_suffixes.includes(file.name.split(".").pop()?.toLowerCase() ?? "");

/** All files in an entry and below it.
 * @param {FileSystemEntry} entry @returns {Promise<Named[]>} */
async function filesBelow(entry) {
  if (entry.isFile) {
    const { fullPath } = entry;
    /** @type {File} */
    const file = await new Promise((resolve, reject) =>
      /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject),
    );
    return [{ file, id: fullPath.replace(/^\//, "") }];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const found = [];
  for (;;) {
    // A reader returns some entries at a time, and none at its end.
    /** @type {FileSystemEntry[]} */
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return found;
    for (const each of entries) found.push(...(await filesBelow(each)));
  }
}

/** All dropped files, including those in dropped folders.
 * @param {DataTransfer} transfer @returns {Promise<Named[]>} */
export async function droppedFiles(transfer) {
  const entries = [...transfer.items].flatMap((item) => item.webkitGetAsEntry?.() ?? []);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, id: file.name }));
  return (await Promise.all(entries.map(filesBelow))).flat();
}

/** @param {HTMLInputElement} input */
export const chosenFiles = (input) =>
  [...(input.files ?? [])].map((file) => ({ file, id: file.webkitRelativePath || file.name }));

/** A collection's upload queue. It continues while other views are open.
 * @param {string} collection
 * @param {() => void} onadded called when the queue is empty */
export function createUploads(collection, onadded) {
  const queue = {
    /** @type {Item[]} */
    items: [],
    workers: 0,
    skipped: 0,
    control: new AbortController(),
  };
  const bar = h("progress", { max: 1, value: 0, "aria-label": t("upload.all-files") });
  const summary = h("p", {});
  const rows = h("ul", { class: "uploads", role: "list" });
  const replace = h("input", { type: "checkbox" });
  const buttons = h("div", { class: "row" });
  const element = h(
    "section",
    { class: "card tray", hidden: true, "aria-label": t("upload.title") },
    h("h2", {}, t("upload.title")),
    summary,
    bar,
    buttons,
    rows,
    h("label", { class: "check" }, replace, t("upload.replace-option")),
    h(
      "p",
      { class: "small" },
      session.info.keep_originals ? t("upload.keeps-originals") : t("upload.keeps-previews"),
    ),
  );

  /** @param {State} state */
  const countOf = (state) => queue.items.filter((item) => item.state === state).length;

  function renderSummary() {
    const { items, skipped } = queue;
    const done = FINAL.reduce((sum, state) => sum + countOf(state), 0);
    const ended = done === items.length;
    bar.max = items.length || 1;
    bar.value = done;
    const parts = FINAL.flatMap((state) => {
      const number = countOf(state);
      return number ? t("upload.state-count", { count: number, state: STATES[state] }) : [];
    });
    const progress = t("upload.progress", { done, count: items.length });
    const states = parts.length ? `${progress}: ${parts.join(", ")}` : progress;
    const others = skipped && t("upload.skipped", { count: skipped });
    summary.textContent = [states, others].filter(Boolean).join(". ");
    put(
      buttons,
      !ended && button("close", t("page.cancel"), () => queue.control.abort()),
      ended && countOf("failed") + countOf("cancelled") > 0 && button("again", t("upload.retry"), retryFailed),
      ended && countOf("existing") > 0 && button(null, t("upload.replace-existing"), replaceExisting),
      ended && button(null, t("upload.done"), clear),
    );
  }

  function clear() {
    queue.items = [];
    queue.skipped = 0;
    put(rows);
    element.hidden = true;
  }

  /** @param {Named} named @returns {Item} */
  function createItem({ file, id }) {
    const itemBar = h("progress", { max: 1, value: 0, "aria-label": id, hidden: true });
    const label = h("span", { class: "state" }, STATES.queued);
    const row = h(
      "li",
      { "data-state": "queued" },
      h("span", { class: "id", title: id }, id),
      h("span", { class: "small" }, bytes(file.size)),
      itemBar,
      label,
    );
    if (rows.children.length < MAX_ROWS) rows.append(row);
    return { file, id, state: "queued", replace: false, bar: itemBar, label, row };
  }

  /** @param {Item} item @param {State} state @param {string} [reason] */
  function setState(item, state, reason = "") {
    item.state = state;
    item.row.dataset.state = state;
    item.label.textContent = reason ? `${STATES[state]}: ${reason}` : STATES[state];
    item.bar.hidden = state !== "uploading" && state !== "indexing";
    // Of many files, those in progress and those that failed are listed first.
    if (state === "failed" || state === "uploading") rows.prepend(item.row);
    while (rows.children.length > MAX_ROWS) rows.lastChild?.remove();
    renderSummary();
  }

  /** @param {Item} item */
  async function exists(item) {
    if (replace.checked || item.replace) return false;
    try {
      await get(imagePath(collection, item.id), { signal: queue.control.signal });
      return true;
    } catch (error) {
      if (error instanceof Problem && error.status === 404) return false;
      throw error;
    }
  }

  /** Uploads a file once.
   * @param {Item} item @returns {Promise<State>} */
  async function uploadItem(item) {
    if (await exists(item)) return "existing";
    const status = await upload(imagePath(collection, item.id, { wait: "true" }), item.file, {
      signal: queue.control.signal,
      onprogress: (fraction) => {
        item.bar.value = fraction;
        if (fraction === 1 && item.state === "uploading") {
          item.bar.removeAttribute("value");
          setState(item, "indexing");
        }
      },
    });
    return status === 201 ? "added" : "replaced";
  }

  /** Uploads a file, again while the server is busy.
   * @param {Item} item */
  async function process(item) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        setState(item, "uploading");
        return setState(item, await uploadItem(item));
      } catch (error) {
        if (isAbort(error)) return setState(item, "cancelled");
        if (!(error instanceof Problem)) throw error;
        if (!error.retryable || attempt === ATTEMPTS) {
          return setState(item, "failed", [error.message, error.hint].filter(Boolean).join(" · "));
        }
        setState(item, "busy");
        try {
          await sleep(error.retryAfter || 2 ** attempt, queue.control.signal);
        } catch {
          return setState(item, "cancelled");
        }
      }
    }
  }

  /** Takes the next file from the queue. */
  function next() {
    const queued = queue.items.filter((item) => item.state === "queued");
    if (queue.control.signal.aborted) {
      for (const item of queued) setState(item, "cancelled");
      return null;
    }
    if (!queued.length) return null;
    queued[0].state = "uploading";
    return queued[0];
  }

  async function work() {
    queue.workers += 1;
    for (let item = next(); item; item = next()) await process(item);
    queue.workers -= 1;
    if (queue.workers > 0) return;
    announce(summary.textContent ?? "");
    onadded();
  }

  function start() {
    if (queue.control.signal.aborted) queue.control = new AbortController();
    element.hidden = false;
    renderSummary();
    const workers = Math.min(CONCURRENT, queue.workers + countOf("queued"));
    while (queue.workers < workers) work();
  }

  /** @param {State[]} states @param {boolean} replaceThem */
  function restart(states, replaceThem) {
    for (const item of queue.items) {
      if (!states.includes(item.state)) continue;
      item.replace = replaceThem;
      setState(item, "queued");
    }
    start();
  }

  const retryFailed = () => restart(["failed", "cancelled"], false);
  const replaceExisting = () => restart(["existing"], true);

  return {
    element,
    /** @param {Named[]} files @returns {boolean} whether there is an image among them */
    add(files) {
      const images = files.filter(({ file }) => isImage(file));
      if (!images.length) return false;
      queue.skipped += files.length - images.length;
      queue.items.push(...images.map(createItem));
      start();
      return true;
    },
  };
}
