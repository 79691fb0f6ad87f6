// Making and changing elements. Data only ever becomes text or the value of an attribute.

const SVG = "http://www.w3.org/2000/svg";

function make(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) listen(node, name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, String(value));
  }
  append(node, children);
  return node;
}

function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

// One listener a type and element, which calls what the element has now.
function listen(node, type, handler) {
  node.handlers ??= {};
  if (!node.handlers[type]) node.addEventListener(type, (event) => node.handlers[type]?.(event));
  node.handlers[type] = handler;
}

/** An element of HTML. */
export function h(tag, attributes, ...children) {
  return make(document.createElement(tag), attributes, children);
}

/** An element of SVG. */
export function s(tag, attributes, ...children) {
  return make(document.createElementNS(SVG, tag), attributes, children);
}

/** Makes `parent` hold these children, and changes only what differs: focus, selection and scrolling stay. */
export function show(parent, ...children) {
  const next = document.createDocumentFragment();
  append(next, children);
  patchChildren(parent, [...next.childNodes]);
}

function patchChildren(parent, next) {
  const old = [...parent.childNodes];
  next.forEach((node, index) => {
    const before = old[index];
    if (!before) parent.append(node);
    else if (!same(before, node)) before.replaceWith(node);
    else if (before !== node) patch(before, node);
  });
  old.slice(next.length).forEach((node) => node.remove());
}

function same(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id ?? "") === (b.id ?? "")
    && a.dataset?.key === b.dataset?.key;
}

function patch(before, node) {
  if (before.nodeType === Node.TEXT_NODE) {
    if (before.data !== node.data) before.data = node.data;
    return;
  }
  for (const { name } of [...before.attributes]) {
    // What people have opened stays open.
    if (!node.hasAttribute(name) && name !== "open") before.removeAttribute(name);
  }
  for (const { name, value } of [...node.attributes]) {
    if (before.getAttribute(name) !== value && name !== "open" && !(name === "value" && before.value !== undefined)) {
      before.setAttribute(name, value);
    }
  }
  for (const type of Object.keys(before.handlers ?? {})) before.handlers[type] = node.handlers?.[type];
  for (const [type, handler] of Object.entries(node.handlers ?? {})) listen(before, type, handler);
  // What people type is theirs.
  if (before.nodeName !== "TEXTAREA") patchChildren(before, [...node.childNodes]);
}

/** A table. A column has a title, what a row shows there, and whether that is a number. */
export function table(caption, columns, rows, options = {}) {
  if (rows.length === 0) return h("p", { class: "empty" }, options.empty ?? "None.");
  const head = columns.map((column) => h("th", { scope: "col", class: column.number ? "n" : column.class }, column.title));
  const body = rows.map((row) => h("tr", { "data-key": options.key?.(row), ...options.row?.(row) },
    columns.map((column, index) => {
      const className = column.number ? "n" : column.class;
      const cell = column.cell(row);
      return index === 0 ? h("th", { scope: "row", class: className }, cell) : h("td", { class: className }, cell);
    })));
  // What is too wide is scrolled, also by the keyboard.
  return h("div", { class: "wide", tabindex: 0, role: "group", "aria-label": caption }, h("table", {},
    h("caption", { class: options.caption ? "" : "hidden" }, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)));
}

/** Figures in a row. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, value, attributes]) =>
    h("div", {}, h("dt", {}, name), h("dd", attributes ?? {}, value))));
}

/** Parts of a whole as one bar: `[class, share]`, shares between 0 and 1. */
export function bar(label, parts, width = 96) {
  let at = 0;
  const rectangles = parts.map(([name, share]) => {
    const size = Math.max(0, Math.min(1 - at, share || 0));
    const part = s("rect", { class: name, x: (at * width).toFixed(1), y: 0, width: (size * width).toFixed(1), height: 10 });
    at += size;
    return part;
  });
  return s("svg", { class: "bar", width, height: 10, viewBox: `0 0 ${width} 10`, role: "img", "aria-label": label }, rectangles);
}

/** Tells those who listen to the page. */
export function announce(text) {
  const place = document.getElementById("announce");
  if (place && place.textContent !== text) place.textContent = text;
}
