/**
 * Builds and reconciles DOM nodes. Strings only ever become text nodes, so nothing that a person or a bot
 * wrote can turn into markup; there is no innerHTML anywhere in this page.
 */

const SVG = "http://www.w3.org/2000/svg";

function apply(node, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (name === "dataset") {
      for (const [key, entry] of Object.entries(value)) {
        if (entry !== null && entry !== undefined) node.dataset[key] = String(entry);
      }
    } else if (name === "vars") {
      // Through the CSSOM: allowed by a policy that forbids style attributes.
      for (const [key, entry] of Object.entries(value)) node.style.setProperty(key, String(entry));
    } else if (name === "value") {
      node.value = value;
    } else {
      node.setAttribute(name === "class" ? "class" : name, value === true ? "" : String(value));
    }
  }
}

function fill(node, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false || child === true) continue;
    if (Array.isArray(child)) fill(node, child);
    else node.append(child instanceof Node ? child : String(child));
  }
}

/** An HTML element. `props`: attributes, plus `on` (listeners), `dataset`, `vars` (CSS custom properties). */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  apply(node, props);
  fill(node, children);
  return node;
}

/** The same for SVG. */
export function svg(tag, props = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  apply(node, props);
  fill(node, children);
  return node;
}

export function replaceChildren(node, ...children) {
  const fragment = document.createDocumentFragment();
  fill(fragment, children);
  node.replaceChildren(fragment);
}

const kept = new WeakMap();

/**
 * Makes the children of `parent` be `items` = [{key, sig, make(oldNode?)}], in order. A child whose `sig` did
 * not change keeps its very node, so focus, half-typed text and hover survive an update of its neighbours.
 * `make` may return the old node after changing it in place.
 */
export function reconcile(parent, items) {
  const before = kept.get(parent) ?? new Map();
  const after = new Map();
  let cursor = parent.firstChild;
  for (const { key, sig, make } of items) {
    const old = before.get(key);
    before.delete(key);
    let node = old?.node;
    if (!old || old.sig !== sig) {
      node = make(old?.node);
      if (old && node !== old.node) {
        if (cursor === old.node) cursor = node;
        swap(old.node, node);
      }
    }
    after.set(key, { node, sig });
    if (node === cursor) cursor = cursor.nextSibling;
    else parent.insertBefore(node, cursor);
  }
  for (const { node } of before.values()) node.remove();
  kept.set(parent, after);
}

/** Puts `next` where `old` was; the focus goes over to the element with the same `data-focus`. */
function swap(old, next) {
  const focused = old.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  old.replaceWith(next);
  if (!focused) return;
  const again = next.dataset.focus === focused ? next : next.querySelector(`[data-focus="${CSS.escape(focused)}"]`);
  again?.focus({ preventScroll: true });
}

let counter = 0;

/** A fresh id for aria references. */
export function uid(prefix) {
  counter += 1;
  return `${prefix}-${counter}`;
}
