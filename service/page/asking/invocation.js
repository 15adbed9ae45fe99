/** Questions to the service, with their progress; problems come back as `Problem`. */

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

const UNREACHABLE = "The service cannot be reached: see whether it runs and whether the network is up.";

/** @param {Record<string, string>} options those of the service @returns {URL} relative, so that a proxy may move it */
export function address(options) {
  const url = new URL("invocations", document.baseURI);
  for (const [name, value] of Object.entries(options)) url.searchParams.set(name, value);
  url.search = url.search.replaceAll("%2C", ",");
  return url;
}

/** @param {string} key @returns {Record<string, string>} */
export const keyHeader = (key) => (key ? { "X-API-Key": key } : {});

/**
 * Posts files and resolves to the answer's bytes. XMLHttpRequest, since fetch tells nothing of an upload.
 * @param {File[]} files one GeoTIFF, several, or the band files of one tile
 * @param {{options: Record<string, string>, accept: string, key?: string, signal?: AbortSignal,
 *   onProgress?: (doing: "sending" | "computing" | "receiving", share?: number) => void}} asked share is 0 to 1
 * @returns {Promise<{body: ArrayBuffer, type: string}>} rejects with Problem; AbortError where the signal ended it
 */
export function ask(files, { options, accept, key = "", signal, onProgress = () => {} }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address(options));
    request.responseType = "arraybuffer";
    const headers = { Accept: accept, ...keyHeader(key), ...(files.length === 1 && { "Content-Type": "image/tiff" }) };
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => onProgress("sending", total ? loaded / total : undefined);
    request.upload.onload = () => onProgress("computing");
    request.onprogress = ({ loaded, total }) => onProgress("receiving", total ? loaded / total : undefined);
    request.onload = () => {
      if (request.status === 200) {
        resolve({ body: request.response, type: request.getResponseHeader("Content-Type") ?? "" });
      } else reject(problemOf(request.status, request.response));
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
  const answer = await fetch(new URL("page/example.tif", document.baseURI), { signal }).catch((error) => {
    throw error.name === "AbortError" ? error : new Problem({ code: "unreachable", detail: UNREACHABLE });
  });
  return new File([await answer.blob()], "example.tif", { type: "image/tiff" });
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
  return new Problem({ code: `http_${status}`, detail: `The answer was HTTP ${status}, without a reason.`, status });
}
