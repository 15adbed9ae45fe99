/** What the model card says: thresholds and colours of labels and groups, members of groups. */

import { keyHeader } from "./invocation.js";

/**
 * @typedef {{name: string, version: string, thresholds: Map<string, number>, groups: Map<string, string[]>,
 *   colours: Map<string, string[]>}} Model
 */

/** @type {Model} */
export const UNKNOWN = { name: "", version: "", thresholds: new Map(), groups: new Map(), colours: new Map() };

/** @returns {Promise<Model>} `UNKNOWN` where the card is not to be had */
export async function modelCard() {
  try {
    return modelOf(await (await fetch(new URL("model", document.baseURI), { headers: keyHeader() })).json());
  } catch {
    return UNKNOWN; // a problem is told by the answer that is asked for beside it
  }
}

/** @param {any} card a STAC item @returns {Model} */
function modelOf(card) {
  const { "aerial:manifest": manifest, "aerial:legend": legend } = card.properties;
  const coloursOf = (names) => names.map((name) => legend[name]);
  const told = [...manifest.labels, ...manifest.groups].filter((one) => one.threshold !== null);
  return {
    name: manifest.name,
    version: manifest.version,
    thresholds: new Map(told.map((one) => [one.name, one.threshold])),
    groups: new Map(manifest.groups.map((group) => [group.name, group.members])),
    colours: new Map([
      ...manifest.labels.map(({ name }) => [name, coloursOf([name])]),
      ...manifest.groups.map(({ name, members }) => [name, coloursOf(members)]),
    ]),
  };
}
