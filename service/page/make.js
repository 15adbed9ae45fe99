/** Elements of the page. What files and answers say becomes text, never markup. */

/**
 * @param {string} tag
 * @param {Record<string, unknown>} properties of the element; names with a dash or `role` are attributes
 * @param {...(Node | string)} children
 * @returns {any} the element
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, String(value));
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** @param {string} id @returns {any} */
export const the = (id) => document.getElementById(id);

/** @param {string} words for those who listen */
export const say = (words) => (the("announcer").textContent = words);

/** @param {number} count @param {string} one @param {string} [many] */
export const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
