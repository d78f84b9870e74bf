/** What the server offers, and what the user may do. */

import { collectionPath, get } from "./api.js";

/** @typedef {object} Session
 * @property {Rest.ServerInfo} info
 * @property {Rest.ServerLimits | null} limits
 * @property {Rest.MethodStatus[]} methods
 * @property {string} collection */

/** @type {Session} */
export const session = {
  info: {
    version: "",
    started_at: "",
    collections: [],
    default_collection: "default",
    auth: { required: false, access: "none" },
    url_queries: false,
    job_roots: [],
    read_only: true,
    keep_originals: false,
    image_suffixes: [],
    shows_locations: false,
  },
  limits: null,
  methods: [],
  collection: "default",
};

/** Loads the server's description; again after a collection was created or deleted. */
export async function loadSession() {
  session.info = await get("v1/info");
  /** @type {[Rest.ServerLimits, Rest.MethodList]} */
  const [limits, { methods }] = await Promise.all([get("v1/limits"), get("v1/methods")]);
  session.limits = limits;
  session.methods = methods;
  if (!session.info.collections.includes(session.collection)) {
    // A key may be restricted to other collections than the default one.
    const { collections, default_collection: preferred } = session.info;
    session.collection = collections.includes(preferred) ? preferred : (collections[0] ?? preferred);
  }
}

/** File types for a file chooser: those that the browser knows, and those that only the server reads. */
export const acceptedFiles = () =>
  ["image/*", ...session.info.image_suffixes.map((suffix) => `.${suffix}`)].join(",");

export const mayWrite = () => !session.info.read_only && session.info.auth.access !== "read";

/** @param {string} collection @returns {Promise<Rest.CollectionInfo>} */
export const collectionInfo = (collection) => get(collectionPath(collection));

/** @param {string} name */
export const methodStatus = (name) => session.methods.find((each) => each.name === name);
