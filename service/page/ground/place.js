/** Where cells lie on Earth, from their footprints. */

/**
 * @typedef {[number, number]} Point longitude and latitude in degrees; longitudes go on beyond 180
 * @typedef {{upperLeft: Point, lowerLeft: Point, lowerRight: Point, upperRight: Point}} Corners
 */

const STEPS = [1, 2, 4, 8, 16]; // points an edge that a footprint has, as curved as it is
const METRES_A_DEGREE = 111_195; // of latitude, on the sphere with the area of the Earth

/**
 * Corners of each cell. The ring of a footprint begins at a corner and runs counter-clockwise, so of an image that is a
 * mirror image of the ground it was turned around: its neighbours tell.
 * @param {import("./scene.js").Scene} scene
 * @returns {(Corners | null)[]} null without georeference, across the antimeridian and around the poles
 */
export function cornersOf(scene) {
  const first = scene.cells.find((cell) => cell.footprint)?.footprint;
  const rings = scene.cells.map((cell) => ringOf(cell.footprint, first));
  const asRead = rings.map((ring) => ring && cornersFrom(ring));
  const mirrored = rings.map((ring) => ring && cornersFrom(turned(ring)));
  return gap(scene, mirrored) < gap(scene, asRead) ? mirrored : asRead;
}

/** @returns {Point[] | null} four corners, near the first point of `reference` */
function ringOf(footprint, reference) {
  if (footprint?.type !== "Polygon") return null;
  const ring = footprint.coordinates[0], step = (ring.length - 1) / 4;
  if (!STEPS.includes(step)) return null;
  const near = reference.coordinates.flat(3)[0];
  return [0, 1, 2, 3].map((i) => {
    const [longitude, latitude] = ring[i * step];
    return [longitude + 360 * Math.round((near - longitude) / 360), latitude];
  });
}

/** @param {Point[]} ring @returns {Corners} */
const cornersFrom = ([upperLeft, lowerLeft, lowerRight, upperRight]) => ({ upperLeft, lowerLeft, lowerRight, upperRight });

/** @param {Point[]} ring */
const turned = ([a, b, c, d]) => [d, c, b, a];

/** How far cells lie from where the first would have them, in degrees. */
function gap(scene, corners) {
  const first = corners.findIndex(Boolean);
  let sum = 0;
  scene.cells.forEach((cell, i) => {
    if (!corners[i]) return;
    const [x, y] = inside(corners[first], scene.cells[first], cell.x, cell.y);
    sum += Math.abs(x - corners[i].upperLeft[0]) + Math.abs(y - corners[i].upperLeft[1]);
  });
  return sum;
}

/**
 * @param {Corners} corners @param {import("./scene.js").Cell} cell theirs @param {number} x @param {number} y pixels
 * @returns {Point} straight between the corners; beside the cell, as straight goes on
 */
export function inside({ upperLeft, lowerLeft, lowerRight, upperRight }, cell, x, y) {
  const u = (x - cell.x) / cell.width, v = (y - cell.y) / cell.height;
  return /** @type {Point} */ ([0, 1].map((i) =>
    (1 - v) * ((1 - u) * upperLeft[i] + u * upperRight[i]) + v * ((1 - u) * lowerLeft[i] + u * lowerRight[i])));
}

/** @param {Point} from @param {Point} to @returns {[number, number]} metres to the east and to the north */
function metres([x0, y0], [x1, y1]) {
  const narrow = Math.cos(((y0 + y1) / 2) * (Math.PI / 180));
  return [(x1 - x0) * METRES_A_DEGREE * narrow, (y1 - y0) * METRES_A_DEGREE];
}

/**
 * @param {Corners} corners @param {import("./scene.js").Cell} cell
 * @returns {{pixel: number, north: number}} metres of a pixel along the image's rows, and where north is: radians
 *   clockwise from the image's top
 */
export function bearings(corners, cell) {
  const right = metres(corners.upperLeft, corners.upperRight), up = metres(corners.lowerLeft, corners.upperLeft);
  // North is a·right + b·up with no east in it; on the screen, right is (1, 0) and up is (0, -1).
  const a = -up[0] / cell.height, b = right[0] / cell.width, turn = a * right[1] / cell.width + b * up[1] / cell.height;
  const sign = Math.sign(turn) || 1;
  return { pixel: Math.hypot(...right) / cell.width, north: Math.atan2(sign * a, sign * b) };
}

/** @param {Point} point @param {number} digits after the point @returns {string} as 48.2541° N, 13.6717° E */
export function written([longitude, latitude], digits = 5) {
  const east = ((longitude + 540) % 360) - 180;
  return `${latitudeWritten(latitude, digits)}, ${longitudeWritten(east, digits)}`;
}

export const latitudeWritten = (degrees, digits) => `${Math.abs(degrees).toFixed(digits)}° ${degrees < 0 ? "S" : "N"}`;
export const longitudeWritten = (degrees, digits) => `${Math.abs(degrees).toFixed(digits)}° ${degrees < 0 ? "W" : "E"}`;
