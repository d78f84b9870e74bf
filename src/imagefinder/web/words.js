/** What the API says in terms of the field, in plain words. */

export const RELATIONS = {
  identical: "The very same picture",
  "edited copy": "The same picture, edited",
  "part of": "Your picture is a part of this one",
  contains: "Your picture contains this one",
  "same scene": "The same thing or place, in another picture",
  similar: "Alike, without points in common",
};

/** Of two stored pictures, the first seen from its side. */
export const STORED_RELATIONS = {
  ...RELATIONS,
  identical: "the same picture",
  "edited copy": "the same picture, edited",
  "part of": "a part of it",
  contains: "contains it",
  "same scene": "shows the same scene",
};

export const DECISIONS = {
  match: { word: "Match", icon: "check" },
  possible: { word: "Possible", icon: "maybe" },
  none: { word: "Not matching", icon: "none" },
};

export const FOUND_BY = {
  keypoints: "keypoints",
  tokens: "tokens of the network",
  thumbnails: "keypoints of the thumbnails",
  "whole image": "comparing the whole pictures",
};

export const STAGES = {
  filter: "apply the filter",
  decode: "decode the picture",
  calibrate: "calibrate scores",
  index: "search the index",
  extract: "extract features",
  match: "match features",
  verify: "verify candidates",
  decide: "decide",
  total: "in all",
};

const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";

export const power = (exponent) => `10${exponent < 0 ? "⁻" : ""}${[...String(Math.abs(exponent))].map((d) => SUPERSCRIPT[d]).join("")}`;

/** 3 significant digits at most, powers of ten where that is shorter. */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) {
    const exponent = Math.floor(Math.log10(size));
    const factor = value / 10 ** exponent;
    return Number.isFinite(factor) ? `${factor.toFixed(1)}·${power(exponent)}` : power(exponent);
  }
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Number(value.toPrecision(3)).toLocaleString("en", { maximumFractionDigits: 4 });
}

export const count = (value, one, many = `${one}s`) => `${value.toLocaleString("en")} ${value === 1 ? one : many}`;

export const percent = (value) => `${Math.floor(value * 100)} %`;

/** How sure: the E-value is the number of pictures of the collection that would do as well by chance. */
export function sure(evalue) {
  if (evalue === null || evalue === undefined) return "";
  if (evalue < 1e-9) return "Chance is ruled out";
  if (evalue <= 0.01) return `By chance once in ${number(Math.round(1 / evalue))} such searches`;
  if (evalue <= 1) return `By chance in ${evalue > 0.5 ? "most" : `1 of ${Math.round(1 / evalue)}`} such searches`;
  return `${evalue < 10 ? number(evalue) : number(Math.round(evalue))} pictures here would do as well by chance`;
}

/** Why: what was found, shortly. */
export function why(hit) {
  const evidence = hit.evidence;
  if (!evidence) return hit.relation === "similar" ? "No placement of one on the other was found" : "";
  const parts = [];
  if (evidence.inliers) parts.push(`${number(evidence.inliers)} of ${number(evidence.matches)} points fit`);
  if (evidence.agreement !== null) parts.push(`${percent(evidence.agreement)} looks alike`);
  if (evidence.mirrored) parts.push("mirrored");
  return parts.join(" · ");
}

export function bytes(value) {
  if (value < 1000) return `${value} bytes`;
  const units = ["kB", "MB", "GB", "TB"];
  let unit = -1;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export const seconds = (value) => (value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(1)} s`);

export const when = (text) => (text ? new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : "");

/** The last part of an id: what people know a picture by. */
export const short = (id) => id.split("/").pop() || id;

/** Words for a filter on metadata: `kind=cat year=1999`, or JSON; to what the API takes.
 * @throws {Error} in words */
export function filterOf(text) {
  text = text.trim();
  if (!text) return null;
  if (text.startsWith("{")) {
    try {
      return JSON.parse(text);
    } catch {
      throw new Error("This filter begins like JSON and is none");
    }
  }
  const filter = {};
  for (const [word, name, quoted, bare] of text.matchAll(/([^\s=]+)=(?:"([^"]*)"|(\S+))|\S+/g)) {
    if (!name) throw new Error(`“${word}” is not of the form name=value`);
    filter[name] = bare !== undefined && /^(-?\d+(\.\d+)?|true|false|null)$/.test(bare) ? JSON.parse(bare) : (quoted ?? bare);
  }
  return filter;
}
