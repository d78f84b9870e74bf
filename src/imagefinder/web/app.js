/** The page's frame: header, views, API key and theme. */

import { collectionPath, getKey, onUnauthorized, send, setKey } from "./api.js";
import {
  announce,
  button,
  closest,
  find,
  focusOn,
  h,
  isAbort,
  openDialog,
  problemBox,
  put,
  textInput,
} from "./dom.js";
import { showKeys } from "./keys.js";
import { go, link, parse } from "./route.js";
import { loadSession, mayWrite, session } from "./session.js";
import { LANGUAGES, chooseLanguage, language, t } from "./texts.js";

/** @typedef {import("./route.js").Route} Route */
/** @typedef {import("./route.js").ViewName} ViewName */

/** A view of one collection; of the whole server for the jobs.
 * @typedef {object} View
 * @property {(route: Route) => unknown} update shows a route
 * @property {() => void} close
 * @property {(transfer: DataTransfer) => unknown} [drop] gets files dropped anywhere on the page
 * @property {(transfer: DataTransfer) => unknown} [paste] gets what was pasted anywhere on the page */

/** Opens a view in an empty element.
 * @typedef {(main: HTMLElement) => View | Promise<View>} OpenView */

/** Each view's code is loaded when it is first opened.
 * @type {Record<ViewName, {label: string, load: () => Promise<OpenView>}>} */
const VIEWS = {
  search: { label: t("view.search"), load: async () => (await import("./search.js")).openSearch },
  similar: { label: t("similar.title"), load: async () => (await import("./similar.js")).openSimilar },
  words: { label: t("words.title"), load: async () => (await import("./words.js")).openWords },
  library: { label: t("view.collection"), load: async () => (await import("./library.js")).openLibrary },
  duplicates: { label: t("view.duplicates"), load: async () => (await import("./duplicates.js")).openDuplicates },
  jobs: { label: t("view.jobs"), load: async () => (await import("./jobs.js")).openJobs },
};
/** @type {ViewName[]} */
const MENU = ["search", "library", "duplicates", "jobs"];
const THEMES = ["auto", "light", "dark"];
/** @type {Record<string, string>} */
const THEME_LABELS = { auto: t("theme.auto"), light: t("theme.light"), dark: t("theme.dark") };

const main = find("#main", HTMLElement);

const state = {
  /** @type {{place: string, view: View} | null} */
  shown: null,
  navigation: 0,
  /** @type {Promise<boolean> | null} one dialog for all requests that wait for a key */
  keyDialog: null,
};

/** @param {ViewName} view */
function renderHeader(view) {
  const { collection, info } = session;
  put(
    find("#views", HTMLElement),
    MENU.map((name) => {
      const href = name === "jobs" ? "#/jobs" : link(name, collection);
      return h("a", { href, "aria-current": view === name ? "page" : null }, VIEWS[name].label);
    }),
  );
  find("#brand", HTMLAnchorElement).href = link("search", collection);
  put(find("#chooser", HTMLElement), collectionSelect(view));
  const keyLabel = info.auth.access === "read" ? t("key.label-read") : t("key.label");
  put(
    find("#tools", HTMLElement),
    info.auth.required && button("key", keyLabel, () => requestKey(null), { quiet: true, class: "plain" }),
    languageButton(),
    button("keyboard", t("keys.open"), showKeys, { quiet: true, class: "plain" }),
    themeButton(),
  );
}

/** @param {ViewName} view */
function collectionSelect(view) {
  const { collection, info } = session;
  const select = h(
    "select",
    { "aria-label": t("chooser.label") },
    info.collections.map((name) => h("option", { value: name, selected: name === collection }, name)),
    mayWrite() && h("option", { value: "" }, t("chooser.new")),
  );
  select.addEventListener("change", () => {
    if (select.value) return go(link(MENU.includes(view) && view !== "jobs" ? view : "library", select.value));
    select.value = collection;
    createCollection();
  });
  return select;
}

