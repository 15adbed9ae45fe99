/** Which part of an image is seen how large: image pixels to CSS pixels and back. */

const MARGIN = 16;
const LARGEST = 24; // CSS pixels for one of the image

export class Viewport {
  width = 1;
  height = 1;
  scale = 1; // CSS pixels for one of the image
  left = 0; // CSS pixels from the stage's edge to the image's
  top = 0;

  /** @param {{width: number, height: number}} image all of which is shown */
  fit(image) {
    this.image = image;
    this.scale = this.least = Math.min((this.width - 2 * MARGIN) / image.width, (this.height - 2 * MARGIN) / image.height);
    this.left = (this.width - image.width * this.scale) / 2;
    this.top = (this.height - image.height * this.scale) / 2;
    this.home = { left: this.left, top: this.top };
  }

  /** @returns {boolean} */
  get isFitted() {
    return this.scale <= this.least * 1.001;
  }

  /** @param {number} factor @param {number} x @param {number} y CSS pixels that stay where they are */
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const scale = Math.max(this.least, Math.min(LARGEST, this.scale * factor));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.#hold();
  }

  /** @param {number} right @param {number} down CSS pixels */
  pan(right, down) {
    this.left += right;
    this.top += down;
    this.#hold();
  }

  /** Brings a cell into sight. @param {{x: number, y: number, width: number, height: number}} cell */
  show({ x, y, width, height }) {
    const [left, top] = this.toScreen(x, y), [right, bottom] = this.toScreen(x + width, y + height);
    const shift = (from, to, length) => (from < 0 ? -from : to > length ? Math.max(length - to, -from) : 0);
    this.pan(shift(left, right, this.width), shift(top, bottom, this.height));
  }

  /** @param {number} x @param {number} y @returns {[number, number]} */
  toScreen(x, y) {
    return [this.left + x * this.scale, this.top + y * this.scale];
  }

  /** @param {number} x @param {number} y @returns {[number, number]} */
  toImage(x, y) {
    return [(x - this.left) / this.scale, (y - this.top) / this.scale];
  }

  /** The middle of the stage always has some of the image; all of it goes home. */
  #hold() {
    if (this.isFitted) Object.assign(this, this.home);
    const held = (offset, length, middle) => Math.min(middle, Math.max(middle - length * this.scale, offset));
    this.left = held(this.left, this.image.width, this.width / 2);
    this.top = held(this.top, this.image.height, this.height / 2);
  }
}
