/** The page: its head, the views, the key, the theme. */

import { collectionPath, getKey, send, setKey, whenKeyIsDemanded } from "./api.js";
import { announce, button, dialogue, h, problemBox, put } from "./dom.js";
import { go, link, parse } from "./route.js";
import { begin, mayWrite, session } from "./session.js";

const main = document.getElementById("main");
/** Loaded when they are first looked at. */
const VIEWS = {
  search: async () => (await import("./search.js")).searchView,
  library: async () => (await import("./library.js")).libraryView,
  duplicates: async () => (await import("./duplicates.js")).duplicatesView,
  jobs: async () => (await import("./jobs.js")).jobsView,
};
const NAMES = { search: "Search", library: "Collection", duplicates: "Duplicates", jobs: "Jobs" };

let shown = null;
let turn = 0;

function head(route) {
  const collection = session.collection;
  put(
    document.getElementById("views"),
    Object.entries(NAMES).map(([view, name]) =>
      h(
        "a",
        { href: view === "jobs" ? "#/jobs" : link(view, collection), "aria-current": route.view === view ? "page" : null },
        name,
      ),
    ),
  );
  document.getElementById("brand").href = link("search", collection);
  const select = h(
    "select",
    {
      "aria-label": "Collection",
      onchange: () => {
        if (select.value !== "") return go(link(parse().view === "jobs" ? "library" : parse().view, select.value));
        select.value = collection;
        return create();
      },
    },
    session.info.collections.map((name) => h("option", { value: name, selected: name === collection }, name)),
    mayWrite() && h("option", { value: "" }, "New collection…"),
  );
  put(document.getElementById("chooser"), select);
  put(
    document.getElementById("tools"),
    session.info.auth.required &&
      button("key", session.info.auth.access === "read" ? "Key (read only)" : "Key", () => askForKey(), { quiet: true, class: "plain" }),
    theme(),
  );
}

const THEMES = { auto: "Colours as the system has them", light: "Light colours", dark: "Dark colours" };

function theme() {
  const root = document.documentElement;
  const toggle = button(root.dataset.theme, THEMES[root.dataset.theme], () => {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(root.dataset.theme) + 1) % names.length];
    root.dataset.theme = next;
    localStorage.setItem("imagefinder.theme", next);
    toggle.replaceWith(theme());
    document.querySelector("#tools button:last-child").focus();
    announce(THEMES[next]);
  }, { quiet: true, class: "plain" });
  return toggle;
}

async function create() {
  const name = await dialogue("New collection", (close) => {
    const input = h("input", { name: "name", required: true, pattern: "[a-z0-9][a-z0-9_\\-]*", maxlength: 63, autocomplete: "off" });
    const said = h("div", {});
    return h(
      "form",
      {
        class: "stack",
        onsubmit: async (event) => {
          event.preventDefault();
          try {
            await send(collectionPath(input.value), { method: "PUT" });
            close(input.value);
          } catch (error) {
            put(said, problemBox(error));
          }
        },
      },
      h("label", {}, "Name", input),
      h("p", { class: "small" }, "Small letters, digits, dash and underscore."),
      said,
      h("div", { class: "row end" }, h("button", { class: "primary" }, "Create")),
    );
  });
  if (!name) return;
  await begin();
  go(link("library", name));
}

let asking = null;

/** One dialogue for all requests that wait for a key. @returns {Promise<boolean>} whether there is a new one */
function askForKey(problem = null) {
  asking ??= dialogue("A key is needed", (close) => {
    const input = h("input", { type: "password", name: "key", required: true, autocomplete: "off", autofocus: true });
    return h(
      "form",
      {
        class: "stack",
        onsubmit: (event) => {
          event.preventDefault();
          close(input.value.trim());
        },
      },
      h("p", {}, problem?.code === "wrong_key" ? "The server does not know this key." : "This server answers to those with a key only."),
      h("label", {}, "Key", input),
      h("p", { class: "small" }, "It is kept until this tab is closed and sent to this server only."),
      h(
        "div",
        { class: "row end" },
        getKey() && button(null, "Forget it", () => close("")),
        h("button", { class: "primary" }, "Use this key"),
      ),
    );
  }).then((key) => {
    asking = null;
    if (key === undefined) return false;
    setKey(key);
    if (!problem) location.reload();
    return Boolean(key);
  });
  return asking;
}

async function show() {
  const mine = ++turn;
  const route = parse();
  if (route.view === "start") return go(link("search", session.collection), { replace: true });
  if (route.view === "unknown") {
    shown = null;
    return put(main, problemBox({ title: "No such page", message: "This address leads nowhere here.", hint: "Choose a view above." }, null, "h1"));
  }
  if (route.collection) session.collection = route.collection;
  head(route);
  const place = `${route.view}/${route.view === "jobs" ? "" : session.collection}`;
  const view = await VIEWS[route.view]();
  if (mine !== turn) return; // another place was asked for meanwhile
  document.title = `${NAMES[route.view]} · imagefinder`;
  if (shown?.place !== place) {
    shown?.view.leave?.();
    shown = { place, view };
    put(main);
    scrollTo(0, 0);
    const moved = document.activeElement === document.body || document.activeElement?.closest("nav, .chooser");
    await view.enter(main, route);
    if (moved && mine === turn) main.querySelector("h1")?.focus();
  }
  if (mine === turn) await view.update(route);
}

/** Shows where one is; whatever fails is told there. */
async function refresh() {
  try {
    await show();
  } catch (error) {
    if (error.name !== "AbortError") put(main, problemBox(error, () => ((shown = null), refresh()), "h1"));
  }
}

async function start() {
  put(main, h("p", { class: "wait" }, "One moment…"));
  try {
    await begin();
  } catch (error) {
    return put(main, problemBox(error, start, "h1"));
  }
  addEventListener("hashchange", refresh);
  return refresh();
}

// Files may be dropped anywhere; what that means, the view says.
addEventListener("dragover", (event) => {
  event.preventDefault();
  if (event.dataTransfer.types.some((type) => type === "Files" || type === "text/uri-list")) main.classList.add("drop-here");
});
addEventListener("dragleave", (event) => event.relatedTarget ?? main.classList.remove("drop-here"));
addEventListener("drop", (event) => {
  event.preventDefault();
  main.classList.remove("drop-here");
  if (!document.querySelector("dialog[open]")) shown?.view.drop?.(event.dataTransfer);
});
addEventListener("paste", (event) => {
  if (!event.target.closest?.("input, textarea, dialog")) shown?.view.paste?.(event.clipboardData);
});
// So that each entry of the history that was made here says so.
addEventListener("click", (event) => {
  const link = event.target.closest?.('a[href^="#"]');
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(link.getAttribute("href"));
});
addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name === "AbortError") event.preventDefault();
});

whenKeyIsDemanded(askForKey);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
start();

