/** The jobs view: start, watch and cancel background jobs of the server. */

import { Problem, events, get, post, queryString } from "./api.js";
import { announce, button, focusOn, h, problemBox, put, toast } from "./dom.js";
import { dateTime, number } from "./format.js";
import { JOB_KINDS, JOB_STAGES, JOB_STATES } from "./labels.js";
import { link } from "./route.js";
import { mayWrite, session } from "./session.js";
import { parts, t } from "./texts.js";

const PAGE_SIZE = 30;
const MAX_STREAMS = 2; // a browser opens six connections to a server, and images need some of them
const POLL_MS = 3000;

/** @param {string} id */
const jobPath = (id) => `v1/jobs/${encodeURIComponent(id)}`;

/** @param {Rest.Job} job */
export const isFinished = (job) => !["queued", "running"].includes(job.state);

/** Follows a job until it has finished.
 * @param {string} id
 * @param {(job: Rest.Job) => void} onprogress
 * @param {AbortSignal} signal
 * @returns {Promise<Rest.Job>} */
export async function follow(id, onprogress, signal) {
  /** @type {AsyncGenerator<Rest.Job>} */
  const updates = events(`${jobPath(id)}/events`, signal);
  for await (const job of updates) {
    onprogress(job);
    if (isFinished(job)) return job;
  }
  return get(jobPath(id), { signal });
}

/** @param {Rest.Job} job */
async function cancel(job) {
  try {
    await post(`${jobPath(job.id)}/cancel`, {});
  } catch (error) {
    const { message, hint } = error instanceof Problem ? error : { message: String(error), hint: "" };
    toast(`${message} ${hint}`, { kind: "bad" });
  }
}

/** A progress bar while the job runs, and its counts.
 * @param {Rest.Job} job */
export function progressOf(job) {
  const { stage, done, total, added, skipped, failed } = job.progress;
  const groups = job.result?.groups;
  const place =
    job.state === "succeeded"
      ? [typeof groups === "number" && t("count.groups", { count: groups })]
      : [
          JOB_STAGES[stage] ?? stage,
          total !== null ? t("jobs.progress", { done, total }) : done > 0 && number(done),
        ];
  const counts = [
    added && t("jobs.added", { count: added }),
    skipped && t("jobs.skipped", { count: skipped }),
    failed && t("jobs.failed", { count: failed }),
  ];
  const words = [...place, ...counts].filter(Boolean).join(" · ");
  const value = total ? { max: total, value: done } : {};
  return [
    !isFinished(job) && h("progress", { "aria-label": JOB_KINDS[job.kind], ...value }),
    words && h("p", { class: "small counts" }, words),
  ];
}

/** @param {Rest.JobFailure[]} failures @param {number} total */
const failuresBox = (failures, total) =>
  h(
    "details",
    {},
    h("summary", {}, t("count.failures", { count: total })),
    h(
      "ul",
      { class: "failures", role: "list" },
      failures.map((failure) =>
        h("li", {}, h("p", { class: "id" }, failure.id || failure.uri), h("p", {}, failure.message)),
      ),
    ),
  );

/** @param {Rest.Job} job */
function jobCard(job) {
  const { state, kind, collection, problem, failures, progress } = job;
  const times = [
    job.started_at
      ? t("jobs.started", { time: dateTime(job.started_at) })
      : t("jobs.created", { time: dateTime(job.created_at) }),
    job.finished_at && t("jobs.finished", { time: dateTime(job.finished_at) }),
  ];
  return [
    h(
      "p",
      { class: "verdict-line" },
      h("span", { class: `state ${state}` }, JOB_STATES[state]),
      h("strong", {}, JOB_KINDS[kind]),
      h("span", {}, parts("jobs.in", { collection: h("a", { href: link("library", collection) }, collection) })),
    ),
    progressOf(job),
    problem && h("p", { class: "bad" }, `${problem.detail} ${problem.hint}`),
    h("p", { class: "small" }, times.filter(Boolean).join(" · ")),
    failures.length > 0 && failuresBox(failures, progress.failed || failures.length),
    !isFinished(job) &&
      progress.failed > 0 &&
      h(
        "p",
        { class: "small" },
        h("a", { href: link("library", collection, { show: "failures" }) }, t("jobs.failures-so-far")),
      ),
    !isFinished(job) && mayWrite() && button("close", t("page.cancel"), () => cancel(job)),
  ];
}

/** @typedef {Rest.AddRequest | Rest.DuplicatesRequest | { kind: "build-index" }} JobRequest */
/** @typedef {(request: JobRequest) => void} Start */

/** @param {Start} start */
function folderForm(start) {
  const roots = session.info.job_roots;
  if (!roots.length) return h("p", { class: "small" }, t("jobs.no-folders"));
  const folder = h("input", {
    name: "folder",
    required: true,
    value: roots[0],
    list: "roots",
    autocomplete: "off",
  });
  const form = h(
    "form",
    { class: "stack" },
    h("label", {}, t("jobs.folder"), folder),
    h(
      "datalist",
      { id: "roots" },
      roots.map((root) => h("option", { value: root })),
    ),
    h("p", { class: "small" }, t("jobs.allowed", { folders: roots.join(", ") })),
    h("div", { class: "row" }, h("button", { class: "primary" }, t("collection.add-folder"))),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    start({ kind: "add", folder: folder.value.trim() });
  });
  return form;
}

