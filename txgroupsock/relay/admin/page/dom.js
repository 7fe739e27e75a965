// Elements. Text comes from outside (names, addresses, warnings), so it is only ever set as text.

/**
 * A new element.
 *
 * @param {string} name of its tag; "svg:path" is one of SVG
 * @param {Object<string, string>} attributes "text" is its text
 * @param {...Node} children
 */
export function element(name, attributes = {}, ...children) {
  const made = name.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4))
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") made.textContent = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Set text, touching the page only if it is another. */
export function setText(node, text) {
  if (node.firstChild?.nodeType === Node.TEXT_NODE) {
    if (node.firstChild.data !== text) node.firstChild.data = text;
  } else {
    node.textContent = text;
  }
}

/** Set an attribute, touching the page only if it is another; null takes it away. */
export function setAttribute(node, name, value) {
  if (value === null) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== value) {
    node.setAttribute(name, value);
  }
}

export function setHidden(node, isHidden) {
  if (node.hidden !== isHidden) node.hidden = isHidden;
}

/**
 * Have just these nodes, in this order, under a parent.  No more of them are moved than have to be:
 * one that is moved loses its focus.
 */
export function setOrder(parent, nodes) {
  let next = parent.firstChild;
  const isDone = nodes.every((node) => {
    if (node !== next) return false;
    next = next.nextSibling;
    return true;
  });
  if (isDone && next === null) return;
  const wanted = new Set(nodes);
  for (const child of [...parent.childNodes]) if (!wanted.has(child)) child.remove();
  next = parent.firstChild;
  for (const node of nodes) {
    if (node === next) next = next.nextSibling;
    else parent.insertBefore(node, next);
  }
}

/** Views of things that come and go, each kept as long as its key is there. */
export class Views {
  /**
   * @param {Node} parent of their elements
   * @param {function(*): {element: Element, update: function(*)}} make a view of an item
   * @param {function(*, number): *} keyOf an item
   */
  constructor(parent, make, keyOf = (item, index) => index) {
    this.parent = parent;
    this.make = make;
    this.keyOf = keyOf;
    this.views = new Map();
  }

  update(items) {
    const before = this.views;
    this.views = new Map();
    items.forEach((item, index) => {
      const key = this.keyOf(item, index);
      const view = before.get(key) ?? this.make(item);
      this.views.set(key, view);
      view.update(item);
    });
    setOrder(
      this.parent,
      [...this.views.values()].map((view) => view.element),
    );
  }
}

/** Lines of text, each an element. */
export function textViews(parent, name, attributes = {}) {
  return new Views(parent, () => {
    const made = element(name, attributes);
    return { element: made, update: (text) => setText(made, text) };
  });
}
