/** How a picture to ask with comes in: dropped, pasted, picked, by its address, from the camera. */

import { announce, button, dialogue, h, icon, put, toast } from "./dom.js";
import { session } from "./session.js";

const address = (text) => (/^https?:\/\/\S+$/i.test(text.trim()) ? text.trim() : null);

/** A query from what was dropped or pasted. @returns {{kind: "file", file: File} | {kind: "url", url: string} | null} */
export function queryOf(transfer) {
  const files = [...transfer.files];
  const file = files.find((each) => each.type.startsWith("image/")) ?? files[0];
  if (file) {
    if (files.length > 1) toast(`One picture at a time: this is ${file.name}.`);
    return { kind: "file", file };
  }
  const url = address(transfer.getData("text/uri-list").split("\n")[0] || transfer.getData("text/plain"));
  if (url && session.info.url_queries) return { kind: "url", url };
  toast(url ? "This server fetches no pictures from the web: save it, and drop the file." : "There is no picture in that.");
  return null;
}

async function paste(onquery) {
  try {
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((each) => each.startsWith("image/"));
      if (type) return onquery({ kind: "file", file: new File([await item.getType(type)], "pasted", { type }) });
      if (item.types.includes("text/plain")) {
        const url = address(await (await item.getType("text/plain")).text());
        if (url && session.info.url_queries) return onquery({ kind: "url", url });
      }
    }
    return toast("There is no picture in the clipboard.");
  } catch {
    return toast("The browser does not let this button read the clipboard: press Ctrl+V (⌘V) instead.");
  }
}

async function camera(onquery) {
  let stream = null;
  const file = await dialogue("Take a picture", (close) => {
    const video = h("video", { autoplay: true, muted: true, playsinline: true, "aria-label": "What the camera sees" });
    const said = h("p", { class: "small", role: "status" }, "Waiting for the camera…");
    const take = button("camera", "Take it", async () => {
      const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
      canvas.getContext("2d").drawImage(video, 0, 0);
      canvas.toBlob((blob) => close(new File([blob], "camera.jpg", { type: "image/jpeg" })), "image/jpeg", 0.92);
    }, { class: "primary", disabled: true });
    navigator.mediaDevices
      .getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 } } })
      .then((found) => {
        stream = found;
        video.srcObject = found;
        video.onplaying = () => {
          take.disabled = false;
          put(said);
          announce("The camera is ready");
        };
      })
      .catch((error) => put(said, error.name === "NotAllowedError" ? "The camera was not allowed." : `No camera: ${error.message}`));
    return [h("div", { class: "video" }, video), said, h("div", { class: "row end" }, take)];
  }, { wide: true });
  stream?.getTracks().forEach((track) => track.stop());
  if (file) onquery({ kind: "file", file });
}

/** The ways in, as buttons. */
export function ways(onquery) {
  const input = h("input", {
    type: "file",
    accept: "image/*,.heic,.heif,.avif,.tif,.tiff",
    class: "hidden",
    tabindex: "-1",
    "aria-hidden": "true",
    onchange: () => {
      if (input.files[0]) onquery({ kind: "file", file: input.files[0] });
      input.value = "";
    },
  });
  const url = h("input", { type: "url", name: "url", required: true, placeholder: "https://…", "aria-label": "Address of a picture", autocomplete: "off" });
  const form = h(
    "form",
    {
      class: "row url",
      hidden: true,
      onsubmit: (event) => {
        event.preventDefault();
        onquery({ kind: "url", url: url.value.trim() });
      },
    },
    url,
    h("button", {}, "Search"),
  );
  const byUrl = button("link", "Address", () => {
    form.hidden = !form.hidden;
    byUrl.setAttribute("aria-expanded", String(!form.hidden));
    if (!form.hidden) url.focus();
  }, { "aria-expanded": "false" });
  return h(
    "div",
    { class: "ways" },
    h(
      "div",
      { class: "row" },
      button("upload", "Choose a picture", () => input.click(), { class: "primary" }),
      button("paste", "Paste", () => paste(onquery)),
      session.info.url_queries && byUrl,
      navigator.mediaDevices && button("camera", "Camera", () => camera(onquery)),
    ),
    form,
    input,
  );
}

export const dropZone = (onquery) =>
  h(
    "div",
    { class: "zone" },
    icon("upload"),
    h("p", { class: "lead" }, "Drop a picture here, or paste one"),
    ways(onquery),
  );
