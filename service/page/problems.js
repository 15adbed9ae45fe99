/** Problems in words, with a field for what the service asks back. */

import { make, the } from "./make.js";
import { giveKey } from "./options.js";

/** What answers a problem, by its code: the option to give and how to ask for it. */
const ASKED_BACK = {
  band_mapping_required: { name: "bands", label: "Bands of the file, in its order", hint: "as B02, B03, B04, B08" },
  band_count: { name: "bands", label: "Bands of the file, in its order", hint: "as B02, B03, B04, B08" },
  scale_ambiguous: { name: "scale", label: "Factor from file values to reflectance × 10,000", hint: "as 10000 for reflectance from 0 to 1" },
  unauthorized: { name: "key", label: "API key", hint: "" },
};

/**
 * @param {import("./asking.js").Problem} problem
 * @param {(more: Record<string, string>) => void} again asks the same once more, with an option more or none
 */
export function showProblem(problem, again) {
  const title = make("h2", { tabIndex: -1 }, wordsOf(problem.code));
  const asked = /boa_offset/.test(problem.message) && problem.code === "scale_ambiguous"
    ? { name: "boa_offset", label: "Offset to add: 0 or -1000", hint: "" } : ASKED_BACK[problem.code];
  const buttons = make("p", { className: "choices" },
    ...(asked ? [make("button", { type: "submit", className: "main" }, "Try with this")] : retry(problem, again)),
    make("button", { type: "button", onclick: () => (the("problem").hidden = true) }, "Close"));
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

function form({ name, label, hint }, detail, buttons, again) {
  const type = name === "key" ? "password" : "text";
  const input = make("input", { type, required: true, placeholder: hint, autocomplete: "off", spellcheck: false });
  const usual = [...detail.matchAll(/bands=([\w-]+)/g)].map(([, order]) =>
    make("button", { type: "button", onclick: () => ((input.value = order), input.focus()) }, order));
  const onsubmit = (event) => {
    event.preventDefault();
    if (name === "key") giveKey(input.value);
    again(name === "key" ? {} : { [name]: input.value });
  };
  return make("form", { onsubmit }, make("label", {}, label, input),
    ...(usual.length ? [make("p", { className: "usual", role: "group", "aria-label": "Usual orders" }, ...usual)] : []), buttons);
}
