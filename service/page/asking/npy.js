/** Arrays in NumPy's format (NEP 1) of int8. */

/** @param {ArrayBuffer} file @returns {{shape: number[], values: Int8Array}} rejects other types with an Error */
export function int8Array(file) {
  const view = new DataView(file);
  const start = view.getUint8(6) === 1 ? 10 : 12;
  const length = start === 10 ? view.getUint16(8, true) : view.getUint32(8, true);
  const header = new TextDecoder("latin1").decode(new Uint8Array(file, start, length));
  if (!header.includes("'|i1'") || header.includes("'fortran_order': True")) throw new Error(`not int8: ${header}`);
  const shape = /'shape': \(([^)]*)\)/.exec(header)?.[1].split(",").filter((part) => part.trim()).map(Number) ?? [];
  return { shape, values: new Int8Array(file, start + length) };
}
