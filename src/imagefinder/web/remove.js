/** Removes images from a collection with undo: the request is sent after a delay, or when the page is left. */

import { Problem, collectionPath, send } from "./api.js";
import { toast } from "./dom.js";
import { t } from "./texts.js";

const UNDO_SECONDS = 8;

/** Images about to be removed: collection and id -> a function that sends the requests now.
 * @type {Map<string, (leaving?: boolean) => void>} */
const pending = new Map();

/** Says that removing images deletes no files; empty if the collection was not made from files.
 * @param {Rest.Image[]} images */
export function filesNote(images) {
  const files = images.filter((image) => image.content).length;
  return files ? t("remove.files-stay", { count: files }) : "";
}

/** @param {string} text @param {Rest.Image[]} images */
const withNote = (text, images) => [text, filesNote(images)].filter(Boolean).join("; ");

/** The tooltip of a button that removes images.
 * @param {Rest.Image[]} images */
export const removalNote = (images) => withNote(t("remove.action"), images);

/** @param {string} collection @param {string} id */
const keyOf = (collection, id) => JSON.stringify([collection, id]);

/** @param {string} collection @param {string} id */
export const isPending = (collection, id) => pending.has(keyOf(collection, id));

const AT_ONCE = 500;

/** Sends the requests one by one, so that a large group does not crowd out other requests.
 * @param {string} collection @param {string[]} ids @param {boolean} leaving the page
 * @returns {Promise<{ids: string[], problem: Problem} | null>} what could not be removed, and why */
async function removeAll(collection, ids, leaving) {
  const left = ids.filter((id) => pending.delete(keyOf(collection, id)));
  while (left.length) {
    const some = left.slice(0, AT_ONCE);
    const request = send(collectionPath(collection, "/removals"), {
      method: "POST",
      body: JSON.stringify({ ids: some }),
      headers: { "Content-Type": "application/json" },
      keepalive: leaving,
    });
    if (leaving) request.catch(() => {});
    try {
      if (!leaving) await request;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return { ids: left, problem: error };
    }
    left.splice(0, AT_ONCE);
  }
  return null;
}

/** Removes images after a delay, unless the user undoes it.
 * @param {string} collection
 * @param {Rest.Image[]} images
 * @param {(ids: string[]) => void} onrestore gets the images that stay: undone, or refused by the server
 * @param {() => void} [ondone] called when the server has removed images */
export function remove(collection, images, onrestore, ondone = () => {}) {
  const ids = images.map((image) => image.id);
  const commit = async (leaving = false) => {
    const failed = await removeAll(collection, ids, leaving);
    if (failed) {
      const what = failed.ids.length === 1 ? failed.ids[0] : t("count.images", { count: failed.ids.length });
      const text = `${t("remove.failed", { what })}: ${failed.problem.message} ${failed.problem.hint}`;
      toast(text, { kind: "bad", seconds: 15 });
      onrestore(failed.ids);
    }
    if (!leaving) ondone();
  };
  for (const id of ids) pending.set(keyOf(collection, id), commit);
  const undo = () => {
    for (const id of ids) pending.delete(keyOf(collection, id));
    onrestore(ids);
  };
  const what = ids.length === 1 ? ids[0] : t("count.images", { count: ids.length });
  toast(withNote(t("remove.done", { what }), images), {
    seconds: UNDO_SECONDS,
    action: { label: t("remove.undo"), run: undo },
    onend: (reason) => {
      if (reason !== "action") commit();
    },
  });
}

addEventListener("pagehide", () => {
  for (const commit of new Set(pending.values())) commit(true);
});
