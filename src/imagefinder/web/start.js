/** Loads the texts, then the page: modules use texts while they are loaded. */

import { loadTexts } from "./texts.js";

try {
  await loadTexts();
  await import("./app.js");
} catch (error) {
  // The one text that cannot come from a catalogue.
  document.querySelector("#main")?.append(`This page could not be loaded: ${error}. Reload it.`);
  throw error;
}
