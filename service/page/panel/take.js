/** Files to take away, and the curl line that gets the same. */

import { address, ask, Problem } from "../asking/invocation.js";
import { givenKey } from "../asking/options.js";
import { make, the } from "../make.js";

/** @typedef {{name: string, accept: string, ending: string}} Format @type {Format[]} */
export const FORMATS = [
  { name: "GeoParquet", accept: "application/vnd.apache.parquet", ending: "parquet" },
  { name: "GeoTIFF map (COG)", accept: "image/tiff", ending: "tif" },
  { name: "GeoJSON", accept: "application/geo+json", ending: "geojson" },
  { name: "JSON", accept: "application/json", ending: "json" },
  { name: "NumPy, embeddings alone", accept: "application/x-npy", ending: "npy" },
];

/** @param {File[]} files @param {Format} format @returns {string} without what would overwrite the image itself */
const fileName = (files, { ending }) =>
  files.length === 1 ? `${typed(files[0]).replace(/\.tiff?$/i, "")}-land-cover.${ending}` : `land-cover.${ending}`;

/** @param {File} file @returns {string} what can be pasted: control characters would end the line, and begin another */
const typed = ({ name }) => name.replaceAll(/\p{Cc}/gu, "?");

/** @param {string} text @returns {string} as one word of a POSIX shell */
export const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/**
 * @param {File[]} files @param {Record<string, string>} options @param {Format} format
 * @param {{hasKey: boolean, isExample: boolean}} situation
 * @returns {string} for a shell; the key stays in a variable
 */
export function curlLine(files, options, format, { hasKey, isExample }) {
  const body = files.length === 1
    ? [`--data-binary ${quoted(`@${typed(files[0])}`)}`, "-H 'Content-Type: image/tiff'"]
    : files.map((file) => `-F ${quoted(`file=@"${typed(file).replace(/["\\]/g, "\\$&")}"`)}`);
  const line = [
    ...body,
    `-H ${quoted(`Accept: ${format.accept}`)}`,
    ...(hasKey ? ['-H "X-API-Key: $API_KEY"'] : []),
    `-o ${quoted(fileName(files, format))}`,
    quoted(address(options).href),
  ];
  const first = isExample ? `curl -O ${quoted(new URL("page/example.tif", document.baseURI).href)}\n` : "";
  return `${first}curl ${line.join(" \\\n  ")}`;
}

/** @returns {Format} the one that is chosen */
const chosen = () => FORMATS[the("format").selectedIndex];

/** @param {() => {files: File[], options: Record<string, string>, isExample: boolean}} asked */
export function offer(asked) {
  the("format").append(...FORMATS.map(({ name }) => make("option", {}, name)));
  the("format").onchange = () => drawCurl(asked());
  the("download").onsubmit = async (event) => {
    event.preventDefault();
    const { files, options } = asked(), format = chosen();
    the("taken").textContent = "Asking for the file …";
    try {
      const body = await ask(files, { options, accept: format.accept });
      save(new Blob([body], { type: format.accept }), fileName(files, format));
      the("taken").textContent = `${fileName(files, format)}: ${(body.byteLength / 1e6).toFixed(2)} MB.`;
    } catch (error) {
      const problem = Problem.of(error);
      the("taken").textContent = `There is no such file (${problem.code}): ${problem.message}`;
    }
  };
  document.querySelector("[data-does=copy]").onclick = async () => {
    await navigator.clipboard?.writeText(the("curl").querySelector("code").textContent).then(
      () => (the("taken").textContent = "Copied."), () => selectCurl());
    if (!navigator.clipboard) selectCurl(); // there is none without TLS, but for localhost
  };
}

/** @param {{files: File[], options: Record<string, string>, isExample: boolean}} asked */
export function drawCurl({ files, options, isExample }) {
  const situation = { hasKey: Boolean(givenKey()), isExample };
  the("taken").textContent = "";
  the("curl").querySelector("code").textContent = curlLine(files, options, chosen(), situation);
}

function selectCurl() {
  getSelection()?.selectAllChildren(the("curl").querySelector("code"));
  the("taken").textContent = "Selected: copy it with the keyboard.";
}

function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser takes it in its own time
}
