/** Questions to the service, with their progress; problems come back as `Problem`. */

import { givenKey } from "./options.js";

export class Problem extends Error {
  /** @param {{code: string, detail: string, status?: number, retry_after_s?: number, errors?: object[]}} said */
  constructor(said) {
    super(said.detail);
    Object.assign(this, { status: 0, errors: [] }, said);
  }

  /** @param {unknown} error @returns {Problem} a fault of the page as what it is */
  static of(error) {
    if (error instanceof Problem) return error;
    console.error(error);
    return new Problem({ code: "browser", detail: `The page failed (${error}); open it anew.` });
  }
}

const UNREACHABLE = "The service cannot be reached, or a file cannot be read: see whether the service runs and the network " +
  "is up; if a file has changed since or is a folder, open it anew or what is in it.";
const FOREIGN = "The answer is not the service's own but of something in between, as a proxy or a page to log in";

/** @param {Record<string, string>} options those of the service @returns {URL} relative, so that a proxy may move it */
export function address(options) {
  const url = new URL("invocations", document.baseURI);
  for (const [name, value] of Object.entries(options)) url.searchParams.set(name, value);
  url.search = url.search.replaceAll("%2C", ",");
  return url;
}

/** @returns {Record<string, string>} */
export const keyHeader = () => (givenKey() ? { "X-API-Key": givenKey() } : {});

/**
 * Posts files and resolves to the answer's bytes. XMLHttpRequest, since fetch tells nothing of an upload.
 * @param {File[]} files one GeoTIFF, several, or the band files of one tile
 * @param {{options: Record<string, string>, accept: string, signal?: AbortSignal,
 *   onProgress?: (doing: "sending" | "computing" | "receiving", share?: number) => void}} asked share is 0 to 1
 * @returns {Promise<ArrayBuffer>} of the type that was asked for; rejects with Problem, with AbortError where the signal
 *   ended it
 */
export function ask(files, { options, accept, signal, onProgress = () => {} }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address(options));
    request.responseType = "arraybuffer";
    const headers = { Accept: accept, ...keyHeader(), ...(files.length === 1 && { "Content-Type": "image/tiff" }) };
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => onProgress("sending", total ? loaded / total : undefined);
    request.upload.onload = () => onProgress("computing");
    request.onprogress = ({ loaded, total }) => onProgress("receiving", total ? loaded / total : undefined);
    request.onload = () => {
      const isWanted = request.status === 200 && request.getResponseHeader("Content-Type")?.startsWith(accept);
      if (isWanted) resolve(request.response);
      else reject(problemOf(request.status, request.response));
    };
    request.onerror = () => reject(new Problem({ code: "unreachable", detail: UNREACHABLE }));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    onProgress("sending", 0);
    request.send(files.length === 1 ? files[0] : formOf(files));
  });
}

/**
 * @param {{signal: AbortSignal, onProgress: (doing: "fetching") => void}} asked
 * @returns {Promise<File>} the synthetic scene
 */
export async function fetchExample({ signal, onProgress }) {
  onProgress("fetching");
  const unreachable = (error) => {
    throw error.name === "AbortError" ? error : new Problem({ code: "unreachable", detail: UNREACHABLE });
  };
  const answer = await fetch(new URL("page/example.tif", document.baseURI), { signal }).catch(unreachable);
  const body = await answer.arrayBuffer().catch(unreachable);
  if (!answer.ok) throw problemOf(answer.status, body);
  return new File([body], "example.tif", { type: "image/tiff" });
}

/** @param {ArrayBuffer} body of an answer in JSON @returns {any[]} rejects with Problem where every tile was refused */
export function predictionsOf(body) {
  const { predictions } = JSON.parse(new TextDecoder().decode(body));
  if (predictions.some((one) => !one.error)) return predictions;
  const [{ error }] = predictions, each = predictions.map(({ id, error: { detail } }) => ({ id, detail }));
  throw new Problem({ ...error, status: 200, errors: each.length > 1 ? each : [] });
}

/** @param {File[]} files @returns {FormData} bands are told by the files' names */
function formOf(files) {
  const form = new FormData();
  for (const file of files) form.append("file", file, file.name);
  return form;
}

/** @param {number} status @param {ArrayBuffer} body @returns {Problem} */
function problemOf(status, body) {
  try {
    const said = JSON.parse(new TextDecoder().decode(body));
    if (said.code && said.detail) return new Problem(said);
  } catch { /* what stands in between, a proxy for one, answers in its own way */ }
  return new Problem({ code: `http_${status}`, detail: `${FOREIGN} (HTTP ${status}).`, status });
}
