/** Deleting with a way back: the server is asked some seconds later, or when the page is left. */

import { collectionPath, quote, send } from "./api.js";
import { toast } from "./dom.js";
import { count, short } from "./words.js";

const SECONDS = 8;

/** What will be deleted: a key of collection and id -> how to ask for it now. */
const pending = new Map();

const keyOf = (collection, id) => JSON.stringify([collection, id]);

export const isPending = (collection, id) => pending.has(keyOf(collection, id));

async function commit(collection, ids, onfail, keepalive = false) {
  // One after the other, so that a large group does not take the place of others' requests; all at once at the end.
  const remove = async (id) => {
    if (!pending.delete(keyOf(collection, id))) return null;
    try {
      await send(collectionPath(collection, `/images/${quote(id)}`), { method: "DELETE", keepalive });
    } catch (error) {
      if (error.code !== "unknown_image") return { id, error };
    }
    return null;
  };
  if (keepalive) return void ids.map(remove);
  const failed = [];
  for (const id of ids) {
    const failure = await remove(id);
    if (failure) failed.push(failure);
  }
  if (!failed.length) return;
  const [first] = failed;
  toast(`${failed.length === 1 ? short(first.id) : count(failed.length, "picture")} could not be deleted: ${first.error.message} ${first.error.hint}`, { kind: "bad", seconds: 15 });
  onfail(failed.map(({ id }) => id));
}

/** Deletes after a while, unless it is undone.
 * @param onundo gets the ids that are back: undone, or refused by the server */
export function remove(collection, ids, { onundo = () => {} } = {}) {
  const run = (keepalive = false) => commit(collection, ids, onundo, keepalive);
  for (const id of ids) pending.set(keyOf(collection, id), run);
  toast(ids.length === 1 ? `Deleted ${short(ids[0])}` : `Deleted ${count(ids.length, "picture")}`, {
    seconds: SECONDS,
    action: {
      word: "Undo",
      run: () => {
        for (const id of ids) pending.delete(keyOf(collection, id));
        onundo(ids);
      },
    },
    onend: (reason) => reason !== "action" && run(),
  });
}

addEventListener("pagehide", () => {
  for (const run of new Set(pending.values())) run(true);
});
