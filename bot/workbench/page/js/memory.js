/** Small choices that a browser remembers between visits; a browser that refuses storage just forgets them. */

const key = (name) => `fixfirst.${name}`;

export function recall(name, otherwise = null) {
  try {
    return localStorage.getItem(key(name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(key(name), value);
  } catch {
    // Forgotten on the next visit; nothing depends on it.
  }
}
