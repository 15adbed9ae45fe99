/** The picture of a scene, window by window, and its colours for the eye. */

const MOST_PIXELS = 16_000_000; // that every browser gives a canvas
const LONGEST_SIDE = 8192;
const LEAST_CONTRAST = 16; // of 255: what is even is neither black nor grain

/** @param {import("./scene.js").Scene} scene @returns {OffscreenCanvas} as large as the scene, or as browsers allow */
function canvasFor(scene) {
  const { width, height } = scene;
  const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height), Math.sqrt(MOST_PIXELS / (width * height)));
  return new OffscreenCanvas(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
}

/**
 * @param {import("./scene.js").Scene} scene @param {AbortSignal} signal
 * @returns {Promise<OffscreenCanvas>} stretched from dark to light; rejects with AbortError
 */
export async function pictureOf(scene, signal) {
  const canvas = canvasFor(scene), context = /** @type {any} */ (canvas.getContext("2d", { willReadFrequently: true }));
  context.scale(canvas.width / scene.width, canvas.height / scene.height);
  context.imageSmoothingQuality = "high";
  for (const cell of scene.cells) {
    const bytes = Uint8Array.from(atob(cell.picture), (letter) => letter.charCodeAt(0));
    const picture = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
    context.drawImage(picture, cell.x, cell.y, cell.width, cell.height);
    picture.close();
    signal.throwIfAborted();
  }
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  stretch(pixels.data);
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/**
 * Contrast for the eye: the 2nd to the 98th percentile of all three channels together, so that colours keep their
 * balance. What the model read is not touched.
 * @param {Uint8ClampedArray} data red, green, blue, alpha
 */
export function stretch(data) {
  const counts = new Uint32Array(256);
  let total = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (!data[i + 3]) continue; // no cell lies here
    for (let k = 0; k < 3; k++) counts[data[i + k]]++;
    total += 3;
  }
  const at = (share) => {
    let seen = 0;
    return counts.findIndex((count) => (seen += count) >= share * total);
  };
  const dark = at(0.02), light = at(0.98), spare = Math.max(0, LEAST_CONTRAST - (light - dark)) / 2;
  const low = dark - spare, high = light + spare;
  const table = Uint8ClampedArray.from({ length: 256 }, (_, value) => (255 * (value - low)) / (high - low));
  for (let i = 0; i < data.length; i += 4) for (let k = 0; k < 3; k++) data[i + k] = table[data[i + k]];
}

/**
 * @param {import("./scene.js").Scene} scene @param {Uint8ClampedArray} colours of tokens, cell after cell, row by row
 * @param {number} rows @param {number} columns of tokens in a cell
 * @returns {OffscreenCanvas} each token where it lies
 */
export function tokenPicture(scene, colours, rows, columns) {
  const canvas = canvasFor(scene), context = /** @type {any} */ (canvas.getContext("2d"));
  const one = new OffscreenCanvas(columns, rows), paint = /** @type {any} */ (one.getContext("2d"));
  context.scale(canvas.width / scene.width, canvas.height / scene.height);
  context.imageSmoothingQuality = "high";
  scene.cells.forEach((cell, i) => {
    const tokens = colours.subarray(i * rows * columns * 4, (i + 1) * rows * columns * 4);
    paint.putImageData(new ImageData(new Uint8ClampedArray(tokens), columns, rows), 0, 0);
    context.drawImage(one, cell.x, cell.y, cell.width, cell.height);
  });
  return canvas;
}
