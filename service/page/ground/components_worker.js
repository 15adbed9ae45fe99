/** Finds and paints components beside the page, which goes on answering. */

import { painted } from "./components.js";

onmessage = ({ data: { codes, dim } }) => {
  const colours = painted(codes, dim);
  postMessage(colours, { transfer: [colours.buffer] });
};
