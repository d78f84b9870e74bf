/** The texts of the page: one catalogue for each language, in `texts.LANGUAGE.json`. CONTRIBUTING.md says how to add one. */

/** @typedef {keyof typeof import("./texts.en.json")} Key */
/** A text with `{name}` where a value goes, or one text for each plural category of `{count}`.
 * @typedef {string | Record<string, string>} Text */
/** @typedef {Record<string, string | number>} Values numbers are formatted */

/** Languages with a catalogue, each by its own name.
 * @type {Record<string, string>} */
export const LANGUAGES = { en: "English", de: "Deutsch" };
const STORAGE = "imagefinder.language";

/** @param {string} tag */
const languageOf = (tag) => tag.split("-")[0].toLowerCase();

/** The language that the user chose, or the first of the browser's that has a catalogue. */
export const language =
  [localStorage.getItem(STORAGE) ?? "", ...navigator.languages]
    .map(languageOf)
    .find((each) => Object.hasOwn(LANGUAGES, each)) ?? "en";

/** For numbers and dates: the browser's variant of the language, such as British English. */
export const locale = navigator.languages.find((tag) => languageOf(tag) === language) ?? language;

const plural = new Intl.PluralRules(locale);
/** @type {Record<string, Text>} */
const catalogue = {};

/** Loads the catalogue. Modules that use `t` while they are loaded must be imported afterwards. */
export async function loadTexts() {
  const response = await fetch(`web/texts.${language}.json`);
  if (!response.ok) throw new Error(`status ${response.status}`);
  Object.assign(catalogue, await response.json());
  document.documentElement.lang = language;
}

/** Changes the language. The page is loaded again, in the same place.
 * @param {string} chosen */
export function chooseLanguage(chosen) {
  localStorage.setItem(STORAGE, chosen);
  location.reload();
}

/** @param {string} key @param {unknown} count @returns {string} */
function template(key, count) {
  const text = catalogue[key];
  if (text === undefined) throw new Error(`no text ${key} in the catalogue ${language}`);
  if (typeof text === "string") return text;
  return text[plural.select(Number(count))] ?? text.other;
}

/** @param {unknown} value */
const shown = (value) => (typeof value === "number" ? value.toLocaleString(locale) : String(value));

/** A text of the catalogue.
 * @param {Key} key
 * @param {Values} [values] for its placeholders; `count` also chooses the plural form */
export const t = (key, values = {}) =>
  template(key, values.count).replaceAll(/\{(\w+)\}/g, (_, name) => shown(values[name]));

/** A text whose placeholders are elements.
 * @param {Key} key
 * @param {Record<string, Node | string | number>} values
 * @returns {(Node | string)[]} */
export const parts = (key, values) =>
  template(key, values.count)
    .split(/\{(\w+)\}/)
    .map((part, index) => {
      const value = index % 2 ? values[part] : part;
      return value instanceof Node ? value : shown(value);
    });

/** A text that only some catalogues have: for the codes of the server's problems.
 * @param {string} key */
export const optional = (key) => (Object.hasOwn(catalogue, key) ? template(key, 1) : null);
