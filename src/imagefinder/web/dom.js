/** Elements in one call. Text is always text: nothing a picture is called becomes markup. */

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "srcObject") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);

export const s = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

export const icon = (name) => s("svg", { class: "icon", "aria-hidden": "true" }, s("use", { href: `#i-${name}` }));

/** A button of an icon and a word; with `quiet` the word is its name only. */
export const button = (name, word, onclick, { quiet = false, ...properties } = {}) =>
  h(
    "button",
    { type: "button", onclick, ...(quiet ? { "aria-label": word, title: word } : {}), ...properties },
    name && icon(name),
    quiet ? null : h("span", {}, word),
  );

/** Tells a screen reader; the same words twice are told twice. */
export function announce(words) {
  const live = document.getElementById("live");
  live.textContent = "";
  setTimeout(() => (live.textContent = words), 50);
}

/** A notice at the foot of the page. It stays while it is looked at.
 * @returns {() => void} takes it away at once */
export function toast(words, { seconds = 6, action = null, onend = () => {}, kind = "" } = {}) {
  const box = h("div", { class: `toast ${kind}`, role: "status" }, h("p", {}, words));
  let left = seconds * 1000;
  let since = 0;
  let timer = 0;
  let over = false;
  const end = (reason) => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    box.remove();
    onend(reason);
  };
  const go = () => {
    since = Date.now();
    timer = setTimeout(() => end("time"), left);
  };
  const hold = () => {
    clearTimeout(timer);
    left = Math.max(1500, left - (Date.now() - since));
  };
  if (action) {
    box.append(
      h("button", { type: "button", class: "plain", onclick: () => (end("action"), action.run()) }, action.word),
    );
  }
  box.append(button("close", "Dismiss", () => end("dismissed"), { quiet: true, class: "plain" }));
  for (const name of ["pointerenter", "focusin"]) box.addEventListener(name, hold);
  for (const name of ["pointerleave", "focusout"]) box.addEventListener(name, go);
  document.getElementById("toasts").append(box);
  go();
  return () => end("withdrawn");
}

/** A modal dialogue; closes by Esc, by its button, or by the answer of `content`.
 * @param content takes `close(value)` and returns the children
 * @returns {Promise<any>} what it was closed with; `undefined` if it was dismissed */
export function dialogue(title, content, { wide = false } = {}) {
  return new Promise((resolve) => {
    let answer;
    const close = (value) => {
      answer = value;
      box.close();
    };
    const id = `title-${Math.random().toString(36).slice(2)}`;
    const box = h(
      "dialog",
      { class: wide ? "box wide" : "box", "aria-labelledby": id },
      h("header", {}, h("h2", { id }, title), button("close", "Close", () => close(), { quiet: true, class: "plain" })),
    );
    box.append(...[content(close)].flat());
    box.addEventListener("close", () => {
      box.remove();
      resolve(answer);
    });
    document.body.append(box);
    box.showModal();
  });
}

/** An error in words: what happened, what to do, and the id under which the server logged it.
 * @param head `h1` where it takes the place of a view */
export function problemBox(error, again = null, head = "h2") {
  return h(
    "div",
    { class: "problem", role: "alert" },
    h(head, {}, error.title ?? "Something went wrong on this page"),
    h("p", {}, error.message),
    error.hint && h("p", { class: "hint" }, error.hint),
    error.requestId && h("p", { class: "small" }, `Request ${error.requestId}`, error.code && ` · ${error.code}`),
    again && button("again", "Try again", again),
  );
}

/** Removes everything inside and puts this there. */
export function put(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter(Boolean));
  return element;
}
