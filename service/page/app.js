/** The page: what is opened, asked, shown and chosen. State has one owner, here; the other modules draw it. */

import { drawAbout } from "./panel/about.js";
import { ask, fetchExample, Problem, predictionsOf } from "./asking/invocation.js";
import { drawBearings, tellPosition } from "./map/bearings.js";
import { drawCell, spoken } from "./panel/cell_card.js";
import { takeFiles } from "./asking/dropping.js";
import { drawLegend } from "./panel/legend.js";
import { counted, say, the } from "./make.js";
import { CellMap } from "./map/map.js";
import { modelCard, UNKNOWN } from "./asking/model.js";
import { given, onOptions } from "./asking/options.js";
import { pictureOf, tokenPicture } from "./ground/picture.js";
import { cornersOf } from "./ground/place.js";
import { showProblem } from "./asking/problems.js";
import { hideProgress, showProgress } from "./asking/progress.js";
import { scenesOf } from "./ground/scene.js";
import { similar } from "./ground/similarity.js";
import { drawCurl, offer } from "./panel/take.js";
import { tokenColours } from "./asking/tokens.js";

const OUTPUTS = "embedding,probabilities,picture";
const MOST_ALIKE = 8;
const opacities = { image: 0, cover: 0.5, components: 0.85 };
const slider = the("opacity").querySelector("input");

/** What was opened, and what came of it. */
let opened = { files: /** @type {File[]} */ ([]), options: {}, isExample: false, more: {} };
let answer = { scenes: /** @type {any[]} */ ([]), refused: /** @type {any[]} */ ([]), model: UNKNOWN };
let waiting = new AbortController();
let painting = /** @type {Promise<void> | null} */ (null);

const map = new CellMap(the("map"), {
  chosen: choose,
  moved: () => drawBearings(map),
  pointed: (pixel) => tellPosition(map, pixel),
});

/**
 * Does what takes time, with its progress; what was begun before is given up. A problem is shown, and can be tried
 * again, with an option that was asked back.
 * @template T @param {(asked: {signal: AbortSignal, onProgress: typeof showProgress}) => Promise<T>} work
 * @param {(more: Record<string, string>) => void} again @returns {Promise<T | undefined>}
 */
async function during(work, again) {
  waiting.abort();
  const { signal } = (waiting = new AbortController());
  the("problem").hidden = true;
  try {
    return await work({ signal, onProgress: showProgress });
  } catch (problem) {
    if (problem.name !== "AbortError") showProblem(Problem.of(problem), again, focusOnward);
    return undefined;
  } finally {
    if (waiting.signal === signal) hideProgress();
  }
}

/**
 * @param {File[]} files
 * @param {{isExample?: boolean, more?: Record<string, string>}} about `more`: options of these files alone
 */
function open(files, { isExample = false, more = {} } = {}) {
  return during(async (asked) => {
    const said = { files, options: { ...given(), ...more }, isExample, more };
    const options = { ...said.options, outputs: OUTPUTS };
    const [body, model] = await Promise.all([ask(files, { ...asked, options, accept: "application/json" }), modelCard()]);
    const { scenes, refused } = scenesOf(predictionsOf(body));
    const picture = await pictureOf(scenes[0], asked.signal);
    [opened, answer] = [said, { scenes, refused, model }];
    show(scenes[0], picture);
  }, (asked) => open(files, { isExample, more: { ...more, ...asked } }));
}

async function openExample() {
  const example = await during(fetchExample, openExample);
  if (example) await open([example], { isExample: true });
}

/** @param {import("./ground/scene.js").Scene} scene of the answer, instead of the one that is shown */
function change(scene) {
  return during(async ({ signal }) => show(scene, await pictureOf(scene, signal)), () => change(scene));
}

