/** Colours of land cover: CORINE's own, of the class that a label of BigEarthNet is mostly made of. */

const CORINE = new Map(Object.entries({
  "Urban fabric": "#e6004d",
  "Industrial or commercial units": "#cc4df2",
  "Arable land": "#ffffa8",
  "Permanent crops": "#e68000",
  "Pastures": "#e6e64d",
  "Complex cultivation patterns": "#ffe64d",
  "Land principally occupied by agriculture, with significant areas of natural vegetation": "#e6cc4d",
  "Agro-forestry areas": "#f2cca6",
  "Broad-leaved forest": "#80ff00",
  "Coniferous forest": "#00a600",
  "Mixed forest": "#4dff00",
  "Natural grassland and sparsely vegetated areas": "#ccf24d",
  "Moors, heathland and sclerophyllous vegetation": "#a6ff80",
  "Transitional woodland, shrub": "#a6f200",
  "Beaches, dunes, sands": "#e6e6e6",
  "Inland wetlands": "#a6a6ff",
  "Coastal wetlands": "#ccccff",
  "Inland waters": "#80f2e6",
  "Marine waters": "#e6f2ff",
}));

/** @param {string} name of a label of somebody's own @returns {string} always the same, seldom another's */
function ownColour(name) {
  let number = 7;
  for (const letter of name) number = (number * 31 + /** @type {number} */ (letter.codePointAt(0))) % 360;
  return `hsl(${number} 70% 58%)`;
}

/**
 * @param {string} name of a label or group
 * @param {Map<string, string[]>} groups
 * @returns {string[]} one colour; of a group, which has none of its own, those of its members
 */
export function coloursOf(name, groups) {
  return (groups.get(name) ?? [name]).map((label) => CORINE.get(label) ?? ownColour(label));
}

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
