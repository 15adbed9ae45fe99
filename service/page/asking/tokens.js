/** The view of components: asks for token embeddings once it is wanted, and has them painted. */

import { ask, Problem } from "./invocation.js";
import { int8Array } from "./npy.js";

const OTHER_CELLS = "The service answered for other cells than before; open the file again.";

/**
 * @param {File[]} files @param {{options: Record<string, string>, signal: AbortSignal,
 *   onProgress: (doing: any, share?: number) => void}} asked
 * @param {number} cells how many the answer must have
 * @returns {Promise<{colours: Uint8ClampedArray, rows: number, columns: number}>} of all cells, in their order
 */
export async function tokenColours(files, { options, ...asked }, cells) {
  const wanted = { ...options, outputs: "token_embeddings", embedding_dtype: "int8" };
  const body = await ask(files, { ...asked, options: wanted, accept: "application/x-npy" });
  const { shape: [count, rows, columns, dim], values } = int8Array(body);
  if (count !== cells) throw new Problem({ code: "other_cells", detail: OTHER_CELLS });
  asked.onProgress("painting");
  return { colours: await paintedBeside(values, dim, asked.signal), rows, columns };
}

/** @param {Int8Array} codes @param {number} dim @param {AbortSignal} signal @returns {Promise<Uint8ClampedArray>} */
function paintedBeside(codes, dim, signal) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("../ground/components_worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => (resolve(data), worker.terminate());
    worker.onerror = ({ message }) => (reject(new Problem({ code: "browser", detail: message })), worker.terminate());
    signal.addEventListener("abort", () => (reject(signal.reason), worker.terminate()));
    worker.postMessage({ codes, dim });
  });
}
