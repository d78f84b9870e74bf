/** What the server does in the background: begun, watched live, cancelled. */

import { events, get, post, query } from "./api.js";
import { announce, button, h, problemBox, put, toast } from "./dom.js";
import { link } from "./route.js";
import { mayWrite, session } from "./session.js";
import { count, when } from "./words.js";

const KINDS = { add: "Add pictures", put: "Add a picture", duplicates: "Find duplicates", "build-index": "Rebuild the index" };
const STATES = { queued: "waiting", running: "running", succeeded: "done", failed: "failed", cancelled: "cancelled" };
const STREAMS = 2; // a browser opens six connections to a server; pictures need some of them
const POLL = 3000;

export const isOver = (job) => !["queued", "running"].includes(job.state);

/** Follows a job to its end. @param onprogress gets each news of it */
export async function follow(id, onprogress, signal) {
  for await (const { data } of events(`v1/jobs/${encodeURIComponent(id)}/events`, signal)) {
    onprogress(data);
    if (isOver(data)) return data;
  }
  return get(`v1/jobs/${encodeURIComponent(id)}`, { signal });
}

const cancel = async (job) => {
  try {
    await post(`v1/jobs/${encodeURIComponent(job.id)}/cancel`, {});
  } catch (error) {
    toast(`${error.message} ${error.hint}`, { kind: "bad" });
  }
};

export function progressOf(job) {
  const { progress } = job;
  const numbers = ["added", "skipped", "failed"].map((name) => progress[name] && `${progress[name].toLocaleString("en")} ${name}`).filter(Boolean);
  const of = progress.total === null ? "" : ` of ${progress.total.toLocaleString("en")}`;
  const groups = job.result?.groups === undefined ? "" : `${count(job.result.groups, "group")} of pictures that belong together`;
  const place = [progress.stage, progress.total !== null || progress.done ? `${progress.done.toLocaleString("en")}${of}` : ""];
  // Once all is done, how far it is says nothing; what came of it does.
  const words = [...(job.state === "succeeded" ? [groups] : place), ...numbers].filter(Boolean).join(" · ");
  const bar = isOver(job) ? null : h("progress", { "aria-label": KINDS[job.kind], max: progress.total ?? 1, value: progress.total ? progress.done : undefined });
  if (bar && !progress.total) bar.removeAttribute("value");
  return [bar, h("p", { class: "small" }, words)];
}

function jobCard(job) {
  return [
    h("p", { class: "what" }, h("span", { class: `state ${job.state}` }, STATES[job.state]), " ", h("strong", {}, KINDS[job.kind] ?? job.kind), " in ", h("a", { href: link("library", job.collection) }, job.collection)),
    progressOf(job),
    job.problem ? h("p", { class: "bad" }, `${job.problem.detail} ${job.problem.hint ?? ""}`) : null,
    h("p", { class: "small" }, `Begun ${when(job.started_at ?? job.created_at)}${job.finished_at ? `, ended ${when(job.finished_at)}` : ""}`),
    job.failures.length
      ? h("details", {}, h("summary", {}, count(job.progress.failed || job.failures.length, "failure")), h("ul", { class: "failures", role: "list" }, job.failures.map((failure) => h("li", {}, h("p", { class: "id" }, failure.id ?? failure.uri), h("p", {}, failure.message)))))
      : null,
    !isOver(job) && job.progress.failed ? h("p", { class: "small" }, h("a", { href: link("library", job.collection, { show: "failures" }) }, "What failed so far")) : null,
    !isOver(job) && mayWrite() ? button("close", "Cancel", () => cancel(job)) : null,
  ];
}

