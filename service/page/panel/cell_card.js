/** One cell in the panel: its probabilities as bars, and the cells most like it. */

import { asBackground, coloursOf } from "../ground/colours.js";
import { make, the } from "../make.js";
import { inside, written } from "../ground/place.js";
import { named } from "../ground/scene.js";

const THUMBNAIL = 96; // pixels

/** What is said of a cell aloud. @param {import("../ground/scene.js").Cell} cell */
export function spoken(cell) {
  const all = { ...cell.probabilities, ...cell.groups };
  const said = cell.labels.map((name) => `${name} ${all[name]?.toFixed(2)}`);
  return `${named(cell)}: ${said.join(", ") || "nothing over its threshold"}`;
}

/**
 * @param {import("../map/map.js").CellMap["shown"]} shown with the chosen cell, or none
 * @param {Map<string, number>} thresholds
 * @param {(cell: import("../ground/scene.js").Cell) => void} onPick
 */
export function drawCell(shown, thresholds, onPick) {
  const { chosen, corners, likeness, colours } = shown;
  if (!chosen) {
    the("cell").replaceChildren(make("h2", { id: "cell-title" }, "A cell"),
      make("p", { className: "quiet small" },
        "Click one, or go with the arrow keys: what is there, and what looks like it."));
    return;
  }
  const place = corners[chosen.index];
  const middle = place && written(inside(place, chosen, chosen.x + chosen.width / 2, chosen.y + chosen.height / 2), 4);
  const valid = chosen.valid_fraction < 0.995 ? ` · ${Math.round(100 * chosen.valid_fraction)} % with data` : "";
  the("cell").replaceChildren(
    make("h2", { id: "cell-title", tabIndex: -1 }, named(chosen)),
    make("p", { className: "quiet small" }, (middle ?? `from pixel ${chosen.x}, ${chosen.y}`) + valid),
    make("ul", { className: "bars" }, ...bars(chosen, colours, thresholds)),
    ...(likeness?.nearest.length ? [make("h3", {}, "Most like it"), make("ul", { className: "alike" },
      ...likeness.nearest.map((one, i) => alike(one, i, shown, onPick)))] : []),
  );
}

function bars(cell, colours, thresholds) {
  const told = Object.entries({ ...cell.probabilities, ...cell.groups }).filter(([, value]) => value !== null);
  return told.sort(([, a], [, b]) => b - a).map(([name, value]) => {
    const isOver = cell.labels.includes(name), threshold = thresholds.get(name);
    const fill = make("i"), track = make("span", { className: "track", "aria-hidden": "true" }, fill);
    fill.style.width = `${100 * value}%`;
    fill.style.background = asBackground(coloursOf(name, colours));
    if (threshold !== undefined) {
      const mark = make("b");
      mark.style.left = `${100 * threshold}%`;
      track.append(mark);
    }
    const of = threshold === undefined ? "" : `, threshold ${threshold.toFixed(2)}`;
    return make("li", { className: isOver ? "bar over" : "bar" },
      make("span", {}, isOver ? `✓ ${name}` : name),
      make("span", {}, value.toFixed(2), make("span", { className: "unseen" }, of)), track);
  });
}

function alike({ cell, cosine }, i, { picture, scene }, onPick) {
  const height = Math.round((THUMBNAIL * cell.height) / cell.width);
  const canvas = make("canvas", { width: THUMBNAIL, height, "aria-hidden": "true" });
  const ratio = picture.width / scene.width;
  canvas.getContext("2d").drawImage(picture, cell.x * ratio, cell.y * ratio, cell.width * ratio, cell.height * ratio,
    0, 0, canvas.width, canvas.height);
  const label = `${i + 1}: ${named(cell)}, similarity ${cosine.toFixed(2)}`;
  const about = { type: "button", "aria-label": label, title: named(cell), onclick: () => onPick(cell) };
  return make("li", {},
    make("button", about, canvas, make("span", { "aria-hidden": "true" }, `${i + 1} · ${cosine.toFixed(2)}`)));
}