/** @param {import("./ground/scene.js").Scene} scene @param {OffscreenCanvas} picture its */
function show(scene, picture) {
  const { groups, colours } = answer.model;
  document.body.dataset.state = "scene";
  const corners = cornersOf(scene);
  map.draw({ scene, corners, picture, tokens: null, groups, colours, only: null, chosen: null, likeness: null });
  drawAbout(titleOf(scene), map.shown, answer.scenes, answer.refused, change);
  drawLegend(scene, answer.model, (only) => (map.draw({ only }), look("cover")));
  drawCell(map.shown, answer.model.thresholds, choose);
  drawCurl(opened);
  the("model").textContent = answer.model.name && `${answer.model.name} ${answer.model.version}`;
  look(map.shown.view === "image" ? "image" : "cover");
  say(`${titleOf(scene)}: ${counted(scene.cells.length, "cell")}.`);
  if (document.activeElement === document.body) focusOnward();
}

/** The button that was pressed is gone: the focus goes to the image, or where one is opened. */
function focusOnward() {
  const isOpen = document.body.dataset.state === "scene";
  (isOpen ? the("map") : document.querySelector("#welcome button")).focus({ preventScroll: true });
}

/** @returns {string} the file's name, of band files all; of several tiles the id */
const titleOf = (scene) => (answer.scenes.length > 1 ? scene.id : opened.files.map((file) => file.name).join(", "));

/** @param {import("./ground/scene.js").Cell | null} cell */
function choose(cell) {
  const { scene } = map.shown;
  const most = Math.min(MOST_ALIKE, Math.ceil(scene.cells.length / 4));
  map.draw({ chosen: cell, likeness: cell && similar(scene.cells, cell, most) });
  drawCell(map.shown, answer.model.thresholds, (other) => {
    choose(other);
    map.show(other);
    the("cell-title").focus({ preventScroll: true }); // the picture that was pressed is gone
  });
  if (cell) say(spoken(cell));
}

/** @param {string} view image, cover or components */
function look(view) {
  document.querySelector(`[name=view][value=${view}]`).checked = true;
  the("opacity").hidden = view === "image";
  the("components").hidden = view !== "components";
  slider.value = 100 * opacities[view];
  map.draw({ view, opacity: opacities[view] });
  if (view === "components" && !map.shown.tokens) painting ??= findComponents().finally(endPainting);
}

/** Where it was given up, there are no components to look at. */
function endPainting() {
  painting = null;
  if (map.shown.view === "components" && !map.shown.tokens) look("cover");
}

function findComponents() {
  return during(async (asked) => {
    const { scene } = map.shown, before = answer.scenes.slice(0, answer.scenes.indexOf(scene));
    const all = answer.scenes.reduce((sum, one) => sum + one.cells.length, 0);
    const { colours, rows, columns } = await tokenColours(opened.files, { ...asked, options: opened.options }, all);
    const start = before.reduce((sum, one) => sum + one.cells.length, 0) * rows * columns * 4;
    map.draw({ tokens: tokenPicture(scene, colours.subarray(start), rows, columns) });
    say("Components are painted.");
  }, () => look("components"));
}

const does = {
  choose: () => the("files").click(),
  example: openExample,
  options: () => the("options").showModal(),
  cancel: () => (waiting.abort(), hideProgress(), focusOnward()),
};
for (const [name, act] of Object.entries(does)) {
  for (const button of document.querySelectorAll(`[data-does=${name}]`)) button.addEventListener("click", act);
}
const zooms = { in: () => map.zoom(1.5), out: () => map.zoom(1 / 1.5), all: () => map.all() };
for (const button of document.querySelectorAll("[data-zoom]")) {
  button.addEventListener("click", zooms[button.dataset.zoom]);
}
for (const choice of document.querySelectorAll("[name=view]")) choice.addEventListener("change", () => look(choice.value));
slider.addEventListener("input", () => {
  opacities[map.shown.view] = slider.value / 100;
  map.draw({ opacity: opacities[map.shown.view] });
});
takeFiles((files) => open(files));
offer(() => opened);
onOptions(() => opened.files.length && open(opened.files, opened));
