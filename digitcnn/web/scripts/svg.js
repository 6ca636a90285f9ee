// Shapes of charts that follow the pointer or the pen.

/** @param {string} name @param {Record<string, string | number>} attributes */
export function svg(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}
