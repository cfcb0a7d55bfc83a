// Elements, made by calls. Whatever jobs hold is text and stays text: nothing here parses HTML, and no address is made of it.

const SVG = "http://www.w3.org/2000/svg";
//: What an eye cannot see and a reader would obey: controls, bidirectional overrides, invisible marks. Shown as what they are.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff]/g;

/** An element. `on: {click: …}` listens, `null`, `false` and `undefined` attributes are left out, `true` is an empty one. */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same inside a drawing. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, { on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
  for (const [name, listener] of Object.entries(on)) node.addEventListener(name, listener);
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value === true ? "" : value)) node.setAttribute(name, value === true ? "" : String(value));
}

/** Text in `node`; it is touched only where it changes, so that nothing jumps under a selection. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** `text` with what cannot be seen made visible. */
export function visible(text) {
  return String(text).replace(UNSEEN, (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** What somebody else wrote: visible, and apart from the direction of its neighbours. */
export function said(text, attributes = {}) {
  return el("bdi", attributes, visible(text));
}

export function setSaid(node, text) {
  setText(node, visible(text ?? ""));
}

/**
 * Keeps the children of `parent` in step with `items`: one for each key, made once and updated ever after, so that focus, open details and
 * scroll positions stay. `make(item)` gives an element, `update(element, item)` shows what changed.
 */
export function keyed(parent, items, keyOf, make, update) {
  const known = new Map(Array.from(parent.children, (child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = known.get(key);
    if (child) known.delete(key);
    else {
      child = make(item);
      child.dataset.key = key;
    }
    update(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of known.values()) child.remove();
}

/** A part of a child that `make` marked with `data-part`. */
export function part(node, name) {
  return node.querySelector(`[data-part="${name}"]`);
}
