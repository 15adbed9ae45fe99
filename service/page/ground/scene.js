/** Predictions to scenes: cells in rows and columns. */

/**
 * @typedef {object} Cell one window of a scene
 * @property {number} index its place among the scene's cells
 * @property {number} row from 0
 * @property {number} column from 0
 * @property {number} x left edge in the file, pixels
 * @property {number} y upper edge in the file, pixels
 * @property {number} width pixels
 * @property {number} height pixels
 * @property {number} right where the next column begins: a scene's last ones lie over those before
 * @property {number} bottom where the next row begins
 * @property {Float32Array} embedding
 * @property {Record<string, number | null>} probabilities of labels, null where the model cannot tell
 * @property {Record<string, number>} groups
 * @property {string[]} labels over their thresholds, likeliest first
 * @property {number} valid_fraction share of pixels with data, 0 to 1
 * @property {any} footprint GeoJSON, or null
 * @property {string} picture PNG in base64
 * @property {{code: string, message: string}[]} warnings
 *
 * @typedef {object} Scene
 * @property {string} id
 * @property {Cell[]} cells row by row; those without data are not there
 * @property {number} width pixels
 * @property {number} height pixels
 * @property {string | null} crs
 * @property {(row: number, column: number) => Cell | undefined} at
 */

/**
 * @param {any[]} predictions of an answer
 * @returns {{scenes: Scene[], refused: {id: string, error: {code: string, detail: string}}[]}}
 */
export function scenesOf(predictions) {
  const scenes = [], refused = predictions.filter((one) => one.error);
  for (const one of predictions.filter((one) => !one.error)) {
    const window = one.window.join();
    const last = scenes.at(-1);
    if (last?.id === one.id && !last.windows.has(window)) {
      last.windows.add(window);
      last.members.push(one);
    } else scenes.push({ id: one.id, windows: new Set([window]), members: [one] });
  }
  return { scenes: scenes.map(({ id, members }) => sceneOf(id, members)), refused };
}

/** @param {string} id @param {any[]} members @returns {Scene} */
function sceneOf(id, members) {
  const columns = places(members.map((one) => one.window[0])), rows = places(members.map((one) => one.window[1]));
  const [lefts, tops] = [[...columns.keys()], [...rows.keys()]];
  const cells = members.map((one, index) => {
    const [x, y, width, height] = one.window, [row, column] = [rows.get(y), columns.get(x)];
    return {
      ...one, index, x, y, width, height, row, column,
      right: Math.min(x + width, lefts[column + 1] ?? Infinity),
      bottom: Math.min(y + height, tops[row + 1] ?? Infinity),
      embedding: Float32Array.from(one.embedding),
    };
  });
  const byPlace = new Map(cells.map((cell) => [`${cell.row},${cell.column}`, cell]));
  return {
    id,
    cells,
    width: Math.max(...cells.map((cell) => cell.x + cell.width)),
    height: Math.max(...cells.map((cell) => cell.y + cell.height)),
    crs: cells[0].crs,
    at: (row, column) => byPlace.get(`${row},${column}`),
  };
}

/** @param {number[]} starts @returns {Map<number, number>} which of all starts each is */
const places = (starts) => new Map([...new Set(starts)].sort((a, b) => a - b).map((start, i) => [start, i]));

/** @param {Scene} scene @param {number} x @param {number} y pixels @returns {Cell | undefined} */
export function cellUnder(scene, x, y) {
  return scene.cells.find((cell) => x >= cell.x && x < cell.right && y >= cell.y && y < cell.bottom);
}

/**
 * @param {Scene} scene @param {Cell} from @param {number} down @param {number} right steps, one of them 0
 * @returns {Cell} the next cell that way, beyond places without data; the same at an edge
 */
export function neighbour(scene, from, down, right) {
  const furthest = Math.max(...scene.cells.map((cell) => Math.max(cell.row, cell.column)));
  for (let step = 1; step <= furthest; step++) {
    const next = scene.at(from.row + step * down, from.column + step * right);
    if (next) return next;
  }
  return from;
}

/** @param {Cell} cell */
export const named = (cell) => `Row ${cell.row + 1}, column ${cell.column + 1}`;
