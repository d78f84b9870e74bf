/** What is there more than once, group by group: one is kept, the others may go. */

import { collectionPath, get, post, query, sleep } from "./api.js";
import { announce, button, h, icon, problemBox, put } from "./dom.js";
import { best, picture } from "./images.js";
import { inspect } from "./inspector.js";
import { follow, isOver, progressOf } from "./jobs.js";
import { link } from "./route.js";
import { mayWrite, session } from "./session.js";
import { isPending, remove } from "./undo.js";
import { STORED_RELATIONS, bytes, count, percent, short, when } from "./words.js";

const KINDS = {
  identical: { word: "The same picture", note: "Byte for byte, or to the last pixel." },
  "edited copies": { word: "Edited copies", note: "The same picture in other sizes, colours or encodings." },
  overlapping: { word: "Overlapping", note: "Parts of one another, or the same scene: nothing is proposed to go." },
};

const PAGE = 30;

function groupCard(group, collection, onchange) {
  const images = group.images.filter((image) => !isPending(collection, image.id));
  const card = h("li", { class: "card group", "data-kind": group.kind });
  let keep = images[0]?.id;
  const name = `keep-${Math.random().toString(36).slice(2)}`;
  const proposes = group.kind !== "overlapping";

  const pairOf = (a, b) => group.pairs.find((pair) => (pair.a === a && pair.b === b) || (pair.a === b && pair.b === a));

  function relation(id) {
    const pair = group.pairs.find((each) => each.a === id);
    if (!pair) return "";
    return `${STORED_RELATIONS[pair.relation]}${pair.agreement === null ? "" : `, ${percent(pair.agreement)} looks alike`}`;
  }

  function drop(ids) {
    const left = images.filter((image) => !ids.includes(image.id));
    const gone = images.filter((image) => ids.includes(image.id));
    const back = (which) => {
      images.push(...gone.filter((image) => which.includes(image.id)));
      images.sort((a, b) => group.ids.indexOf(a.id) - group.ids.indexOf(b.id));
      onchange(gone.length);
      draw();
    };
    images.splice(0, images.length, ...left);
    if (ids.includes(keep)) keep = images[0]?.id;
    onchange(-gone.length);
    draw();
    remove(collection, ids, { onundo: back });
  }

  /** The pictures beside the one that is kept. */
  function compare(id) {
    const others = images.filter((image) => image.id !== keep);
    const kept = images.find((image) => image.id === keep);
    const entries = others.map((image) => {
      const pair = pairOf(image.id, keep) ?? group.pairs.find((each) => each.a === image.id);
      const towards = pair && pair.a === image.id ? images.find((each) => each.id === pair.b) : kept;
      // Evidence goes from a to b; where it is the other way round, the pictures change sides.
      const [from, to] = pair && pair.a !== image.id ? [kept, image] : [image, towards ?? kept];
      return {
        id: image.id,
        hit: { relation: pair?.relation, evidence: pair?.evidence ?? null },
        words: pair ? `${short(from.id)}: ${STORED_RELATIONS[pair.relation]}, beside ${short(to.id)}` : "These two were not compared with one another",
        image: to,
        query: { path: best(from), size: [from.width, from.height] },
        methods: [],
      };
    });
    inspect(entries, Math.max(0, others.findIndex((image) => image.id === id)));
  }

  function draw() {
    card.hidden = images.length < 2;
    const others = images.filter((image) => image.id !== keep).map((image) => image.id);
    put(
      card,
      h("header", {}, h("h2", {}, KINDS[group.kind].word), h("p", { class: "small" }, KINDS[group.kind].note)),
      h(
        "ul",
        { class: "members", role: "list" },
        images.map((image) => {
          const kept = proposes && image.id === keep;
          return h(
            "li",
            { class: kept ? "member kept" : "member", "data-id": image.id },
            h(
              "button",
              { type: "button", class: "look", "aria-label": kept ? `${image.id}, kept: compare the others with it` : `Compare ${image.id} with the one that is kept`, onclick: () => compare(image.id) },
              picture(image.thumbnail, "", { width: image.width, height: image.height }),
            ),
            h("p", { class: "id", title: image.id }, short(image.id)),
            h("p", { class: "small" }, `${image.width} × ${image.height} · ${bytes(image.size_bytes)}`),
            h("p", { class: "small" }, kept ? "" : relation(image.id)),
            proposes && mayWrite()
              ? h("label", { class: "check keep" }, h("input", { type: "radio", name, checked: kept, onchange: () => ((keep = image.id), draw(), card.querySelector(":checked").focus()) }), kept ? h("span", {}, icon("check"), "Keep") : "Keep this one")
              : kept && h("p", { class: "badge match" }, icon("check"), "Keep"),
            mayWrite() && !kept ? button("trash", `Delete ${image.id}`, () => drop([image.id]), { quiet: true, class: "plain corner-button" }) : null,
          );
        }),
      ),
      h(
        "div",
        { class: "row" },
        proposes && mayWrite() && others.length ? button("trash", others.length === 1 ? "Delete the other" : `Delete the other ${others.length}`, () => drop(others)) : null,
        others.length ? button("search", "Side by side", () => compare(others[0])) : null,
      ),
    );
  }

  draw();
  return card;
}

