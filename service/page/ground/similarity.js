/** Which cells look alike: the cosine of their embeddings. */

/** @typedef {import("./scene.js").Cell} Cell */

/** @param {Cell[]} cells @param {Cell} to @returns {number[]} -1 to 1, a cell each */
export function cosines(cells, to) {
  const length = (vector) => Math.sqrt(dot(vector, vector)) || 1;
  const own = length(to.embedding);
  return cells.map((cell) => dot(cell.embedding, to.embedding) / (own * length(cell.embedding)));
}

/** @param {Float32Array} a @param {Float32Array} b */
function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/**
 * @param {Cell[]} cells @param {Cell} to @param {number} most
 * @returns {{cosines: number[], nearest: {cell: Cell, cosine: number}[]}} nearest first, without itself
 */
export function similar(cells, to, most) {
  const all = cosines(cells, to);
  const others = cells.filter((cell) => cell !== to).map((cell) => ({ cell, cosine: all[cell.index] }));
  return { cosines: all, nearest: others.sort((a, b) => b.cosine - a.cosine).slice(0, most) };
}
