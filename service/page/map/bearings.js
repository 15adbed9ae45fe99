/** Scale, north, and the place under the pointer. */

import { the } from "../make.js";
import { bearings, inside, written } from "../ground/place.js";
import { cellUnder } from "../ground/scene.js";

const WIDEST = 130; // CSS pixels of the scale bar

/** @param {import("./map.js").CellMap} map */
export function drawBearings(map) {
  const { scene, corners } = map.shown;
  const known = corners.findIndex(Boolean);
  the("north").hidden = known < 0;
  const { pixel, north } = known < 0 ? { pixel: 1, north: 0 } : bearings(corners[known], scene.cells[known]);
  the("north").style.transform = `rotate(${north}rad)`;
  const widest = (WIDEST / map.view.scale) * pixel, power = 10 ** Math.floor(Math.log10(widest));
  const length = [5, 2, 1].map((factor) => factor * power).find((one) => one <= widest) ?? power;
  the("scale").style.width = `${(length / pixel) * map.view.scale}px`;
  the("scale").textContent = known < 0 ? `${length} px` : length >= 1000 ? `${length / 1000} km` : `${length} m`;
}

/** @param {import("./map.js").CellMap} map @param {[number, number] | null} pixel of the image */
export function tellPosition(map, pixel) {
  const { scene, corners } = map.shown;
  the("position").textContent = pixel && scene ? positionOf(scene, corners, pixel) : "";
}

/** @returns {string} longitude and latitude, or the pixel where they are not known; empty beside the image */
export function positionOf(scene, corners, [x, y]) {
  const cell = cellUnder(scene, x, y);
  if (!cell) return "";
  const known = corners[cell.index];
  return known ? written(inside(known, cell, x, y)) : `column ${Math.floor(x)}, row ${Math.floor(y)}`;
}
