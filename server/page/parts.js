// Parts that several views are made of.

import { h, put, say } from './dom.js';
import { icon } from './icons.js';

// copyButton copies a text.
export function copyButton(text, label) {
  const button = h('button', {
    type: 'button',
    class: 'ghost icon-only copy',
    'aria-label': label,
    title: label,
    onclick: async (event) => {
      event.stopPropagation();
      const done = await copy(text());
      put(button, icon(done ? 'check' : 'close'));
      say(done ? 'Copied.' : 'The browser does not allow to copy.');
      setTimeout(() => put(button, icon('copy')), 1500);
    },
  }, icon('copy'));
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Over HTTP on another machine there is no clipboard, but this.
    const area = h('textarea', { class: 'vh' });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

// problemBox says what is wrong and what to do.
export function problemBox(error, again) {
  return h('div', { class: 'problem', role: 'alert' }, icon('error'), h('div', null,
    h('p', { class: 'problem-text' }, error.message),
    error.hint ? h('p', null, error.hint) : null,
    again ? h('button', { type: 'button', onclick: again }, 'Try again') : null));
}

// emptyBox says that there is nothing, and what to do.
export function emptyBox(title, text, ...rest) {
  return h('div', { class: 'empty' }, h('p', { class: 'empty-title' }, title), text ? h('p', null, text) : null, rest);
}

// busyBox says what is being waited for.
export function busyBox(text) {
  return h('div', { class: 'busy', role: 'status' }, h('span', { class: 'spinner', 'aria-hidden': 'true' }), h('span', null, text));
}

// load shows what a promise gives, and until then that it is being waited for. make
// turns the data into nodes. What was meanwhile replaced by another load is dropped.
export async function load(place, text, ask, make) {
  const turn = Symbol(text);
  place.loading = turn;
  place.setAttribute('aria-busy', 'true');
  if (place.childElementCount === 0) {
    put(place, busyBox(text));
  }
  const control = new AbortController();
  place.abort?.abort();
  place.abort = control;
  try {
    const data = await ask(control.signal);
    if (place.loading === turn) {
      put(place, make(data));
    }
  } catch (error) {
    if (place.loading === turn && !control.signal.aborted) {
      put(place, problemBox(error, () => load(place, text, ask, make)));
    }
  } finally {
    if (place.loading === turn) {
      place.removeAttribute('aria-busy');
    }
  }
}

// drop ends what a place waits for.
export function drop(place) {
  place.loading = null;
  place.abort?.abort();
}

// table makes a table that says what it is. Roles are given although the elements
// have them: on a narrow screen rows are laid out as cards, which would hide them.
// A column is {label, class, hidden}, a row an array of cells: nodes or text.
export function table(caption, columns, rows, className = '') {
  return h('div', { class: 'table-scroll' }, h('table', { class: className, role: 'table' },
    h('caption', { class: 'vh' }, caption),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, columns.map((c) => h('th', { scope: 'col', role: 'columnheader', class: c.class },
      c.hidden ? h('span', { class: 'vh' }, c.label) : c.label)))),
    h('tbody', { role: 'rowgroup' }, rows.map((row) => tableRow(columns, row)))));
}

export function tableRow(columns, cells, properties) {
  return h('tr', { role: 'row', ...properties }, cells.map((cell, i) => h('td', { role: 'cell', class: columns[i].class, data: { label: columns[i].label } }, Array.isArray(cell) ? h('span', { class: 'cell' }, cell) : cell)));
}

// definitions shows names with values; those without a value are left out.
export function definitions(pairs) {
  return h('dl', { class: 'pairs' }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== '')
    .map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value))));
}

// facts shows a few names with short values, beside each other.
export function facts(pairs) {
  return h('dl', { class: 'facts' }, pairs.filter(([, value]) => value).map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value))));
}

// pager goes through pages. Its buttons stay where they are, and keep the focus.
export function pager(label, go) {
  const button = (name, text, key) => h('button', { type: 'button', class: 'icon-only', 'aria-label': text, title: text, onclick: () => go(key) }, icon(name));
  const first = button('first', 'First page', 'first');
  const previous = button('previous', 'Previous page', 'previous');
  const next = button('next', 'Next page', 'next');
  const last = button('last', 'Last page', 'last');
  const text = h('span', { class: 'pager-text' });
  const node = h('nav', { class: 'pager', 'aria-label': label }, text, h('span', { class: 'button-row' }, first, previous, next, last));
  return {
    node,
    show(words, back, forward, hasLast = true) {
      put(text, words);
      first.disabled = !back;
      previous.disabled = !back;
      next.disabled = !forward;
      last.disabled = !forward;
      last.hidden = !hasLast;
    },
  };
}