function languageButton() {
  const open = async () => {
    const chosen = await openDialog(
      t("page.language"),
      /** @param {(code: string) => void} close */
      (close) =>
        h(
          "div",
          { class: "stack" },
          Object.entries(LANGUAGES).map(([code, name]) =>
            button(code === language ? "check" : null, name, () => close(code), {
              lang: code,
              "aria-current": code === language ? "true" : null,
            }),
          ),
        ),
    );
    if (chosen && chosen !== language) chooseLanguage(chosen);
  };
  return button("language", `${t("page.language")}: ${LANGUAGES[language]}`, open, {
    quiet: true,
    class: "plain",
  });
}

function themeButton() {
  const root = document.documentElement;
  const theme = root.dataset.theme ?? "auto";
  const change = () => {
    const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    root.dataset.theme = next;
    localStorage.setItem("imagefinder.theme", next);
    const changedButton = themeButton();
    find("#tools button:last-child", HTMLElement).replaceWith(changedButton);
    changedButton.focus();
    announce(THEME_LABELS[next]);
  };
  return button(theme, THEME_LABELS[theme], change, { quiet: true, class: "plain" });
}

/** A valid name of a collection that is close to what was typed, such as `my-photos`.
 * @param {string} typed */
const validName = (typed) =>
  typed
    .replaceAll("ß", "ss")
    .normalize("NFKD")
    .replaceAll(/\p{M}/gu, "")
    .toLowerCase()
    .replaceAll(/[^a-z0-9_]+/g, "-")
    .replaceAll(/^[-_]+|[-_]+$/g, "");

async function createCollection() {
  const name = await openDialog(
    t("new-collection.title"),
    /** @param {(name: string) => void} close */
    (close) => {
      const input = textInput({ name: "name", required: true, maxlength: 63, autofocus: true });
      const address = h("p", { class: "small", "aria-live": "polite" }, t("new-collection.rule"));
      input.addEventListener("input", () => {
        const name = validName(input.value);
        put(
          address,
          name && name !== input.value ? t("new-collection.address", { name }) : t("new-collection.rule"),
        );
      });
      const problem = h("div", {});
      const form = h(
        "form",
        { class: "stack" },
        h("label", {}, t("new-collection.name"), input),
        address,
        problem,
        h("div", { class: "row end" }, h("button", { class: "primary" }, t("new-collection.create"))),
      );
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        try {
          const name = validName(input.value) || input.value;
          await send(collectionPath(name), { method: "PUT" });
          close(name);
        } catch (error) {
          put(problem, problemBox(error));
        }
      });
      return form;
    },
  );
  if (!name) return;
  await loadSession();
  go(link("library", name));
}

/** Opens the key dialog.
 * @param {import("./api.js").Problem | null} problem why a request failed; `null`: the user opened the dialog
 * @returns {Promise<boolean>} whether there is a new key */
function requestKey(problem) {
  state.keyDialog ??= openDialog(
    t("key.title"),
    /** @param {(key: string) => void} close */
    (close) => {
      const input = textInput({ type: "password", name: "key", required: true, autofocus: true });
      const wrong = problem?.code === "wrong_key";
      const form = h(
        "form",
        { class: "stack" },
        h("p", {}, wrong ? t("key.wrong") : t("key.required")),
        h("label", {}, t("key.input"), input),
        h("p", { class: "small" }, t("key.storage")),
        h(
          "div",
          { class: "row end" },
          getKey() !== null && button(null, t("key.forget"), () => close("")),
          h("button", { class: "primary" }, t("key.use")),
        ),
      );
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        close(input.value.trim());
      });
      return form;
    },
  ).then((key) => {
    state.keyDialog = null;
    if (key === undefined) return false;
    setKey(key);
    if (!problem) location.reload();
    return Boolean(key);
  });
  return state.keyDialog;
}

