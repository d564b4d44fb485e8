// How values are written: times, durations, sizes, and text with characters that
// would not be seen, or would change how the text around them looks.

import { h } from './dom.js';

const store = 'taskhub.utc';
let utc = readSetting(store) === '1';

export function readSetting(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null; // storage may be off
  }
}

export function writeSetting(name, value) {
  try {
    if (value === null) {
      localStorage.removeItem(name);
    } else {
      localStorage.setItem(name, value);
    }
  } catch {
    // The choice then lasts as long as the page.
  }
}

export function showsUTC() {
  return utc;
}

export function setUTC(on) {
  utc = on;
  writeSetting(store, on ? '1' : null);
}

// millis returns a time of the server in milliseconds, NaN for none. Digits beyond
// the third of a second are cut.
export function millis(text) {
  return text ? Date.parse(text.replace(/(\.\d{3})\d+/, '$1')) : NaN;
}

const two = (n) => String(n).padStart(2, '0');

// clock writes a time with seconds, or with milliseconds.
export function clock(ms, fine) {
  const d = new Date(ms);
  const parts = utc
    ? [d.getUTCFullYear(), d.getUTCMonth(), d.getUTCDate(), d.getUTCHours(), d.getUTCMinutes(), d.getUTCSeconds()]
    : [d.getFullYear(), d.getMonth(), d.getDate(), d.getHours(), d.getMinutes(), d.getSeconds()];
  const date = `${String(parts[0]).padStart(4, '0')}-${two(parts[1] + 1)}-${two(parts[2])}`;
  const time = `${two(parts[3])}:${two(parts[4])}:${two(parts[5])}`;
  return `${date} ${time}${fine ? `.${String(d.getUTCMilliseconds()).padStart(3, '0')}` : ''}`;
}

// zone names the zone that times are shown in.
export function zone() {
  return utc ? 'UTC' : Intl.DateTimeFormat().resolvedOptions().timeZone;
}

const units = [['d', 86_400_000], ['h', 3_600_000], ['min', 60_000], ['s', 1000]];

// duration writes milliseconds with two units at most.
export function duration(ms) {
  if (!Number.isFinite(ms)) {
    return '–';
  }
  const sign = ms < 0 ? '−' : '';
  let rest = Math.abs(ms);
  if (rest < 1000) {
    return `${sign}${Math.round(rest)} ms`;
  }
  if (rest < 10_000) {
    return `${sign}${(Math.floor(rest / 10) / 100).toFixed(2)} s`;
  }
  if (rest < 60_000) {
    return `${sign}${(Math.floor(rest / 100) / 10).toFixed(1)} s`;
  }
  const words = [];
  for (const [name, size] of units) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n > 0 || words.length === 1) {
      words.push(`${n} ${name}`);
    }
    if (words.length === 2) {
      break;
    }
  }
  return sign + words.filter((w) => !w.startsWith('0 ')).join(' ');
}

// age writes how long ago a time was, with one unit. What is in the future is
// ahead. captured says that ages count to when a capture was taken.
export function age(ms, now, captured) {
  const d = now - ms;
  const abs = Math.abs(d);
  if (!Number.isFinite(d)) {
    return '–';
  }
  if (abs < (captured ? 1000 : 5000)) {
    return captured ? 'at capture' : 'just now';
  }
  const [name, size] = units.find(([, n]) => abs >= n) ?? units[3];
  const text = `${Math.floor(abs / size)} ${name}`;
  if (captured) {
    return d >= 0 ? `${text} before` : `${text} after`;
  }
  return d >= 0 ? `${text} ago` : `in ${text}`;
}

// timeNode shows a time of the server, with the time in UTC on hover.
export function timeNode(text, { fine = false, now = null, captured = false } = {}) {
  const ms = millis(text);
  if (Number.isNaN(ms)) {
    return h('span', { class: 'none' }, '–');
  }
  const title = now === null ? `${text} (UTC)` : `${text} (UTC), ${age(ms, now, captured)}`;
  return h('time', { datetime: text, title }, clock(ms, fine));
}

// ageNode shows how long ago a time of the server was, with the times on hover.
export function ageNode(text, now, captured) {
  const ms = millis(text);
  if (Number.isNaN(ms)) {
    return h('span', { class: 'none' }, '–');
  }
  return h('time', { datetime: text, title: `${clock(ms)} ${zone()}, ${text} (UTC)` }, age(ms, now, captured));
}

const numbers = new Intl.NumberFormat('en-US');

// count writes a whole number.
export function count(n) {
  return n < 0 ? '–' : numbers.format(n);
}

// plural writes a number with the word for it.
export function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

// size writes a number of bytes.
export function size(bytes) {
  if (bytes < 1024) {
    return plural(bytes, 'byte');
  }
  const names = ['KB', 'MB', 'GB'];
  let n = bytes / 1024;
  let i = 0;
  while (n >= 1024 && i < names.length - 1) {
    n /= 1024;
    i += 1;
  }
  return `${n < 10 ? n.toFixed(1) : Math.round(n)} ${names[i]}`;
}

// Characters that cannot be seen, or that turn the direction of the text around
// them: control and format characters, separators of lines, and what is no
// character. Line feeds and tabs of payloads can be seen well enough.
const hidden = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}]/u;
const hiddenInPayload = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]/u;
const hiddenPart = new RegExp(`(${hidden.source})`, 'gu');
const hiddenPartInPayload = new RegExp(`(${hiddenInPayload.source})`, 'gu');

// isPlain reports whether every character of a text can be seen, and typed.
export function isPlain(text) {
  return !hidden.test(text);
}

const codePoint = (c) => `U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}`;

// maxMarks bounds the elements that one text takes.
const maxMarks = 2000;

// visible returns nodes for a text in which hidden characters are named.
export function visible(text, payload = false) {
  const pattern = payload ? hiddenInPayload : hidden;
  if (!pattern.test(text)) {
    return [text];
  }
  const nodes = [];
  let marks = 0;
  for (const part of text.split(payload ? hiddenPartInPayload : hiddenPart)) {
    if (part === '') {
      continue;
    }
    if (marks < maxMarks && pattern.test(part)) {
      marks += 1;
      nodes.push(h('span', { class: 'mark', title: 'a character that cannot be seen' }, codePoint(part)));
    } else {
      nodes.push(part);
    }
  }
  return nodes;
}

// plainText writes a text for places that take no elements.
export function plainText(text) {
  return text.replace(hiddenPart, (c) => `⟨${codePoint(c)}⟩`);
}

// idNode shows an instance ID, or another name out of a hub. It is isolated, so
// that text from right to left in it turns nothing around it.
export function idNode(id, extra = '') {
  return h('bdi', { class: `id ${extra}`.trim(), dir: 'ltr', data: { id } }, visible(id));
}
