/** Colours of land cover: the model card's, which maps have too. */

const UNKNOWN = ["#9aa5a0"]; // where the card is not to be had

/**
 * @param {string} name of a label or group @param {Map<string, string[]>} colours
 * @returns {string[]} one colour; of a group those of its members
 */
export const coloursOf = (name, colours) => colours.get(name) ?? UNKNOWN;

/** @param {string[]} colours @returns {string} for CSS: stripes of them */
export function asBackground(colours) {
  const stops = colours.map((colour, i) => `${colour} ${i * 4}px ${i * 4 + 4}px`);
  return colours.length === 1 ? colours[0] : `repeating-linear-gradient(135deg, ${stops.join(", ")})`;
}

/**
 * @param {CanvasRenderingContext2D} context @param {string[]} colours @param {number} ratio device pixels to CSS's
 * @returns {string | CanvasPattern} the same stripes for a canvas
 */
export function asFill(context, colours, ratio) {
  if (colours.length === 1) return colours[0];
  const width = Math.round(7 * ratio);
  const stripes = new OffscreenCanvas(width * colours.length, 1);
  const paint = /** @type {OffscreenCanvasRenderingContext2D} */ (stripes.getContext("2d"));
  colours.forEach((colour, i) => {
    paint.fillStyle = colour;
    paint.fillRect(i * width, 0, width, 1);
  });
  const pattern = /** @type {CanvasPattern} */ (context.createPattern(stripes, "repeat"));
  pattern.setTransform(new DOMMatrix().rotate(-45));
  return pattern;
}