/** Shows the view of the current route; a navigation that starts meanwhile takes precedence. */
async function show() {
  const navigation = ++state.navigation;
  const route = parse();
  const { view: name } = route;
  if (name === "start") return go(link("search", session.collection), { replace: true });
  if (name === "unknown") {
    state.shown?.view.close();
    state.shown = null;
    const text = { title: t("unknown-view.title"), message: t("unknown-view.text"), hint: t("unknown-view.hint") };
    return put(main, problemBox(text, null, "h1"));
  }
  if (route.collection) session.collection = route.collection;
  renderHeader(name);
  const open = await VIEWS[name].load();
  if (navigation !== state.navigation) return;
  document.title = `${VIEWS[name].label} · imagefinder`;
  const place = placeOf(name);
  if (state.shown?.place !== place) {
    const first = state.shown === null;
    state.shown?.view.close();
    state.shown = null;
    put(main);
    scrollTo(0, 0);
    // A separate element: the view of an overtaken navigation must not appear next to its successor.
    const element = h("div", {});
    const view = await open(element);
    if (navigation !== state.navigation) return view.close();
    put(main, element);
    state.shown = { place, view };
    await view.update(route);
    const focused = document.activeElement;
    if (!first && (focused === document.body || focused?.closest("nav, .chooser"))) focusOn(main, "h1");
  } else await state.shown.view.update(route);
  // The collection of a shared result is known only once it has loaded.
  if (navigation === state.navigation && placeOf(name) !== place && state.shown) {
    state.shown.place = placeOf(name);
    renderHeader(name);
  }
}

/** @param {ViewName} name */
const placeOf = (name) => (name === "jobs" ? name : `${name}/${session.collection}`);

/** Shows the current route, or why that failed. */
async function refresh() {
  const retry = () => {
    state.shown?.view.close();
    state.shown = null;
    return refresh();
  };
  try {
    await show();
  } catch (error) {
    if (!isAbort(error)) put(main, problemBox(error, retry, "h1"));
  }
}

async function start() {
  put(main, h("p", { class: "wait" }, t("page.loading")));
  try {
    await loadSession();
  } catch (error) {
    return put(main, problemBox(error, start, "h1"));
  }
  addEventListener("hashchange", refresh);
  return refresh();
}

// Files may be dropped anywhere; the view decides what that means.
addEventListener("dragover", (event) => {
  event.preventDefault();
  const types = event.dataTransfer?.types ?? [];
  if (types.some((type) => type === "Files" || type === "text/uri-list")) main.classList.add("drop-here");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) main.classList.remove("drop-here");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  main.classList.remove("drop-here");
  if (event.dataTransfer && !document.querySelector("dialog[open]")) state.shown?.view.drop?.(event.dataTransfer);
});
addEventListener("paste", (event) => {
  if (event.clipboardData && !closest(event, "input, textarea, dialog"))
    state.shown?.view.paste?.(event.clipboardData);
});
addEventListener("keydown", (event) => {
  const typing = closest(event, "input, textarea, select");
  if (event.key !== "?" || event.ctrlKey || event.metaKey || event.altKey || typing) return;
  event.preventDefault();
  showKeys();
});
// Links go through the router, which marks the history entries made by this page.
addEventListener("click", (event) => {
  const anchor = closest(event, 'a[href^="#"]');
  const modified = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
  if (!anchor || event.defaultPrevented || event.button || modified) return;
  event.preventDefault();
  go(anchor.getAttribute("href") ?? "");
});
addEventListener("unhandledrejection", (event) => {
  if (isAbort(event.reason)) event.preventDefault();
});

onUnauthorized(requestKey);
find("#views", HTMLElement).ariaLabel = t("page.views");
find("#toasts", HTMLElement).ariaLabel = t("page.notices");
find(".skip", HTMLAnchorElement).textContent = t("page.skip");
find(".skip", HTMLAnchorElement).addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
start();
