/** Problems in words, with a field for what the service asks back. */

import { make, the } from "../make.js";
import { giveKey } from "./options.js";

/** How to ask for what a problem asks back. */
const FIELDS = {
  bands: { label: "Bands of the file, in its order", hint: "as B02, B03, B04, B08" },
  scale: { label: "Factor from file values to reflectance × 10,000", hint: "as 10000 for reflectance from 0 to 1" },
  boa_offset: { label: "Offset to add", hint: "0 or -1000" },
  key: { label: "API key", hint: "" },
};
/** Where a problem's sentence names the option that would mend it, or that is wrong itself. */
const NAMED = /(?:with the option|^Option) (bands|scale|boa_offset)|[Tt]he option (bands) (?:names|must)/;

/** @param {import("./invocation.js").Problem} problem @returns {keyof typeof FIELDS | undefined} */
function askedBack({ code, message }) {
  return code === "unauthorized" ? "key" : NAMED.exec(message)?.slice(1).find(Boolean);
}

/**
 * @param {import("./invocation.js").Problem} problem
 * @param {(more: Record<string, string>) => void} again asks the same once more, with an option more or none
 * @param {() => void} onClose
 */
export function showProblem(problem, again, onClose) {
  const title = make("h2", { tabIndex: -1 }, wordsOf(problem.code));
  const asked = askedBack(problem);
  const buttons = make("p", { className: "choices" },
    ...(asked ? [make("button", { type: "submit", className: "main" }, "Try with this")] : retry(problem, again)),
    make("button", { type: "button", onclick: () => (the("problem").hidden = true, onClose()) }, "Close"));
  the("problem").replaceChildren(
    title,
    make("p", {}, problem.message),
    ...problem.errors.map(({ id, detail }) => make("p", { className: "small" }, make("b", {}, `${id}: `), detail)),
    asked ? form(asked, problem.message, buttons, again) : buttons,
    make("p", {}, make("code", {}, problem.code)),
  );
  the("problem").hidden = false;
  (the("problem").querySelector("input") ?? title).focus();
}

const wordsOf = (code) => {
  const words = code.replaceAll("_", " ").replace("tiff", "TIFF");
  return words[0].toUpperCase() + words.slice(1);
};

function retry(problem, again) {
  const isWorthIt = problem.retry_after_s !== undefined || problem.status === 0 || problem.status >= 500;
  return isWorthIt ? [make("button", { type: "button", className: "main", onclick: () => again({}) }, "Try again")] : [];
}

function form(name, detail, buttons, again) {
  const type = name === "key" ? "password" : "text", { label, hint } = FIELDS[name];
  const input = make("input", { type, required: true, placeholder: hint, autocomplete: "off", spellcheck: false });
  const usual = [...detail.matchAll(/bands=([\w-]+)/g)].map(([, order]) =>
    make("button", { type: "button", onclick: () => ((input.value = order), input.focus()) }, order));
  const onsubmit = (event) => {
    event.preventDefault();
    if (name === "key") giveKey(input.value);
    again(name === "key" ? {} : { [name]: input.value });
  };
  const group = make("p", { className: "usual", role: "group", "aria-label": "Usual orders" }, ...usual);
  return make("form", { onsubmit }, make("label", {}, label, input), ...(usual.length ? [group] : []), buttons);
}
