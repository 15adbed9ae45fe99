/** How far what was asked for is. */

import { say, the } from "../make.js";

const WORDS = {
  fetching: "Fetching the example …",
  sending: "Sending …",
  computing: "Reading, looking, comparing …",
  receiving: "Receiving …",
  painting: "Finding components …",
};

/** @param {keyof typeof WORDS} doing @param {number} [share] 0 to 1, where it is known */
export function showProgress(doing, share) {
  if (the("progress").hidden) say(WORDS[doing]); // once: numbers are for the eye
  the("progress").hidden = false;
  the("doing").textContent = share === undefined ? WORDS[doing] : `${WORDS[doing]} ${Math.round(100 * share)} %`;
  const bar = the("progress").querySelector("progress");
  if (share === undefined) bar.removeAttribute("value");
  else bar.value = share;
}

export function hideProgress() {
  the("progress").hidden = true;
}
