/** What the model card says: thresholds of labels and groups, members of groups. */

import { keyHeader } from "./invocation.js";

/**
 * @typedef {{name: string, version: string, thresholds: Map<string, number>, groups: Map<string, string[]>}} Model
 */

/** @type {Model} */
export const UNKNOWN = { name: "", version: "", thresholds: new Map(), groups: new Map() };

/** @param {string} key @returns {Promise<Model>} `UNKNOWN` where the card is not to be had */
export async function modelCard(key) {
  const answer = await fetch(new URL("model", document.baseURI), { headers: keyHeader(key) }).catch(() => null);
  return answer?.ok ? modelOf(await answer.json()) : UNKNOWN;
}

/** @param {any} card a STAC item @returns {Model} */
function modelOf(card) {
  const manifest = card.properties["aerial:manifest"];
  const told = [...manifest.labels, ...manifest.groups].filter((one) => one.threshold !== null);
  return {
    name: manifest.name,
    version: manifest.version,
    thresholds: new Map(told.map((one) => [one.name, one.threshold])),
    groups: new Map(manifest.groups.map((group) => [group.name, group.members])),
  };
}
