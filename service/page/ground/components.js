/** The first three principal components of token embeddings, as red, green and blue. */

const SAMPLE = 4000; // tokens that the components are found from; all are painted
const ROUNDS = 80;

/** @param {Int8Array} codes sign(x)·√(|x|/scale)·127 @returns {Float32Array} x/scale: components do not depend on it */
export function expanded(codes) {
  const table = Float32Array.from({ length: 256 }, (_, i) => Math.sign(i - 128) * ((i - 128) / 127) ** 2);
  return Float32Array.from(codes, (code) => table[code + 128]);
}

/**
 * @param {Float32Array} tokens one after the other @param {number} dim
 * @returns {{mean: Float64Array, axes: Float64Array[]}} three orthogonal unit vectors, of the largest variance first
 */
export function principalAxes(tokens, dim) {
  const rows = sampled(tokens, dim);
  const mean = new Float64Array(dim);
  for (const row of rows) row.forEach((value, i) => (mean[i] += value / rows.length));
  const covariance = Array.from({ length: dim }, () => new Float64Array(dim));
  for (const row of rows) {
    const centred = row.map((value, i) => value - mean[i]);
    for (let i = 0; i < dim; i++) {
      const line = covariance[i], value = centred[i];
      for (let j = 0; j < dim; j++) line[j] += value * centred[j];
    }
  }
  let axes = [0, 1, 2].map((k) => Float64Array.from({ length: dim }, (_, i) => Math.sin((i + 1) * (k + 1.37))));
  for (let round = 0; round < ROUNDS; round++) {
    axes = orthonormal(axes.map((axis) => Float64Array.from(covariance, (line) => dot(line, axis))));
  }
  return { mean, axes: axes.map(pointed) };
}

/** @returns {Float32Array[]} evenly spread over all tokens */
function sampled(tokens, dim) {
  const count = tokens.length / dim, step = Math.max(1, count / SAMPLE);
  return Array.from({ length: Math.min(count, SAMPLE) }, (_, i) => token(tokens, Math.floor(i * step), dim));
}

const token = (tokens, i, dim) => tokens.subarray(i * dim, (i + 1) * dim);

/** Gram and Schmidt. @param {Float64Array[]} vectors */
function orthonormal(vectors) {
  const done = [];
  for (const vector of vectors) {
    for (const other of done) {
      const along = dot(vector, other);
      vector.forEach((_, i) => (vector[i] -= along * other[i]));
    }
    const length = Math.sqrt(dot(vector, vector)) || 1;
    done.push(vector.map((value) => value / length));
  }
  return done;
}

/** The same axis each time: its largest number is positive. @param {Float64Array} axis */
function pointed(axis) {
  const largest = axis.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
  return largest < 0 ? axis.map((value) => -value) : axis;
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/**
 * @param {Int8Array} codes @param {number} dim
 * @returns {Uint8ClampedArray} red, green, blue and 255 for each token; 2nd to 98th percentile of each component
 */
export function painted(codes, dim) {
  const tokens = expanded(codes), count = tokens.length / dim;
  const { mean, axes } = principalAxes(tokens, dim);
  const colours = new Uint8ClampedArray(4 * count).fill(255);
  axes.forEach((axis, k) => {
    const offset = dot(mean, axis);
    const along = Float32Array.from({ length: count }, (_, i) => dot(token(tokens, i, dim), axis) - offset);
    const sorted = along.slice().sort();
    const low = sorted[Math.floor(0.02 * (count - 1))], high = sorted[Math.ceil(0.98 * (count - 1))];
    along.forEach((value, i) => (colours[4 * i + k] = (255 * (value - low)) / (high - low || 1)));
  });
  return colours;
}
