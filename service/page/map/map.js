/** The map: a canvas with the image, what is drawn over it, and a cell that is chosen. */

import { listen } from "./gestures.js";
import { drawGraticule } from "./graticule.js";
import { drawChosen, drawCover, drawLikeness, drawNumbers } from "./overlay.js";
import { cellUnder, neighbour } from "../ground/scene.js";
import { Viewport } from "./viewport.js";

const PIXELATED_FROM = 4; // CSS pixels for one of the image: from there on pixels are shown as such

export class CellMap {
  view = new Viewport();
  /** What is drawn; set with `draw`. */
  shown = {
    scene: null, corners: [], picture: null, tokens: null, view: "cover", opacity: 0.5, groups: new Map(), colours: new Map(),
    only: null, chosen: null, likeness: null,
  };
  #canvas;
  #context;
  #isDue = false;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{chosen: (cell: import("../ground/scene.js").Cell | null) => void, moved: () => void,
   *   pointed: (pixel: [number, number] | null) => void}} tells
   */
  constructor(canvas, tells) {
    this.#canvas = canvas;
    this.#context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.tells = tells;
    new ResizeObserver(() => this.#measure()).observe(canvas);
    listen(canvas, {
      pan: (right, down) => this.#move(() => this.view.pan(right, down)),
      zoom: (factor, x, y) => this.zoom(factor, x, y),
      all: () => this.all(),
      point: (x, y) => tells.pointed(this.view.toImage(x, y)),
      away: () => tells.pointed(null),
      pick: (x, y) => this.#pick(cellUnder(this.shown.scene, ...this.view.toImage(x, y)) ?? null),
      step: (down, right) => this.#pick(this.#beside(down, right)),
      leave: () => this.#pick(null),
    });
  }

  /** @param {Partial<CellMap["shown"]>} changed */
  draw(changed) {
    const isOther = changed.scene && changed.scene !== this.shown.scene;
    Object.assign(this.shown, changed);
    if (isOther) this.#measure();
    this.#later();
  }

  /** @param {number} factor @param {number} [x] @param {number} [y] CSS pixels */
  zoom(factor, x, y) {
    this.#move(() => this.view.zoom(factor, x, y));
  }

  /** Shows all of the image. */
  all() {
    this.#move(() => this.view.fit(this.shown.scene));
  }

  /** @param {import("../ground/scene.js").Cell} cell brought into sight */
  show(cell) {
    this.#move(() => this.view.show(cell));
  }

  #beside(down, right) {
    const { scene, chosen } = this.shown;
    return chosen ? neighbour(scene, chosen, down, right) : scene.cells[0];
  }

  #pick(cell) {
    this.tells.chosen(cell);
    if (cell) this.show(cell);
  }

  #move(change) {
    if (!this.shown.scene) return;
    change();
    // All of the image in sight: a finger scrolls the page. Else it moves the image.
    this.#canvas.style.touchAction = this.view.isFitted ? "pan-y" : "none";
    this.tells.moved();
    this.#later();
  }

  #measure() {
    const { clientWidth, clientHeight } = this.#canvas;
    if (!clientWidth || !this.shown.scene) return;
    Object.assign(this.view, { width: clientWidth, height: clientHeight });
    this.#canvas.width = Math.round(clientWidth * devicePixelRatio);
    this.#canvas.height = Math.round(clientHeight * devicePixelRatio);
    this.all();
  }

  #later() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (this.shown.scene) this.#paint();
    });
  }

  #paint() {
    const context = this.#context, { view } = this, { shown } = this;
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, view.width, view.height);
    this.#image(shown.picture, 1);
    if (shown.view === "components") this.#image(shown.tokens, shown.opacity);
    if (shown.view === "cover") drawCover(context, { ...shown, view }, devicePixelRatio);
    if (shown.likeness) drawLikeness(context, { ...shown, view }, shown.likeness);
    drawGraticule(context, view, shown.scene, shown.corners);
    if (shown.likeness) drawNumbers(context, view, shown.likeness);
    if (shown.chosen) drawChosen(context, view, shown.chosen);
  }

  #image(picture, opacity) {
    if (!picture) return;
    const { scene } = this.shown, { view } = this;
    this.#context.globalAlpha = opacity;
    this.#context.imageSmoothingEnabled = view.scale < PIXELATED_FROM;
    this.#context.imageSmoothingQuality = "high";
    this.#context.drawImage(picture, view.left, view.top, scene.width * view.scale, scene.height * view.scale);
    this.#context.globalAlpha = 1;
  }
}
