// Elements are made one by one, and text only ever becomes text nodes: whatever a
// hub holds can never be markup.

const svgSpace = 'http://www.w3.org/2000/svg';

// h makes an element. Properties are attributes, but for on…, which are listeners,
// and data, whose members become data- attributes; null and false leave one out.
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

// s makes an SVG element in the same way.
export function s(tag, properties, ...children) {
  return fill(document.createElementNS(svgSpace, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) {
      continue;
    }
    if (name.startsWith('on')) {
      element.addEventListener(name.slice(2), value);
    } else if (name === 'data') {
      Object.assign(element.dataset, value);
    } else {
      element.setAttribute(name, value === true ? '' : value);
    }
  }
  append(element, children);
  return element;
}

// append adds children: elements, text, or arrays of them; null adds nothing.
export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) {
      element.append(child);
    }
  }
  return element;
}

// put replaces what an element has.
export function put(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

// say tells those who listen rather than look what has happened.
export function say(text) {
  const region = document.getElementById('announce');
  // The same text again would not be read: an element anew is.
  region.replaceChildren(h('span', null, text));
}

let ids = 0;

// uniqueID returns an id for an element, for labels to refer to.
export function uniqueID(prefix) {
  ids += 1;
  return `${prefix}-${ids}`;
}
