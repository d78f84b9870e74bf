/** What the server said of itself, and what may be done here. */

import { collectionPath, get } from "./api.js";

export const session = { info: null, limits: null, methods: [], collection: "default" };

export async function begin() {
  session.info = await get("v1/info");
  [session.limits, session.methods] = await Promise.all([get("v1/limits"), get("v1/methods").then((body) => body.methods)]);
  if (!session.info.collections.includes(session.collection)) session.collection = session.info.default_collection;
}

export const mayWrite = () => !session.info.read_only && session.info.auth.access !== "read";

export const about = (collection) => get(collectionPath(collection));

/** Names of the methods that the collection has features of. */
export const indexed = async (collection) => (await about(collection)).methods.map((method) => method.name);

export const method = (name) => session.methods.find((each) => each.name === name);