function starter(onstart) {
  const { job_roots: roots, url_queries: urls } = session.info;
  const said = h("div", {});
  const start = async (body) => {
    put(said);
    try {
      const job = await post("v1/jobs", { collection: session.collection, ...body });
      announce("The job was begun");
      onstart(job);
    } catch (error) {
      put(said, problemBox(error));
    }
  };
  const folder = h("input", { name: "folder", required: true, value: roots[0] ?? "", list: "roots", autocomplete: "off" });
  const list = h("textarea", { name: "list", rows: 5, required: true, placeholder: "https://…\nhttps://…", spellcheck: "false" });
  const file = h("input", {
    type: "file",
    accept: ".csv,.txt,text/csv,text/plain",
    onchange: async () => {
      if (file.files[0]) list.value = await file.files[0].text();
    },
  });
  return h(
    "section",
    { class: "card starter", "aria-label": "Begin a job" },
    h("h2", {}, `Begin, in ${session.collection}`),
    h(
      "details",
      { open: roots.length > 0 },
      h("summary", {}, "Index a folder of the server"),
      roots.length
        ? h(
            "form",
            {
              class: "stack",
              onsubmit: (event) => {
                event.preventDefault();
                start({ kind: "add", folder: folder.value.trim() });
              },
            },
            h("label", {}, "Folder", folder),
            h("datalist", { id: "roots" }, roots.map((root) => h("option", { value: root }))),
            h("p", { class: "small" }, `Allowed: ${roots.join(", ")} and what is below.`),
            h("div", { class: "row" }, h("button", { class: "primary" }, "Index the folder")),
          )
        : h("p", { class: "small" }, "The operator allowed no folders (setting job_roots)."),
    ),
    h(
      "details",
      {},
      h("summary", {}, "Index pictures of the web: a list of addresses, or a CSV"),
      urls
        ? h(
            "form",
            {
              class: "stack",
              onsubmit: (event) => {
                event.preventDefault();
                const text = list.value.trim();
                const lines = text.split(/\s*\n\s*/).filter(Boolean);
                start({ kind: "add", ...(lines.every((line) => /^https?:\/\/[^\s,]+$/.test(line)) ? { urls: lines } : { csv: `${text}\n` }) });
              },
            },
            h("label", {}, "Addresses, one a line; or CSV with the columns url and id", list),
            h("label", {}, "Or from a file", file),
            h("div", { class: "row" }, h("button", { class: "primary" }, "Index the list")),
          )
        : h("p", { class: "small" }, "This server fetches no pictures from the web."),
    ),
    h("div", { class: "row" }, button(null, "Find duplicates", () => start({ kind: "duplicates" })), button(null, "Rebuild the index", () => start({ kind: "build-index" }))),
    said,
  );
}

function jobs(main) {
  const control = new AbortController();
  const list = h("ul", { class: "jobs", role: "list" });
  const more = h("div", {});
  const rows = new Map();
  const followed = new Set();

  function show(job, { first = false } = {}) {
    let row = rows.get(job.id);
    if (!row) {
      row = h("li", { class: "card", "data-job": job.id });
      rows.set(job.id, row);
      first ? list.prepend(row) : list.append(row);
    }
    const before = row.dataset.state;
    // Only what changed is told, and what is open stays open.
    const open = row.querySelector("details")?.open;
    const inside = row.contains(document.activeElement);
    row.dataset.state = job.state;
    put(row, jobCard(job));
    if (open) row.querySelector("details").open = true;
    if (inside) row.querySelector("button, a")?.focus();
    if (before && before !== job.state) announce(`${KINDS[job.kind]}: ${STATES[job.state]}`);
    if (!isOver(job)) watch(job.id);
  }

  async function watch(id) {
    if (followed.has(id) || followed.size >= STREAMS) return;
    followed.add(id);
    try {
      show(await follow(id, (job) => show(job), control.signal));
    } catch (error) {
      if (!control.signal.aborted) toast(`The progress of a job was lost: ${error.message}`, { kind: "bad" });
    } finally {
      followed.delete(id);
    }
  }

  async function load(cursor = null) {
    const body = await get(`v1/jobs${query({ limit: 30, cursor })}`, { signal: control.signal });
    for (const job of body.jobs) if (!followed.has(job.id)) show(job);
    put(more, body.next_cursor ? button(null, "Earlier ones", () => load(body.next_cursor)) : null);
    if (!rows.size) put(more, h("p", { class: "quiet" }, "No jobs yet."));
  }

  const timer = setInterval(() => {
    if ([...rows.entries()].some(([id, row]) => !followed.has(id) && ["queued", "running"].includes(row.dataset.state))) load().catch(() => {});
  }, POLL);

  put(
    main,
    h(
      "div",
      { class: "jobs-view" },
      h("header", { class: "verdict" }, h("div", {}, h("h1", { tabindex: "-1" }, "Jobs"), h("p", { class: "sub" }, "What the server does in the background. It goes on when this page is closed."))),
      mayWrite() ? starter((job) => (put(more), show(job, { first: true }))) : null,
      list,
      more,
    ),
  );
  return {
    load,
    end() {
      control.abort();
      clearInterval(timer);
    },
  };
}

let page = null;

export const jobsView = {
  enter(main) {
    page = jobs(main);
    return page.load();
  },
  update: () => {},
  leave: () => page.end(),
};
