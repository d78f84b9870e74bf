/** Where a query image comes from: drop, paste, file, URL or camera. */

import { announce, button, h, icon, openDialog, put, textInput, toast } from "./dom.js";
import { acceptedFiles, session } from "./session.js";
import { t } from "./texts.js";

/** @typedef {object} Query
 * @property {"file" | "url" | "id" | "handle"} kind `handle`: the upload of a stored search result
 * @property {string} value the URL, id or handle; for a file its name
 * @property {File} [file]
 * @property {string} [preview] what shows it
 * @property {[number, number]} [size] in pixels
 * @property {Rest.Image} [image] of an id */

/** @typedef {(queries: Query[]) => void} OnQuery */

const MOST = 50; // images at once

/** @param {File} file @returns {Query} */
const fileQuery = (file) => ({ kind: "file", value: file.name, file });

/** @param {string} text @returns {Query | null} */
function urlQuery(text) {
  const value = text.trim();
  return /^https?:\/\/\S+$/i.test(value) ? { kind: "url", value } : null;
}

/** One query for each file.
 * @param {File[]} files */
function fileQueries(files) {
  if (files.length > MOST) toast(t("query.most", { count: MOST }));
  return files.slice(0, MOST).map(fileQuery);
}

/** The queries in what was dropped or pasted; a notice says why there are none.
 * @param {DataTransfer} transfer
 * @returns {Query[]} */
export function queriesOf(transfer) {
  const files = [...transfer.files];
  if (files.length) {
    const images = files.filter((each) => each.type.startsWith("image/"));
    return fileQueries(images.length ? images : files.slice(0, 1));
  }
  const url = urlQuery(transfer.getData("text/uri-list").split("\n")[0] || transfer.getData("text/plain"));
  if (url && session.info.url_queries) return [url];
  toast(url ? t("query.no-downloads") : t("query.no-image"));
  return [];
}

/** @param {OnQuery} onquery */
async function paste(onquery) {
  try {
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((each) => each.startsWith("image/"));
      if (type) return onquery([fileQuery(new File([await item.getType(type)], t("query.pasted"), { type }))]);
      if (item.types.includes("text/plain")) {
        const url = urlQuery(await (await item.getType("text/plain")).text());
        if (url && session.info.url_queries) return onquery([url]);
      }
    }
    toast(t("query.clipboard-empty"));
  } catch {
    toast(t("query.clipboard-blocked"));
  }
}

/** @param {HTMLVideoElement} video @returns {Promise<File>} */
function photo(video) {
  const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d")?.drawImage(video, 0, 0);
  return new Promise((resolve, reject) => {
    canvas.toBlob(
      (blob) =>
        blob
          ? resolve(new File([blob], t("query.photo"), { type: "image/jpeg" }))
          : reject(new Error(t("camera.not-encoded"))),
      "image/jpeg",
      0.92,
    );
  });
}

/** @param {OnQuery} onquery */
async function camera(onquery) {
  /** @type {MediaStream | null} */
  let stream = null;
  let closed = false;
  const file = await openDialog(
    t("camera.title"),
    /** @param {(file: File) => void} close */
    (close) => {
      const video = h("video", {
        autoplay: true,
        muted: true,
        playsinline: true,
        "aria-label": t("camera.label"),
      });
      const status = h("p", { class: "small", role: "status" }, t("camera.starting"));
      const take = button("camera", t("camera.take"), async () => close(await photo(video)), {
        class: "primary",
        disabled: true,
      });
      video.addEventListener("playing", () => {
        take.disabled = false;
        put(status);
        announce(t("camera.ready"));
      });
      navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 } } }).then(
        (found) => {
          stream = found;
          if (closed) return stop(found);
          video.srcObject = found;
        },
        (error) => {
          const denied = error.name === "NotAllowedError";
          put(status, denied ? t("camera.denied") : t("camera.missing", { reason: error.message }));
        },
      );
      return [h("div", { class: "video" }, video), status, h("div", { class: "row end" }, take)];
    },
    { wide: true },
  );
  closed = true;
  if (stream) stop(stream);
  if (file) onquery([fileQuery(file)]);
}

/** @param {MediaStream} stream */
function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}

/** Buttons for every source of a query image.
 * @param {OnQuery} onquery */
export function querySources(onquery) {
  const input = h("input", {
    type: "file",
    accept: acceptedFiles(),
    multiple: true,
    class: "hidden",
    tabindex: "-1",
    "aria-hidden": "true",
  });
  input.addEventListener("change", () => {
    if (input.files?.length) onquery(fileQueries([...input.files]));
    input.value = "";
  });
  const url = textInput({
    type: "url",
    name: "url",
    required: true,
    placeholder: "https://…",
    "aria-label": t("query.url-label"),
  });
  const form = h("form", { class: "row url-form", hidden: true }, url, h("button", {}, t("query.search")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    onquery([{ kind: "url", value: url.value.trim() }]);
  });
  const toggle = button("link", t("query.url"), () => {}, { "aria-expanded": "false" });
  toggle.addEventListener("click", () => {
    form.hidden = !form.hidden;
    toggle.setAttribute("aria-expanded", String(!form.hidden));
    if (!form.hidden) url.focus();
  });
  return h(
    "div",
    { class: "sources" },
    h(
      "div",
      { class: "row" },
      button("upload", t("query.choose"), () => input.click(), { class: "primary" }),
      button("paste", t("query.paste"), () => paste(onquery)),
      session.info.url_queries && toggle,
      Boolean(navigator.mediaDevices) && button("camera", t("query.camera"), () => camera(onquery)),
    ),
    form,
    input,
  );
}

/** @param {OnQuery} onquery */
export const dropZone = (onquery) =>
  h(
    "div",
    { class: "drop-zone" },
    icon("upload"),
    h("p", { class: "lead" }, t("query.drop")),
    querySources(onquery),
  );
