/** The legend: what cells are painted as, and what the model can tell beside. */

import { asBackground, coloursOf } from "../ground/colours.js";
import { tally } from "../ground/cover.js";
import { counted, make, the } from "../make.js";

/**
 * @param {import("../ground/scene.js").Scene} scene @param {import("../asking/model.js").Model} model
 * @param {(name: string | null) => void} onOnly a label is to be shown alone, or none any more
 */
export function drawLegend(scene, { groups, colours }, onOnly) {
  const { shown, told, untold, bare } = tally(scene, groups);
  const row = (name, share) => {
    const about = groups.has(name) ? `${name}: one or more of ${groups.get(name)?.join(", ")}` : name;
    const button = make("button", { type: "button", title: about, "aria-pressed": "false" },
      swatch(coloursOf(name, colours)), make("span", {}, name), make("span", { className: "quiet" }, share));
    button.onclick = () => {
      const isOn = button.getAttribute("aria-pressed") !== "true";
      for (const other of the("legend").querySelectorAll("[aria-pressed]")) other.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-pressed", String(isOn));
      onOnly(isOn ? name : null);
    };
    return make("li", {}, button);
  };
  the("legend").replaceChildren(
    make("div", { className: "head" }, make("h2", { id: "legend-title" }, "Land cover"),
      make("span", { className: "quiet small" }, "share of cells")),
    make("ul", { className: "legend" }, ...shown.map(({ name, share }) => row(name, percent(share))),
      ...(bare ? [make("li", { className: "none" }, swatch(["transparent"]),
        make("span", {}, "Nothing over its threshold"), make("span", { className: "quiet" }, percent(bare)))] : [])),
    make("p", { className: "quiet small" },
      "A cell has the colour of its likeliest label. Choose a label to see its probability alone."),
    ...(told.length ? [rest(`${told.length} more that it can tell`,
      make("ul", { className: "legend" }, ...told.map((name) => row(name, ""))))] : []),
    ...(untold.length ? [rest(`${counted(untold.length, "label")} that it cannot tell`,
      make("p", {}, untoldSentence(untold, groups)))] : []),
  );
}

const percent = (share) => (share < 0.01 ? "< 1 %" : `${Math.round(100 * share)} %`);

const swatch = (colours) => {
  const element = make("span", { className: "swatch", "aria-hidden": "true" });
  element.style.background = asBackground(colours);
  return element;
};

const rest = (title, content) => make("details", { className: "rest" }, make("summary", {}, title), content);

function untoldSentence(untold, groups) {
  const grouped = new Set([...groups.values()].flat());
  const known = untold.filter((name) => grouped.has(name)), unknown = untold.filter((name) => !grouped.has(name));
  const parts = [];
  if (known.length) parts.push(`Only as part of a group: ${known.join("; ")}.`);
  if (unknown.length) parts.push(`Not at all, and drawn as nothing: ${unknown.join("; ")}.`);
  return parts.join(" ");
}
