// JSON for reading. Text is only indented: every number and string stays as it was
// written, also those that a parser would change, and a text that was cut is
// indented as far as it goes.

import { h } from './dom.js';
import { visible } from './format.js';

const token = /"(?:[^"\\]|\\.)*"?|[[\]{},:]|[^\s"[\]{},:]+/gsu;

// maxTokens bounds the elements; a longer text has no colours.
const maxTokens = 4000;

// maxDepth bounds the indentation: brackets within brackets would otherwise make a
// text very much longer.
const maxDepth = 60;

// looksLikeJSON reports whether a text is JSON, or the beginning of it.
export function looksLikeJSON(text, cut) {
  if (cut) {
    return /^\s*[[{]/.test(text);
  }
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && value !== null;
  } catch {
    return false;
  }
}

// prettyJSON returns nodes for an indented text.
export function prettyJSON(text) {
  const parts = [];
  let depth = 0;
  let before = '';
  const line = () => `\n${'  '.repeat(Math.min(depth, maxDepth))}`;
  const all = text.match(token) ?? [];
  const colour = all.length <= maxTokens;
  let plain = '';
  const add = (value, kind) => {
    if (kind === '' || !colour) {
      plain += value;
      return;
    }
    if (plain !== '') {
      parts.push(plain);
      plain = '';
    }
    parts.push(h('span', { class: kind }, visible(value, true)));
  };
  for (let i = 0; i < all.length; i += 1) {
    const t = all[i];
    const empty = (t === '{' && all[i + 1] === '}') || (t === '[' && all[i + 1] === ']');
    if (t === '}' || t === ']') {
      depth -= 1;
      add((before === '{' || before === '[' ? '' : line()) + t, '');
    } else if (t === '{' || t === '[') {
      depth += 1;
      add(t + (empty ? '' : line()), '');
    } else if (t === ',') {
      add(t + line(), '');
    } else if (t === ':') {
      add(': ', '');
    } else if (t.startsWith('"')) {
      add(t, all[i + 1] === ':' ? 'json-key' : 'json-text');
    } else {
      add(t, 'json-value');
    }
    before = t;
  }
  if (plain !== '') {
    parts.push(plain);
  }
  return colour ? parts : parts.flatMap((p) => (typeof p === 'string' ? visible(p, true) : p));
}