/** @param {Start} start */
function urlForm(start) {
  if (!session.info.url_queries) return h("p", { class: "small" }, t("jobs.no-downloads"));
  const list = h("textarea", {
    name: "list",
    rows: 5,
    required: true,
    placeholder: "https://…\nhttps://…",
    spellcheck: "false",
  });
  const file = h("input", { type: "file", accept: ".csv,.txt,text/csv,text/plain" });
  file.addEventListener("change", async () => {
    if (file.files?.[0]) list.value = await file.files[0].text();
  });
  const form = h(
    "form",
    { class: "stack" },
    h("label", {}, t("jobs.urls"), list),
    h("label", {}, t("jobs.url-file"), file),
    h("div", { class: "row" }, h("button", { class: "primary" }, t("jobs.add-urls"))),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = list.value.trim();
    const lines = text.split(/\s*\n\s*/).filter(Boolean);
    const onlyUrls = lines.every((line) => /^https?:\/\/[^\s,]+$/.test(line));
    start({ kind: "add", ...(onlyUrls ? { urls: lines } : { csv: `${text}\n` }) });
  });
  return form;
}

/** @param {(job: Rest.Job) => void} onstart */
function newJob(onstart) {
  const problem = h("div", {});
  /** @type {Start} */
  const start = async (request) => {
    put(problem);
    try {
      /** @type {Rest.Job} */
      const job = await post("v1/jobs", { collection: session.collection, ...request });
      announce(t("jobs.job-started"));
      onstart(job);
    } catch (error) {
      put(problem, problemBox(error));
    }
  };
  return h(
    "section",
    { class: "card starter", "aria-label": t("jobs.new") },
    h("h2", {}, t("jobs.new-in", { collection: session.collection })),
    h(
      "details",
      { open: session.info.job_roots.length > 0 },
      h("summary", {}, t("jobs.add-server-folder")),
      folderForm(start),
    ),
    h("details", {}, h("summary", {}, t("jobs.add-from-urls")), urlForm(start)),
    h(
      "div",
      { class: "row" },
      button(null, t("job.duplicates"), () => start({ kind: "duplicates" })),
      button(null, t("job.build-index"), () => start({ kind: "build-index" })),
    ),
    problem,
  );
}

/** @param {HTMLElement} main @returns {Promise<import("./app.js").View>} */
export async function openJobs(main) {
  const control = new AbortController();
  const list = h("ul", { class: "jobs", role: "list" });
  const more = h("div", {});
  /** @type {Map<string, HTMLElement>} */
  const rows = new Map();
  /** @type {Set<string>} */
  const followed = new Set();

  /** Shows a job, new or changed.
   * @param {Rest.Job} job @param {boolean} [first] whether a new one comes first */
  function show(job, first = false) {
    let row = rows.get(job.id);
    if (!row) {
      row = h("li", { class: "card", "data-job": job.id });
      rows.set(job.id, row);
      if (first) list.prepend(row);
      else list.append(row);
    }
    const before = row.dataset.state;
    const open = row.querySelector("details")?.open ?? false;
    const focused = row.contains(document.activeElement);
    row.dataset.state = job.state;
    put(row, jobCard(job));
    const details = row.querySelector("details");
    if (details) details.open = open;
    if (focused) focusOn(row, "button, a");
    if (before && before !== job.state) announce(`${JOB_KINDS[job.kind]}: ${JOB_STATES[job.state]}`);
    if (!isFinished(job)) watch(job.id);
  }

  /** @param {string} id */
  async function watch(id) {
    if (followed.has(id) || followed.size >= MAX_STREAMS) return;
    followed.add(id);
    try {
      show(await follow(id, show, control.signal));
    } catch (error) {
      if (control.signal.aborted) return;
      const message = error instanceof Error ? error.message : String(error);
      toast(t("jobs.connection-lost", { reason: message }), { kind: "bad" });
    } finally {
      followed.delete(id);
    }
  }

  /** @param {string | null} [cursor] */
  async function load(cursor = null) {
    const path = `v1/jobs${queryString({ limit: PAGE_SIZE, cursor })}`;
    /** @type {Rest.JobPage} */
    const { jobs, next_cursor: next } = await get(path, { signal: control.signal });
    for (const job of jobs) if (!followed.has(job.id)) show(job);
    if (next)
      put(
        more,
        button(null, t("page.load-more"), () => load(next)),
      );
    else put(more, !rows.size && h("p", { class: "quiet" }, t("jobs.none")));
  }

  // Jobs beyond those that are followed are polled.
  const timer = setInterval(() => {
    const unfollowed = [...rows].some(
      ([id, row]) => !followed.has(id) && ["queued", "running"].includes(row.dataset.state ?? ""),
    );
    if (unfollowed) load().catch(() => {});
  }, POLL_MS);

  const starter = newJob((job) => {
    put(more);
    show(job, true);
  });
  put(
    main,
    h(
      "div",
      { class: "jobs-view" },
      h(
        "header",
        { class: "view-header" },
        h("div", {}, h("h1", { tabindex: "-1" }, t("view.jobs")), h("p", { class: "sub" }, t("jobs.note"))),
      ),
      mayWrite() && starter,
      list,
      more,
    ),
  );
  await load();
  return {
    update: () => {},
    close() {
      control.abort();
      clearInterval(timer);
    },
  };
}
