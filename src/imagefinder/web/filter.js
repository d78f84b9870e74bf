/** The metadata filter as a user types it. */

import { textInput } from "./dom.js";
import { t } from "./texts.js";

/** Reads `kind=cat year=1999`, or JSON, as the filter that the REST API takes.
 * @param {string} text
 * @returns {Record<string, unknown> | null} `null` for an empty text
 * @throws {Error} with a message for the user */
export function parseFilter(text) {
  const trimmed = text.trim();
  if (!trimmed) return null;
  if (trimmed.startsWith("{")) {
    try {
      return JSON.parse(trimmed);
    } catch {
      throw new Error(t("filter.invalid-json"));
    }
  }
  /** @type {Record<string, unknown>} */
  const filter = {};
  for (const [word, name, quoted, bare] of trimmed.matchAll(/([^\s=]+)=(?:"([^"]*)"|(\S+))|\S+/g)) {
    if (!name) throw new Error(t("filter.invalid-pair", { word }));
    const isJson = bare !== undefined && /^(-?\d+(\.\d+)?|true|false|null)$/.test(bare);
    filter[name] = isJson ? JSON.parse(bare) : (quoted ?? bare);
  }
  return filter;
}

/** Whether an input contains a valid filter; the browser reports an invalid one at the input.
 * @param {HTMLInputElement} input */
export function checkFilter(input) {
  let message = "";
  try {
    parseFilter(input.value);
  } catch (error) {
    message = error instanceof Error ? error.message : String(error);
  }
  input.setCustomValidity(message);
  return input.reportValidity();
}

/** @param {import("./dom.js").Properties} properties */
export const filterInput = (properties) => textInput({ spellcheck: "false", ...properties });
