/** Removes images from a collection with undo: the request is sent after a delay, or when the page is left. */

import { Problem, imagePath, send } from "./api.js";
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

/** Sends one request.
 * @param {string} collection
 * @param {string} id
 * @param {boolean} keepalive
 * @returns {Promise<Problem | null>} why it failed */
async function removeNow(collection, id, keepalive) {
  if (!pending.delete(keyOf(collection, id))) return null;
  try {
    await send(imagePath(collection, id), { method: "DELETE", keepalive });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.code !== "unknown_image") return error;
  }
  return null;
}

/** Sends the requests one by one, so that a large group does not crowd out other requests.
 * @param {string} collection @param {string[]} ids @param {(ids: string[]) => void} onfail */
async function removeAll(collection, ids, onfail) {
  const failed = [];
  for (const id of ids) {
    const problem = await removeNow(collection, id, false);
    if (problem) failed.push({ id, problem });
  }
  if (!failed.length) return;
  const [{ id, problem }] = failed;
  const what = failed.length === 1 ? id : t("count.images", { count: failed.length });
  toast(`${t("remove.failed", { what })}: ${problem.message} ${problem.hint}`, { kind: "bad", seconds: 15 });
  onfail(failed.map((each) => each.id));
}

/** Removes images after a delay, unless the user undoes it.
 * @param {string} collection
 * @param {Rest.Image[]} images
 * @param {(ids: string[]) => void} onrestore gets the images that stay: undone, or refused by the server */
export function remove(collection, images, onrestore) {
  const ids = images.map((image) => image.id);
  const commit = (leaving = false) => {
    if (leaving) for (const id of ids) removeNow(collection, id, true);
    else removeAll(collection, ids, onrestore);
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