function duplicates(main) {
  const { collection } = session;
  const control = new AbortController();
  const heading = h("h1", { tabindex: "-1" }, "Duplicates");
  const sub = h("p", { class: "sub", role: "status" });
  const tools = h("div", { class: "row" });
  const state = h("div", {});
  const list = h("ul", { class: "groups", role: "list" });
  const more = h("div", { class: "row middle" });
  const path = (cursor = null) => collectionPath(collection, `/duplicates${query({ limit: PAGE, cursor })}`);

  async function find() {
    put(tools);
    try {
      const job = await post("v1/jobs", { kind: "duplicates", collection });
      await wait(job);
    } catch (error) {
      if (error.name !== "AbortError") put(state, problemBox(error, find));
    }
  }

  async function wait(job) {
    const show = (next) => put(state, h("div", { class: "card progress" }, h("p", {}, "Looking for duplicates…"), progressOf(next)));
    show(job);
    const end = isOver(job) ? job : await follow(job.id, show, control.signal);
    put(state);
    if (end.state === "succeeded") return load();
    if (end.problem) return put(state, problemBox({ title: "Duplicates could not be found", message: end.problem.detail, hint: end.problem.hint, code: end.problem.code }, find));
    return put(state, h("div", { class: "quiet" }, h("p", {}, "This was cancelled."), button("again", "Look again", find)));
  }

  function append(body) {
    list.append(...body.groups.map((group) => groupCard(group, collection, () => {})));
    put(more, body.next_cursor ? button(null, "More groups", async () => append(await get(path(body.next_cursor)))) : null);
  }

  async function load() {
    put(state, h("p", { class: "wait" }, "One moment…"));
    const body = await get(path(), { signal: control.signal });
    put(state);
    put(list);
    if (body.report || body.groups) {
      sub.textContent = `${count(body.report.images, "picture")} looked at${body.computed_at ? `, ${when(body.computed_at)}` : ""}`;
      append(body);
      if (!body.groups.length) {
        put(state, h("div", { class: "quiet" }, h("p", {}, "Nothing is here twice."), h("p", {}, h("a", { href: link("library", collection) }, "Back to the collection"))));
      }
      announce(body.groups.length ? `${count(body.groups.length, "group")}${body.next_cursor ? " and more" : ""}` : "Nothing is here twice");
    }
    if (body.state === "running") {
      // The job may be gone before it could be followed; the list is asked again then.
      if (body.job) return wait(body.job);
      await sleep(2, control.signal);
      return load();
    }
    put(
      tools,
      body.stale ? h("p", { class: "small" }, "The collection has changed since.") : null,
      mayWrite() ? button("again", "Look again", find) : null,
    );
    return null;
  }

  put(
    main,
    h("div", { class: "duplicates" }, h("header", { class: "verdict" }, h("div", {}, heading, sub), tools), state, list, more),
  );
  return { load, end: () => control.abort() };
}

let page = null;

export const duplicatesView = {
  enter(main) {
    page = duplicates(main);
    page.load().catch((error) => {
      if (error.name !== "AbortError") put(main, problemBox(error, () => (put(main), duplicatesView.enter(main)), "h1"));
    });
  },
  update: () => {},
  leave: () => page.end(),
};
