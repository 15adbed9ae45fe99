/** Files that are dropped on the page, or chosen. */

import { the } from "../make.js";

/** @param {(files: File[]) => void} onFiles */
export function takeFiles(onFiles) {
  let inside = 0;
  const show = (change) => {
    inside = Math.max(0, inside + change);
    document.body.toggleAttribute("data-dropping", inside > 0);
  };
  addEventListener("dragenter", (event) => (event.preventDefault(), show(1)));
  addEventListener("dragleave", () => show(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    show(-inside);
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length) onFiles(files);
  });
  const input = the("files");
  input.onchange = () => {
    const files = [...input.files];
    input.value = ""; // the same file may be chosen again
    if (files.length) onFiles(files);
  };
}
