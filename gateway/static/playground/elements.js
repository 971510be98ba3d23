// Small things about elements. Law: what people wrote goes into `textContent`, never into markup.

/**
 * @param {string} name @param {Record<string, unknown>} [properties] @param {(Node | string)[]} children
 * @returns {any}
 */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Shows a text, or hides the place when there is none. @param {HTMLElement} place @param {string} text */
export function say(place, text) {
  place.textContent = text;
  place.hidden = !text;
}

/** Appends, drops what is too old, and stays at the end for who is there. @param {HTMLElement} list @param {Node} child @param {Node | null} before @param {number} most */
export function append(list, child, before, most) {
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.insertBefore(child, before);
  while (list.childElementCount > most) list.firstElementChild?.remove();
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}
