/** The duplicates view: groups of duplicate images; one of each is kept, the others may be removed. */

import { Problem, collectionPath, get, post, queryString } from "./api.js";
import { announce, button, focusOn, h, icon, isAbort, problemBox, put, uniqueId } from "./dom.js";
import { bytes, dateTime, dimensions, fileName, percent } from "./format.js";
import { previewPath, thumbnail } from "./images.js";
import { openInspector } from "./inspector.js";
import { follow, isFinished, progressOf } from "./jobs.js";
import { PAIR_RELATIONS } from "./labels.js";
import { filesNote, isPending, removalNote, remove } from "./remove.js";
import { link } from "./route.js";
import { mayWrite, session } from "./session.js";
import { t } from "./texts.js";

/** @type {Record<Rest.DuplicateSet["kind"], {label: string, note: string}>} */
const KINDS = {
  identical: { label: t("duplicates.identical"), note: t("duplicates.identical-note") },
  "edited copies": { label: t("duplicates.copies"), note: t("duplicates.copies-note") },
  overlapping: {
    label: t("duplicates.overlapping"),
    note: t("duplicates.overlapping-note"),
  },
};
const PAGE_SIZE = 30;

/** "Edited copy of cat.jpg", "Contains cat.jpg".
 * @param {Rest.DuplicatePair} pair */
const relationTo = ({ relation, b }) => t(PAIR_RELATIONS[relation], { name: fileName(b) });

/** Compares the kept image of a group with the others.
 * @param {Rest.DuplicateSet} group
 * @param {Rest.Image[]} images
 * @param {Rest.Image} kept
 * @returns {import("./inspector.js").Entry[]} */
function entriesOf(group, images, kept) {
  /** @param {string} a @param {string} b */
  const pairOf = (a, b) =>
    group.pairs.find((pair) => (pair.a === a && pair.b === b) || (pair.a === b && pair.b === a));
  const others = images.filter((image) => image !== kept);
  return others.map((image) => {
    const pair = pairOf(image.id, kept.id) ?? group.pairs.find(({ a }) => a === image.id);
    const [first, second] = pair ? [pair.a, pair.b] : [image.id, kept.id];
    /** @param {string} id @param {Rest.Image} otherwise */
    const imageOf = (id, otherwise) => images.find((each) => each.id === id) ?? otherwise;
    // Evidence maps a onto b, whichever of them is kept.
    const [query, stored] = [imageOf(first, image), imageOf(second, kept)];
    return {
      id: image.id,
      hit: null,
      evidence: pair?.evidence ?? null,
      relation: pair ? `${fileName(pair.a)}: ${relationTo(pair)}` : t("duplicates.not-compared"),
      image: stored,
      query: { path: previewPath(query), size: [query.width, query.height], image: query },
      methods: [],
    };
  });
}

/** @param {Rest.DuplicateSet} group @param {string} collection */
function groupCard(group, collection) {
  const card = h("li", { class: "card group", "data-kind": group.kind });
  const radioName = uniqueId("keep");
  const suggests = group.spare.length > 0;
  const proposed = new Set([group.ids[0], ...group.spare]);
  const { label, note } = KINDS[group.kind];
  const state = { images: group.images.filter((image) => !isPending(collection, image.id)), keep: "" };
  state.keep = state.images[0]?.id ?? "";

  /** @param {Rest.Image[]} removed */
  function drop(removed) {
    state.images = state.images.filter((image) => !removed.includes(image));
    if (removed.some((image) => image.id === state.keep)) state.keep = state.images[0]?.id ?? "";
    draw();
    remove(collection, removed, (restored) => {
      const remaining = new Set([...state.images.map((image) => image.id), ...restored]);
      state.images = group.images.filter((image) => remaining.has(image.id));
      draw();
    });
  }

  /** @param {string} id */
  function compare(id) {
    const kept = state.images.find((image) => image.id === state.keep);
    if (!kept) return;
    const entries = entriesOf(group, state.images, kept);
    openInspector(
      entries,
      Math.max(
        0,
        entries.findIndex((entry) => entry.id === id),
      ),
    );
  }

  /** @param {string} id */
  function keep(id) {
    state.keep = id;
    draw();
    focusOn(card, ":checked");
  }

  /** @param {Rest.Image} image */
  function relation({ id }) {
    const pair = group.pairs.find(({ a }) => a === id);
    if (!pair) return "";
    const note = pair.note && ` (${pair.note})`;
    return `${relationTo(pair)}${note}${pair.agreement === null ? "" : `, ${t("duplicates.agreement", { agreement: percent(pair.agreement) })}`}`;
  }

  /** @param {string} id @param {boolean} kept */
  const keepRadio = (id, kept) =>
    h(
      "label",
      { class: "check keep" },
      h("input", { type: "radio", name: radioName, checked: kept, onchange: () => keep(id) }),
      kept ? h("span", {}, icon("check"), t("duplicates.keep")) : t("duplicates.keep-this"),
    );

  /** @param {Rest.Image} image */
  function member(image) {
    const { id } = image;
    const kept = suggests && id === state.keep;
    const action = kept ? t("duplicates.compare-kept", { id }) : t("duplicates.compare-id", { id });
    return h(
      "li",
      { class: kept ? "member kept" : "member", "data-id": id },
      h(
        "button",
        { type: "button", class: "thumb", "aria-label": action, onclick: () => compare(id) },
        thumbnail(image),
      ),
      h("p", { class: "id", title: id }, fileName(id)),
      h("p", { class: "small" }, `${dimensions(image)} · ${bytes(image.size_bytes)}`),
      !kept && h("p", { class: "small" }, relation(image)),
      group.reasons[id] && h("p", { class: "small" }, t("duplicates.not-spare", { reason: group.reasons[id] })),
      suggests && mayWrite() && proposed.has(id) && keepRadio(id, kept),
      kept && !mayWrite() && h("p", { class: "badge match" }, icon("check"), t("duplicates.keep")),
      mayWrite() &&
        !kept &&
        button("trash", t("remove.image", { id }), () => drop([image]), {
          quiet: true,
          class: "plain corner-button",
          title: removalNote([image]),
        }),
    );
  }

  function draw() {
    const others = state.images.filter((image) => image.id !== state.keep);
    const spare = others.filter((image) => proposed.has(image.id));
    const removing = t("remove.others", { count: spare.length });
    const files = filesNote(spare);
    card.hidden = state.images.length < 2;
    put(
      card,
      h("header", {}, h("h2", {}, label), h("p", { class: "small" }, note)),
      h("ul", { class: "members", role: "list" }, state.images.map(member)),
      others.length > 0 &&
        h(
          "div",
          { class: "row" },
          suggests &&
            mayWrite() &&
            spare.length > 0 &&
            button("trash", removing, () => drop(spare), { title: removalNote(spare) }),
          suggests && mayWrite() && files && h("span", { class: "small" }, files),
          button("search", t("duplicates.compare"), () => compare(others[0].id)),
        ),
    );
  }

  draw();
  return card;
}

