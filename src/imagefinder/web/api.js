/** The REST API: one way to ask, errors of one kind, a key that stays in this tab. */

const KEY = "imagefinder.key";

let demand = null;

/** Whom to ask for a key; gets the problem, answers whether there is a new one. */
export const whenKeyIsDemanded = (ask) => (demand = ask);

export const getKey = () => sessionStorage.getItem(KEY);

export const setKey = (key) => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY));

/** An answer that is no success, in the words of the server (RFC 9457). */
export class Problem extends Error {
  constructor(problem, response = null) {
    super(problem.detail || problem.title || "The server gave no reason");
    this.title = problem.title || "That did not work";
    this.hint = problem.hint ?? "";
    this.code = problem.code ?? "";
    this.status = problem.status ?? response?.status ?? 0;
    this.retryable = Boolean(problem.retryable);
    this.requestId = problem.request_id ?? response?.headers.get("X-Request-Id") ?? "";
    this.retryAfter = Number(response?.headers.get("Retry-After")) || 0;
  }
}

const UNREACHABLE = {
  title: "The server does not answer",
  detail: "No answer came, so nothing can be said about this request.",
  hint: "Is it running, and are you connected?",
  code: "unreachable",
  retryable: true,
};

/** Relative to this page, so that it works behind a proxy that adds a prefix. */
export const address = (path) => new URL(path.replace(/^\/+/, ""), document.baseURI).href;

/** An id as the rest of a path: its slashes stay. */
export const quote = (id) => id.split("/").map(encodeURIComponent).join("/");

export const collectionPath = (name, rest = "") => `v1/collections/${encodeURIComponent(name)}${rest}`;

export const query = (values) => {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value !== undefined && value !== null && value !== "") search.set(name, value);
  return search.size ? `?${search}` : "";
};

async function problemOf(response) {
  const text = await response.text().catch(() => "");
  try {
    return new Problem(JSON.parse(text), response);
  } catch {
    return new Problem({ title: `Status ${response.status}`, detail: "The server's answer is not one of imagefinder." }, response);
  }
}

/** @throws {Problem} for anything but success; an AbortError when cancelled */
export async function send(path, options = {}) {
  const key = getKey();
  const headers = new Headers(options.headers);
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let response;
  try {
    response = await fetch(address(path), { ...options, headers });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Problem(UNREACHABLE);
  }
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (await mayRetryWithKey(problem, key)) return send(path, options);
  throw problem;
}

async function mayRetryWithKey(problem, used) {
  if (problem.status !== 401 || !demand) return false;
  return getKey() !== used ? true : demand(problem);
}

export const get = async (path, options = {}) => (await send(path, options)).json();

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

/** Sends a file and tells how far it is, which fetch cannot. @returns {Promise<{status: number, body: object}>} */
export function upload(path, file, { onprogress = () => {}, signal } = {}) {
  const key = getKey();
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", address(path));
    request.setRequestHeader("Content-Type", file.type.startsWith("image/") ? file.type : "application/octet-stream");
    if (key) request.setRequestHeader("Authorization", `Bearer ${key}`);
    request.upload.onprogress = (event) => event.lengthComputable && onprogress(event.loaded / event.total);
    request.onerror = () => reject(new Problem(UNREACHABLE));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    request.onload = async () => {
      if (request.status < 300) return resolve({ status: request.status, body: JSON.parse(request.responseText) });
      const headers = new Headers();
      for (const name of ["X-Request-Id", "Retry-After"]) headers.set(name, request.getResponseHeader(name) ?? "");
      const problem = await problemOf(new Response(request.responseText, { status: request.status, headers }));
      if (await mayRetryWithKey(problem, key)) upload(path, file, { onprogress, signal }).then(resolve, reject);
      else reject(problem);
    };
    signal?.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

/** Server-sent events by fetch, because EventSource cannot send a key. Yields `{event, data}`. */
export async function* events(path, signal) {
  const response = await send(path, { signal, headers: { Accept: "text/event-stream" } });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value.replaceAll("\r\n", "\n");
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const fields = { event: "message", data: [] };
      for (const line of block.split("\n")) {
        const [, name, rest] = /^(\w+): ?(.*)$/.exec(line) ?? [];
        if (name === "data") fields.data.push(rest);
        else if (name === "event") fields.event = rest;
      }
      if (fields.data.length) yield { event: fields.event, data: JSON.parse(fields.data.join("\n")) };
    }
  }
}

export const sleep = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    });
  });
