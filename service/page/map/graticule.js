/** Lines of longitude and latitude over the image; each cell has its part of them. */

import { latitudeWritten, longitudeWritten } from "../ground/place.js";

const APART = 120; // CSS pixels between lines, about: their names have room
const MOST_LINES = 4;
const ABOVE = 40; // CSS pixels of the stage's edge, where the scale stands
const STEPS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20];

/**
 * @param {CanvasRenderingContext2D} context in CSS pixels
 * @param {import("./viewport.js").Viewport} view
 * @param {import("../ground/scene.js").Scene} scene
 * @param {(import("../ground/place.js").Corners | null)[]} corners of its cells
 */
export function drawGraticule(context, view, scene, corners) {
  const seen = scene.cells.flatMap((cell, i) => {
    const [left, top] = view.toScreen(cell.x, cell.y);
    const [right, bottom] = view.toScreen(cell.x + cell.width, cell.y + cell.height);
    const is = corners[i] && right > 0 && bottom > 0 && left < view.width && top < view.height;
    return is ? [{ quad: quadOf(corners[i], left, top, right, bottom) }] : [];
  });
  if (!seen.length) return;
  const lines = Math.min(MOST_LINES, Math.floor(view.width / APART));
  for (const axis of [0, 1]) {
    const values = seen.flatMap(({ quad }) => quad.map((point) => point.place[axis]));
    const low = Math.min(...values), high = Math.max(...values);
    const step = STEPS.find((one) => (high - low) / one <= lines + 1) ?? 45;
    for (let i = Math.ceil(low / step); i * step <= high; i++) drawLine(context, view, seen, axis, i * step, step);
  }
}

function quadOf({ upperLeft, upperRight, lowerRight, lowerLeft }, left, top, right, bottom) {
  return [
    { place: upperLeft, x: left, y: top }, { place: upperRight, x: right, y: top },
    { place: lowerRight, x: right, y: bottom }, { place: lowerLeft, x: left, y: bottom },
  ];
}

function drawLine(context, view, seen, axis, level, step) {
  let label = null;
  context.beginPath();
  for (const { quad } of seen) {
    const [from, to] = crossings(quad, axis, level);
    if (!to) continue;
    context.moveTo(from.x, from.y);
    context.lineTo(to.x, to.y);
    for (const point of [from, to]) {
      const isIn = point.x >= -1 && point.y >= -1 && point.x <= view.width + 1 && point.y <= view.height + 1;
      if (isIn && (!label || (axis ? point.x < label.x : point.y > label.y))) label = point;
    }
  }
  context.lineWidth = 1;
  context.strokeStyle = "rgb(255 255 255 / 34%)";
  context.stroke();
  if (label) write(context, view, label, axis, level, step);
}

/** Where a level crosses the edges of a quad: none or two points. */
function crossings(quad, axis, level) {
  const found = [];
  quad.forEach((a, i) => {
    const b = quad[(i + 1) % 4], from = a.place[axis] - level, to = b.place[axis] - level;
    if (from < 0 === to < 0) return;
    const share = from / (from - to);
    found.push({ x: a.x + share * (b.x - a.x), y: a.y + share * (b.y - a.y) });
  });
  return found;
}

function write(context, view, { x, y }, axis, level, step) {
  const digits = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
  const east = ((level + 540) % 360) - 180;
  const text = axis ? latitudeWritten(level, digits) : longitudeWritten(east, digits);
  context.font = "500 11px system-ui, sans-serif";
  const width = context.measureText(text).width, right = Math.min(view.width, view.left + view.image.width * view.scale);
  const at = axis
    ? [Math.min(Math.max(x, 0) + 6, right - width - 6), Math.max(y - 5, 14)]
    : [Math.min(Math.max(x + 5, 6), right - width - 6), Math.min(y, view.height - ABOVE) - 7];
  context.lineWidth = 3;
  context.lineJoin = "round";
  context.strokeStyle = "rgb(0 0 0 / 60%)";
  context.strokeText(text, at[0], at[1]);
  context.fillStyle = "rgb(255 255 255 / 92%)";
  context.fillText(text, at[0], at[1]);
}
