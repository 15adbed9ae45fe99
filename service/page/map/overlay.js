/** What is drawn over the image, cell by cell: land cover, likeness, the chosen cell. */

import { asFill, coloursOf } from "../ground/colours.js";
import { paintedAs, probability } from "../ground/cover.js";

const SMALLEST_BADGE = 30; // CSS pixels of a cell that a number has room in

/** @param {CanvasRenderingContext2D} context @param {Overlay} over */
function eachCell({ view, scene }, draw) {
  for (const cell of scene.cells) {
    const [x, y] = view.toScreen(cell.x, cell.y);
    draw(cell, x, y, (cell.right - cell.x) * view.scale, (cell.bottom - cell.y) * view.scale);
  }
}

/**
 * @param {CanvasRenderingContext2D} context in CSS pixels
 * @param {{view: import("./viewport.js").Viewport, scene: import("../ground/scene.js").Scene, groups: Map<string, string[]>,
 *   colours: Map<string, string[]>, only: string | null, opacity: number}} over `only`: a label whose probabilities are shown in place of the classes
 * @param {number} ratio device pixels to CSS's
 */
export function drawCover(context, over, ratio) {
  const fills = new Map();
  const fillOf = (name) => {
    if (!fills.has(name)) fills.set(name, asFill(context, coloursOf(name, over.colours), ratio));
    return fills.get(name);
  };
  eachCell(over, (cell, x, y, width, height) => {
    const name = over.only ?? paintedAs(cell, over.groups);
    if (!name) return;
    context.globalAlpha = over.opacity * (over.only ? probability(cell, name) ?? 0 : 1);
    context.fillStyle = fillOf(name);
    context.fillRect(x, y, width, height);
    context.globalAlpha = Math.min(1, 2 * over.opacity);
    context.strokeStyle = "rgb(0 0 0 / 28%)";
    context.lineWidth = 1;
    if (!over.only || cell.labels.includes(name)) context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
  });
  context.globalAlpha = 1;
}

/** Darkens what is not like the chosen cell, and frames what is most. */
export function drawLikeness(context, over, { cosines, nearest }) {
  const others = cosines.filter((_, i) => i !== over.chosen.index).sort((a, b) => a - b);
  const low = others[(others.length - 1) >> 1], high = others.at(-1); // half is dark
  eachCell(over, (cell, x, y, width, height) => {
    // Of one cell, of two and of all alike none is less like it than others.
    const likeness = high > low ? Math.min(1, Math.max(0, (cosines[cell.index] - low) / (high - low))) : 1;
    context.fillStyle = `rgb(4 8 6 / ${(0.7 * (1 - likeness)).toFixed(3)})`;
    context.fillRect(x, y, width, height);
  });
  for (const { cell } of nearest) frame(context, over.view, cell, "#ffffff", 2);
}

/** Numbers what is most like the chosen cell. */
export function drawNumbers(context, view, { nearest }) {
  nearest.forEach(({ cell }, i) => {
    const [x, y] = view.toScreen(cell.x, cell.y), side = (cell.right - cell.x) * view.scale;
    if (side >= SMALLEST_BADGE) badge(context, x + 12, y + 12, String(i + 1));
  });
}

export function drawChosen(context, view, cell) {
  frame(context, view, cell, "#ffd84d", 4);
}

/** Two lines, one dark and one light, so that one of them is seen on any ground. */
function frame(context, view, cell, colour, width) {
  const [x, y] = view.toScreen(cell.x, cell.y), [right, bottom] = view.toScreen(cell.right, cell.bottom);
  const [w, h] = [right - x, bottom - y];
  context.lineJoin = "round";
  for (const [style, line] of [["rgb(0 0 0 / 75%)", width + 2.5], [colour, width]]) {
    context.strokeStyle = style;
    context.lineWidth = line;
    context.strokeRect(x + width / 2, y + width / 2, w - width, h - width);
  }
}

function badge(context, x, y, text) {
  context.beginPath();
  context.arc(x, y, 9, 0, 2 * Math.PI);
  context.fillStyle = "#ffffff";
  context.fill();
  context.fillStyle = "#111614";
  context.font = "650 11.5px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(text, x, y + 0.5);
  context.textAlign = "start";
  context.textBaseline = "alphabetic";
}
