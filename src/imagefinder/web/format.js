/** Numbers, sizes, times and names as text. */

import { locale, t } from "./texts.js";

const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** A power of ten.
 * @param {number} exponent */
export function power(exponent) {
  const digits = [...String(Math.abs(exponent))].map((digit) => SUPERSCRIPT[Number(digit)]);
  return `10${exponent < 0 ? "⁻" : ""}${digits.join("")}`;
}

/** With a fixed number of decimals.
 * @param {number} value @param {number} decimals */
const digits = (value, decimals) =>
  value.toLocaleString(locale, { minimumFractionDigits: decimals, maximumFractionDigits: decimals });

/** At most 3 significant digits; a power of ten where that is shorter.
 * @param {number | null | undefined} value */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) {
    const exponent = Math.floor(Math.log10(size));
    const factor = value / 10 ** exponent;
    return Number.isFinite(factor) ? `${digits(factor, 1)}×${power(exponent)}` : power(exponent);
  }
  if (Number.isInteger(value)) return value.toLocaleString(locale);
  return Number(value.toPrecision(3)).toLocaleString(locale, { maximumFractionDigits: 4 });
}

/** @param {number} fraction */
export const percent = (fraction) => `${Math.floor(fraction * 100)} %`;

/** @param {number} value */
export function bytes(value) {
  if (value < 1000) return t("count.bytes", { count: value });
  const units = ["kB", "MB", "GB", "TB"];
  let scaled = value / 1000;
  let unit = 0;
  while (scaled >= 1000 && unit < units.length - 1) {
    scaled /= 1000;
    unit += 1;
  }
  return `${digits(scaled, scaled < 10 ? 1 : 0)} ${units[unit]}`;
}

/** @param {number} value seconds */
export const duration = (value) => (value < 1 ? `${Math.round(value * 1000)} ms` : `${digits(value, 1)} s`);

/** A local date and time.
 * @param {string | null} text ISO 8601 */
export const dateTime = (text) =>
  text ? new Date(text).toLocaleString(locale, { dateStyle: "medium", timeStyle: "short" }) : "";

/** The date and time that a camera showed, with its zone if that is known.
 * @param {string} text ISO 8601, with any number of parts */
export function localTime(text) {
  const [, wall, zone] = /^(\d{4}-\d\d-\d\dT\d\d:\d\d)[^Z+-]*(.*)$/.exec(text) ?? [];
  if (!wall) return text;
  const shown = new Date(`${wall}Z`).toLocaleString(locale, {
    dateStyle: "medium",
    timeStyle: "short",
    timeZone: "UTC",
  });
  return zone ? `${shown} (UTC${zone === "Z" ? "" : zone})` : shown;
}

/** @param {{width: number, height: number}} image */
export const dimensions = ({ width, height }) => `${width} × ${height}`;

/** The last part of an id.
 * @param {string} id */
export const fileName = (id) => id.split("/").pop() || id;
