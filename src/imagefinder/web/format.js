/** Numbers, sizes, times and names as text. */

const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** A power of ten.
 * @param {number} exponent */
export function power(exponent) {
  const digits = [...String(Math.abs(exponent))].map((digit) => SUPERSCRIPT[Number(digit)]);
  return `10${exponent < 0 ? "⁻" : ""}${digits.join("")}`;
}

/** At most 3 significant digits; a power of ten where that is shorter.
 * @param {number | null | undefined} value */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) {
    const exponent = Math.floor(Math.log10(size));
    const factor = value / 10 ** exponent;
    return Number.isFinite(factor) ? `${factor.toFixed(1)}×${power(exponent)}` : power(exponent);
  }
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Number(value.toPrecision(3)).toLocaleString("en", { maximumFractionDigits: 4 });
}

/** "1 image", "2 images".
 * @param {number} value @param {string} one @param {string} [many] */
export const count = (value, one, many = `${one}s`) => `${value.toLocaleString("en")} ${value === 1 ? one : many}`;

/** @param {number} fraction */
export const percent = (fraction) => `${Math.floor(fraction * 100)} %`;

/** @param {number} value */
export function bytes(value) {
  if (value < 1000) return `${value} bytes`;
  const units = ["kB", "MB", "GB", "TB"];
  let scaled = value / 1000;
  let unit = 0;
  while (scaled >= 1000 && unit < units.length - 1) {
    scaled /= 1000;
    unit += 1;
  }
  return `${scaled < 10 ? scaled.toFixed(1) : Math.round(scaled)} ${units[unit]}`;
}

/** @param {number} value seconds */
export const duration = (value) => (value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(1)} s`);

/** A local date and time.
 * @param {string | null} text ISO 8601 */
export const dateTime = (text) =>
  text ? new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : "";

/** @param {{width: number, height: number}} image */
export const dimensions = ({ width, height }) => `${width} × ${height}`;

/** The last part of an id.
 * @param {string} id */
export const fileName = (id) => id.split("/").pop() || id;
