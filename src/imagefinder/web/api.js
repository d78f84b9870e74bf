/** REST client: sends requests, turns errors into `Problem`, keeps the API key in this tab. */

import { optional, t } from "./texts.js";

const KEY = "imagefinder.key";

/** @type {{requestKey: ((problem: Problem) => Promise<boolean>) | null}} */
const handlers = { requestKey: null };

/** Sets the handler for status 401. It resolves to whether the user entered a new key.
 * @param {(problem: Problem) => Promise<boolean>} requestKey */
export function onUnauthorized(requestKey) {
  handlers.requestKey = requestKey;
}

export const getKey = () => sessionStorage.getItem(KEY);

/** @param {string} key an empty key removes the stored one */
export function setKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** An error response (RFC 9457), or a request that got no response. */
export class Problem extends Error {
  /** @param {Partial<Rest.ProblemDetails>} details @param {Response | null} [response] */
  constructor(details, response = null) {
    const known = details.code ? `problem.${details.code}` : "";
    const detail = optional(`${known}.detail`);
    super(detail ?? (details.detail || details.title || t("problem.no-reason")));
    /** Language of the message and the hint, if the server wrote them. */
    this.lang = detail === null && details.detail ? "en" : null;
    this.title = optional(known) ?? (details.title || t("problem.request-failed"));
    this.hint = optional(`${known}.hint`) ?? details.hint ?? "";
    this.code = details.code ?? "";
    this.status = details.status ?? response?.status ?? 0;
    this.retryable = Boolean(details.retryable);
    this.requestId = details.request_id ?? response?.headers.get("X-Request-Id") ?? "";
    this.retryAfter = Number(response?.headers.get("Retry-After")) || 0;
  }
}

const UNREACHABLE = {
  title: t("problem.unreachable"),
  detail: t("problem.unreachable.detail"),
  hint: t("problem.unreachable.hint"),
  code: "unreachable",
  retryable: true,
};

const cancelled = () => new DOMException("cancelled", "AbortError");

const BASE = new URL(".", document.baseURI).pathname;

/** An absolute URL. Behind a proxy that adds a prefix, links of the server have it if the proxy states it.
 * @param {string} path relative to this page, or a link of the server */
export const resolve = (path) =>
  new URL(path.startsWith(BASE) ? path : path.replace(/^\/+/, ""), document.baseURI).href;

/** @param {string} name @param {string} [rest] */
export const collectionPath = (name, rest = "") => `v1/collections/${encodeURIComponent(name)}${rest}`;

/** A stored image. Its id is in the query: in a path, the browser would resolve `..` and reach another image.
 * @param {string} collection @param {string} id @param {Record<string, string>} [values] further parameters */
export const imagePath = (collection, id, values = {}) =>
  collectionPath(collection, `/image${queryString({ id, ...values })}`);

/** A query string without the empty values.
 * @param {Record<string, string | number | null | undefined>} values */
export function queryString(values) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined && value !== null && value !== "") search.set(name, String(value));
  }
  return search.size ? `?${search}` : "";
}

/** @param {Response} response */
async function problemOf(response) {
  const text = await response.text().catch(() => "");
  try {
    return new Problem(JSON.parse(text), response);
  } catch {
    const detail = t("problem.other-server");
    return new Problem({ title: t("problem.status", { status: String(response.status) }), detail }, response);
  }
}

/** Sends a request.
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<Response>} a successful response
 * @throws {Problem} for an error response; an `AbortError` when cancelled */
export async function send(path, options = {}) {
  const key = getKey();
  const headers = new Headers(options.headers);
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let response;
  try {
    response = await fetch(resolve(path), { ...options, headers });
  } catch (error) {
    throw error instanceof DOMException && error.name === "AbortError" ? error : new Problem(UNREACHABLE);
  }
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (await hasNewKey(problem, key)) return send(path, options);
  throw problem;
}

/** Whether a request that failed may be sent again with another key.
 * @param {Problem} problem
 * @param {string | null} used the key that was sent */
async function hasNewKey(problem, used) {
  if (problem.status !== 401 || !handlers.requestKey) return false;
  return getKey() !== used || handlers.requestKey(problem);
}

/** GET a JSON document.
 * @template T
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<T>} */
export const get = async (path, options = {}) => (await send(path, options)).json();

/** POST a form or a JSON document.
 * @template T
 * @param {string} path
 * @param {FormData | object} body
 * @param {RequestInit} [options]
 * @returns {Promise<T>} */
export async function post(path, body, options = {}) {
  const form = body instanceof FormData;
  const response = await send(path, {
    ...options,
    method: "POST",
    body: form ? body : JSON.stringify(body),
    headers: form ? {} : { "Content-Type": "application/json" },
  });
  return response.json();
}

/** PUT a file and report the upload's progress, which fetch cannot.
 * @param {string} path
 * @param {File} file
 * @param {{onprogress: (fraction: number) => void, signal: AbortSignal}} options
 * @returns {Promise<number>} the status: 201 added, 200 replaced */
export function upload(path, file, { onprogress, signal }) {
  const key = getKey();
  return new Promise((resolveUpload, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", resolve(path));
    const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
    request.setRequestHeader("Content-Type", type);
    if (key) request.setRequestHeader("Authorization", `Bearer ${key}`);
    request.upload.onprogress = (event) => event.lengthComputable && onprogress(event.loaded / event.total);
    request.onerror = () => reject(new Problem(UNREACHABLE));
    request.onabort = () => reject(cancelled());
    request.onload = async () => {
      if (request.status < 300) return resolveUpload(request.status);
      const problem = await problemOf(responseOf(request));
      if (!(await hasNewKey(problem, key))) return reject(problem);
      return upload(path, file, { onprogress, signal }).then(resolveUpload, reject);
    };
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

/** @param {XMLHttpRequest} request */
function responseOf(request) {
  const headers = new Headers();
  for (const name of ["X-Request-Id", "Retry-After"]) headers.set(name, request.getResponseHeader(name) ?? "");
  return new Response(request.responseText, { status: request.status, headers });
}

/** Server-sent events by fetch, because EventSource cannot send a key. Yields each event's JSON data.
 * @template T
 * @param {string} path
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<T>} */
export async function* events(path, signal) {
  const response = await send(path, { signal, headers: { Accept: "text/event-stream" } });
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value.replaceAll("\r\n", "\n");
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const data = block.split("\n").flatMap((line) => /^data: ?(.*)$/.exec(line)?.slice(1) ?? []);
      if (data.length) yield JSON.parse(data.join("\n"));
    }
  }
}

/** @param {number} seconds @param {AbortSignal} [signal] @returns {Promise<void>} */
export const sleep = (seconds, signal) =>
  new Promise((resolveSleep, reject) => {
    const timer = setTimeout(resolveSleep, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(cancelled());
    });
  });
