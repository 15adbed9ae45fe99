/** What the user says of files that do not say it themselves. */

import { the } from "../make.js";

const NAMES = ["bands", "boa_offset", "scale"];

const field = (name) => the("options").querySelector(`[name=${name}]`);

/** @returns {Record<string, string>} options of the service that were given */
export const given = () =>
  Object.fromEntries(NAMES.map((name) => [name, field(name).value.trim()]).filter(([, value]) => value));

/** @returns {string} the API key, or nothing; never kept beyond the page */
export const givenKey = () => field("key").value.trim();

/** @param {string} key that was asked for: unlike options, it is right for the next image, too */
export const giveKey = (key) => (field("key").value = key);

/** @param {() => void} onChange they were changed, and an image may be shown that was read without them */
export function onOptions(onChange) {
  const button = document.querySelector("[data-does=options]");
  let before = "";
  const now = () => JSON.stringify([given(), givenKey()]);
  button.addEventListener("click", () => (before = now()));
  the("options").addEventListener("close", () => {
    const count = Object.keys(given()).length;
    button.textContent = count ? `Options (${count})` : "Options";
    if (now() !== before) onChange();
  });
}
