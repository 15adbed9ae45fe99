/** Land cover of cells: what each is painted as, and how often each label is. */

/**
 * The likeliest label over its threshold. A group gives way to a member that the model tells itself: water is inland
 * water where that is known.
 * @param {import("./scene.js").Cell} cell @param {Map<string, string[]>} groups
 * @returns {string | undefined} undefined where nothing is over its threshold
 */
export function paintedAs(cell, groups) {
  return cell.labels.find((name) => !groups.get(name)?.some((member) => cell.labels.includes(member)));
}

/** @param {import("./scene.js").Cell} cell @param {string} name @returns {number | null} 0 to 1 */
export const probability = (cell, name) => cell.probabilities[name] ?? cell.groups[name] ?? null;

/**
 * @param {import("./scene.js").Scene} scene @param {Map<string, string[]>} groups
 * @returns {{shown: {name: string, share: number}[], told: string[], untold: string[], bare: number}} `shown` are what
 *   cells are painted as, most first, with their share of the cells; `told` what the model can tell and no cell is
 *   painted as; `untold` what it cannot tell, not even in a group, and members of groups; `bare` the share of cells
 *   with nothing over a threshold
 */
export function tally(scene, groups) {
  const counts = new Map();
  for (const cell of scene.cells) {
    const name = paintedAs(cell, groups);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const [first] = scene.cells, share = (count) => count / scene.cells.length;
  const labels = Object.keys(first.probabilities);
  const told = [...labels.filter((name) => first.probabilities[name] !== null), ...Object.keys(first.groups)];
  return {
    shown: [...counts]
      .filter(([name]) => name !== undefined)
      .map(([name, count]) => ({ name, share: share(count) }))
      .sort((a, b) => b.share - a.share),
    told: told.filter((name) => !counts.has(name)),
    untold: labels.filter((name) => first.probabilities[name] === null),
    bare: share(counts.get(undefined) ?? 0),
  };
}
