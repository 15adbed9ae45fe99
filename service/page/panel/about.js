/** What image this is, and what had to be assumed of it. */

import { counted, make, the } from "../make.js";
import { bearings } from "../ground/place.js";

/**
 * @param {string} title
 * @param {import("../map/map.js").CellMap["shown"]} shown
 * @param {import("../ground/scene.js").Scene[]} scenes of the answer, of which one is shown
 * @param {{id: string, error: {code: string, detail: string}}[]} refused
 * @param {(scene: import("../ground/scene.js").Scene) => void} onScene
 */
export function drawAbout(title, shown, scenes, refused, onScene) {
  const { scene } = shown;
  const select = make("select", { "aria-label": "Tile", onchange: () => onScene(scenes[select.selectedIndex]) },
    ...scenes.map((one) => make("option", { selected: one === scene }, one.id)));
  const hadFocus = the("about").contains(document.activeElement);
  the("about").replaceChildren(
    make("h2", {}, title),
    make("p", { className: "quiet" },
      [counted(scene.cells.length, "cell"), sizeOf(shown), shortened(scene.crs)].filter(Boolean).join(" · ")),
    ...(scenes.length > 1 ? [select] : []),
    make("ul", { className: "warnings" },
      ...refused.map(({ id, error }) => make("li", {}, make("b", {}, `${id} was refused. `), error.detail)),
      ...warningsOf(scene).map(({ message, cells }) => make("li", {}, make("b", {}, "Note. "), message,
        cells < scene.cells.length ? ` (${counted(cells, "cell")})` : ""))),
  );
  if (hadFocus) select.focus();
}

function sizeOf({ scene, corners }) {
  const pixels = `${scene.width} × ${scene.height} px`, known = corners.findIndex(Boolean);
  if (known < 0) return pixels;
  const km = (length) => (length * bearings(corners[known], scene.cells[known]).pixel) / 1000;
  const written = (length) => km(length).toFixed(km(length) < 10 ? 1 : 0);
  return `${written(scene.width)} × ${written(scene.height)} km · ${pixels}`;
}

/** A reference system without a code is a page of WKT. */
const shortened = (crs) => (crs && crs.length > 40 ? /"([^"]+)"/.exec(crs)?.[1] ?? "" : crs);

/** @param {import("../ground/scene.js").Scene} scene @returns {{message: string, cells: number}[]} each once */
function warningsOf(scene) {
  const counts = new Map();
  for (const { message } of scene.cells.flatMap((cell) => cell.warnings)) {
    counts.set(message, (counts.get(message) ?? 0) + 1);
  }
  return [...counts].map(([message, cells]) => ({ message, cells }));
}