/** @param {HTMLElement} main @returns {import("./app.js").View} */
export function openDuplicates(main) {
  const { collection } = session;
  const control = new AbortController();
  const { signal } = control;
  const sub = h("p", { class: "sub", role: "status" });
  const tools = h("div", { class: "row" });
  const status = h("div", {});
  const list = h("ul", { class: "groups", role: "list" });
  const more = h("div", { class: "row middle" });
  put(
    main,
    h(
      "div",
      { class: "duplicates" },
      h(
        "header",
        { class: "view-header" },
        h("div", {}, h("h1", { tabindex: "-1" }, t("view.duplicates")), sub),
        tools,
      ),
      status,
      list,
      more,
    ),
  );

  /** @param {string | null} [cursor] */
  const path = (cursor = null) =>
    collectionPath(collection, `/duplicates${queryString({ limit: PAGE_SIZE, cursor })}`);

  async function findDuplicates() {
    put(tools);
    try {
      await waitFor(await post("v1/jobs", { kind: "duplicates", collection }));
    } catch (error) {
      if (!isAbort(error)) put(status, problemBox(error, findDuplicates));
    }
  }

  /** @param {Rest.Job} job @returns {Promise<void>} */
  async function waitFor(job) {
    /** @param {Rest.Job} current */
    const show = (current) =>
      put(status, h("div", { class: "card progress" }, h("p", {}, t("duplicates.wait")), progressOf(current)));
    show(job);
    const end = isFinished(job) ? job : await follow(job.id, show, signal);
    put(status);
    if (end.state === "succeeded") return load();
    if (end.problem) {
      const { detail: message, hint, code } = end.problem;
      const title = t("duplicates.failed");
      return put(status, problemBox({ title, message, hint, code }, findDuplicates));
    }
    const again = button("again", t("job.duplicates"), findDuplicates);
    return put(status, h("div", { class: "quiet" }, h("p", {}, t("duplicates.cancelled")), again));
  }

  /** @param {Rest.Duplicates} page */
  function append({ groups, next_cursor: next }) {
    list.append(...groups.map((group) => groupCard(group, collection)));
    put(more, next && button(null, t("page.load-more"), async () => append(await get(path(next)))));
  }

  /** @param {Rest.Duplicates} page */
  function showReport(page) {
    const { report, groups, computed_at: computed, stale, next_cursor: next } = page;
    sub.textContent = [t("duplicates.checked", { count: report.images }), dateTime(computed)]
      .filter(Boolean)
      .join(" · ");
    append(page);
    if (!groups.length) {
      const back = h("p", {}, h("a", { href: link("library", collection) }, t("duplicates.back")));
      put(status, h("div", { class: "quiet" }, h("p", {}, t("duplicates.none")), back));
    }
    const number = { count: groups.length };
    if (!groups.length) announce(t("duplicates.none"));
    else announce(next ? t("duplicates.more-groups", number) : t("count.groups", number));
    put(
      tools,
      stale && h("p", { class: "small" }, t("duplicates.stale")),
      mayWrite() && button("again", t("duplicates.again"), findDuplicates),
    );
  }

  /** @returns {Promise<void>} */
  async function load() {
    put(status, h("p", { class: "wait" }, t("page.loading")));
    /** @type {Rest.Duplicates | Rest.DuplicatesRunning} */
    let page;
    try {
      page = await get(path(), { signal });
    } catch (error) {
      const missing = error instanceof Problem && error.code === "no_duplicate_report";
      if (!missing || !mayWrite()) throw error;
      return findDuplicates();
    }
    put(status);
    put(list);
    if (page.state === "ready") return showReport(page);
    return waitFor(page.job);
  }

  async function open() {
    try {
      await load();
    } catch (error) {
      if (!isAbort(error)) put(status, problemBox(error, open));
    }
  }

  open();
  return { update: () => {}, close: () => control.abort() };
}
